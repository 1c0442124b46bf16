"""Iterative refinement of a rough image pose with a landmark network."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfmedcai.geometry.crop import PatchGeometry, crop, unnormalise
from tfmedcai.geometry.landmarks import pose_from_landmarks


def start_pose(position: tf.Tensor, angle: tf.Tensor, resolution: float = 0.15) -> tf.Tensor:
    """Makes an image pose out of what is known before the first iteration.

    Args:
        position: `(batch, 2)` float: x, y in px.
        angle: `(batch,)` float, rad.
        resolution: mm/px, a guess for all; the network's landmarks replace it.

    Returns:
        `(batch, 5)` float32: x px, y px, angle rad, tilt 0, resolution mm/px.

    >>> start_pose([[100.0, 50.0]], [0.5]).numpy().round(2).tolist()[0][2:4]
    [0.5, 0.0]
    """
    position = tf.cast(position, tf.float32)
    angle = tf.cast(angle, tf.float32)[:, tf.newaxis]
    return tf.concat([position, angle, tf.zeros_like(angle), tf.fill(tf.shape(angle), resolution)], axis=-1)


def refine(
    network: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    rough_pose: tf.Tensor,
    geometry: PatchGeometry,
    iterations: int = 3,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Repeats CROP, network and POSE: each estimate is the rough pose of the next.

    Made of TensorFlow operations only, for any batch and image size, so that it can be traced and exported. The angle
    moves by at most 90 deg an iteration. The sign of the tilt cannot be seen in an image; it comes out positive.

    Args:
        network: maps patches `(batch, height, width, 1)` in [0, 1] to normalised landmarks `(batch, 12)`.
        images: `(batch, H, W)` of any integer or float type; with a batch of one, all poses refer to it.
        rough_pose: `(batch, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px. Tilt and resolution are
            handed on, but the patch does not depend on them.
        geometry: the `PatchGeometry` that the network was trained with.
        iterations: at least 1.

    Returns:
        pose: `(batch, 5)` float32, image pose, angle in [-pi, pi].
        landmarks: `(batch, 6, 2)` float32, px in the image: the network's landmarks of the last iteration.

    Raises:
        ValueError: if `iterations` is not positive or a tensor has another shape.

    Reference:
        Kuegler et al., i3PosNet, IJCARS 2020; AutoSNAP, section 2.1.
    """
    if iterations < 1:
        raise ValueError(f"`iterations` must be at least 1. Received {iterations}.")
    pose = rough_pose
    for _ in range(iterations):
        patches, frame = crop(images, pose, geometry)
        points = unnormalise(network(patches), geometry)
        pose = frame.pose_to_image(pose_from_landmarks(points, geometry.landmarks_mm))
    return pose, frame.to_image(points)
