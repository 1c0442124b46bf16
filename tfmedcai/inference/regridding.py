"""Volumes brought onto another grid along their axes, in the graph, so that a served model takes any."""

import tensorflow as tf


def regridded(
    volume: tf.Tensor, shape: tf.Tensor, factor: tf.Tensor | None = None, *, nearest: bool = False
) -> tf.Tensor:
    """Reads a volume at the voxels of another grid around the same centre; beyond the border, the border.

    Args:
        volume: `(x, y, z, channels)`.
        shape: `(3,)` int32, voxels of the new grid.
        factor: `(3,)` float32, size of a new voxel in old ones; None covers the same space.
        nearest: read the nearest voxel, as for classes, instead of interpolating along the three axes.

    Returns:
        `(*shape, channels)`, float32, or of the same type where `nearest`.

    >>> regridded(tf.reshape([0.0, 1.0, 2.0, 3.0], (4, 1, 1, 1)), tf.constant([2, 1, 1]))[:, 0, 0, 0].numpy().tolist()
    [0.5, 2.5]
    """
    for axis in range(3):
        size, wanted = tf.cast(tf.shape(volume)[axis], tf.float32), tf.cast(shape[axis], tf.float32)
        step = size / wanted if factor is None else factor[axis]
        place = step * (tf.range(wanted) - (wanted - 1) / 2) + (size - 1) / 2
        place = tf.clip_by_value(place, 0.0, size - 1)
        if nearest:
            volume = tf.gather(volume, tf.cast(tf.floor(place + 0.5), tf.int32), axis=axis)
            continue
        low = tf.minimum(tf.floor(place), tf.maximum(size - 2, 0.0))
        weight = tf.reshape(place - low, [-1 if other == axis else 1 for other in range(4)])
        first = tf.cast(low, tf.int32)
        second = tf.minimum(first + 1, tf.shape(volume)[axis] - 1)
        volume = (1 - weight) * tf.gather(volume, first, axis=axis) + weight * tf.gather(volume, second, axis=axis)
    return volume
