"""Random numbers for images, from a seed alone: the same in a graph, out of it and compiled by XLA."""

from __future__ import annotations

import tensorflow as tf


def uniform(shape: tf.Tensor | tuple[int, ...], seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """Draws numbers uniformly between 0 and 1.

    TensorFlow's own numbers differ under XLA, though not the random integers that they are made of.

    Args:
        shape: of the result.
        seed: `(2,)` int.

    Returns:
        float32, above 0 and below 1.

    >>> bool(tf.reduce_all(uniform((5,), (1, 2)) == uniform((5,), (1, 2))))
    True
    """
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    # 23 bits and a half are exact in float32.
    return (tf.cast(tf.bitwise.right_shift(bits, 9), tf.float32) + 0.5) * 2.0**-23 + 0.5


def normal(shape: tf.Tensor | tuple[int, ...], seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """Draws normally distributed numbers, of mean 0 and standard deviation 1.

    Args:
        shape: of the result.
        seed: `(2,)` int.

    Returns:
        float32, within 5.5 standard deviations.

    >>> normal((2, 3), (1, 2)).shape
    TensorShape([2, 3])
    """
    return tf.math.ndtri(uniform(shape, seed))
