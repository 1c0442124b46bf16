"""From a frame as a camera gives it to what a network sees, and from places on its maps back to px of the frame."""

from __future__ import annotations

import tensorflow as tf

MEAN = (123.68, 116.779, 103.939)  # of red, green, blue over ImageNet, as the published weights expect
DEVIATION = 58.0  # of all colours together; weights that were trained without it are adapted when they are read


def as_colour(frames: tf.Tensor) -> tf.Tensor:
    """Returns `(..., 3)` of frames with any number of channels: grey is repeated, alpha is dropped.

    Args:
        frames: `(..., channels)`, 1 grey, 2 grey and alpha, 3 red, green and blue, 4 with alpha.

    >>> as_colour(tf.constant([[[7]]])).numpy().tolist()
    [[[7, 7, 7]]]
    """
    coloured = tf.shape(frames)[-1] >= 3
    return tf.ensure_shape(
        tf.gather(frames, tf.where(coloured, [0, 1, 2], [0, 0, 0]), axis=-1), [*frames.shape[:-1], 3]
    )


def resized(frames: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Brings frames to a size, bilinearly, and averaging where they shrink.

    Args:
        frames: `(batch, height, width, channels)` of any type.
        size: height and width in px.

    Returns:
        `(batch, *size, channels)` float32 in the same range.
    """
    same = tf.reduce_all(tf.shape(frames)[1:3] == size)
    shrinks = tf.reduce_any(tf.shape(frames)[1:3] > size)

    def scaled() -> tf.Tensor:
        return tf.cond(
            shrinks,
            lambda: tf.image.resize(frames, size, antialias=True),
            lambda: tf.image.resize(frames, size),
        )

    result = tf.cond(same, lambda: tf.cast(frames, tf.float32), scaled)
    return tf.ensure_shape(result, [frames.shape[0], *size, frames.shape[-1]])


def normalised(frames: tf.Tensor) -> tf.Tensor:
    """Returns colours from 0 to 255, `(..., 3)`, less their mean over the deviation; float32."""
    return (tf.cast(frames, tf.float32) - MEAN) / DEVIATION


def moved_points(points: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Brings points from one raster of the same picture to another; pixel centres are at integers in both.

    Args:
        points: `(..., 2)` float, x and y in px.
        source: `(2,)` height and width of the raster they are on.
        target: `(2,)` height and width of the other.

    Returns:
        `(..., 2)` float32, x and y in px of the other raster.

    >>> moved_points(tf.constant([[0.0, 0.0]]), tf.constant([4, 4]), tf.constant([2, 8])).numpy().tolist()
    [[0.5, -0.25]]
    """
    factor = tf.reverse(tf.cast(target, tf.float32) / tf.cast(source, tf.float32), [0])
    return (tf.cast(points, tf.float32) + 0.5) * factor - 0.5
