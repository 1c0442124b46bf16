"""The rigid maps between patches and the images they were cut from."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf


class PatchFrame(NamedTuple):
    """The rigid maps between patches and their images, in px.

    Args:
        angle: `(batch,)` float32, rad: direction of the patch's x axis in the image, counter-clockwise.
        patch_pivot: `(batch, 2)` float32, px in the patch: the point about which the image was rotated.
        image_pivot: `(batch, 2)` float32, px in the image: the same point.
    """

    angle: tf.Tensor
    patch_pivot: tf.Tensor
    image_pivot: tf.Tensor

    def to_image(self, points: tf.Tensor) -> tf.Tensor:
        """Maps points (batch, n, 2) from patches to images, px."""
        points = tf.cast(points, tf.float32)
        return turn(points - self.patch_pivot[:, tf.newaxis], self.angle) + self.image_pivot[:, tf.newaxis]

    def to_patch(self, points: tf.Tensor) -> tf.Tensor:
        """Maps points (batch, n, 2) from images to patches, px."""
        points = tf.cast(points, tf.float32)
        return turn(points - self.image_pivot[:, tf.newaxis], -self.angle) + self.patch_pivot[:, tf.newaxis]

    def pose_to_image(self, pose: tf.Tensor) -> tf.Tensor:
        """Maps image poses (batch, 5) given in patches to images; the angle comes out in [-pi, pi]."""
        pose = tf.cast(pose, tf.float32)
        position = self.to_image(pose[:, tf.newaxis, :2])[:, 0]
        angle = wrap_angle(pose[:, 2:3] + self.angle[:, tf.newaxis])
        return tf.concat([position, angle, pose[:, 3:]], axis=-1)


def turn(vectors: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """Turns vectors counter-clockwise on the screen.

    Args:
        vectors: `(batch, n, 2)` float: x right, y down.
        angle: `(batch,)` float, rad.

    Returns:
        `(batch, n, 2)` float.
    """
    cos, sin = tf.cos(angle)[:, tf.newaxis], tf.sin(angle)[:, tf.newaxis]
    x, y = tf.unstack(vectors, axis=-1)
    return tf.stack([x * cos + y * sin, y * cos - x * sin], axis=-1)


def wrap_angle(angle: tf.Tensor) -> tf.Tensor:
    """Takes full turns off angles.

    Args:
        angle: float of any shape, rad.

    Returns:
        The same shape, rad in [-pi, pi].
    """
    return angle - 2 * math.pi * tf.round(angle / (2 * math.pi))
