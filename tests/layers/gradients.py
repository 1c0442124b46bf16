"""What layers that do the same must agree in: output and gradients."""

import contextlib

import keras
import tensorflow as tf


def output_and_gradients(layer, x, **options):
    """Output, and gradients of a weighted sum of it with respect to input and weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **options)
        weighted = tf.reduce_sum(y * tf.cos(tf.reshape(tf.range(tf.size(y), dtype=y.dtype), tf.shape(y))))
    return [y, *tape.gradient(weighted, [x, *layer.trainable_variables])]


@contextlib.contextmanager
def double_precision():
    """Makes layers and inputs float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def double_backward(score, weights, compiled=False):
    """Returns the function of x that gives |d score / dx|^2 and the gradient of that with respect to weights."""

    @tf.function(jit_compile=compiled, autograph=False)
    def length_and_slopes(x):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = tf.reduce_sum(score(x))
            length = tf.reduce_sum(inner.gradient(value, x) ** 2)
        slopes = outer.gradient(length, weights)  # none to a bias at the end, which the first gradient does not know
        return length, [tf.zeros(w.shape, w.dtype) if g is None else g for g, w in zip(slopes, weights, strict=True)]

    return length_and_slopes


def double_backward_deviation(score, x, weights, reach):
    """Relative deviation of the gradient of `double_backward` from a finite difference.

    Args:
        score: function of x alone that reads the weights.
        x: what it is differentiated by first.
        weights: variables.
        reach: length of the difference each way, along the gradient, where a wrong one cannot hide.
    """
    function = double_backward(score, weights)
    before = [tf.identity(weight) for weight in weights]
    _, slopes = function(x)
    size, lengths = tf.linalg.global_norm(slopes), []
    for way in (reach, -reach):
        for weight, value, slope in zip(weights, before, slopes, strict=True):
            weight.assign(value + way * slope / size)
        lengths.append(function(x)[0])
    for weight, value in zip(weights, before, strict=True):
        weight.assign(value)
    expected = (lengths[0] - lengths[1]) / (2 * reach)
    return abs(float(size / expected) - 1)
