"""Poses as rigid transforms: composed, inverted, and as 4x4 matrices."""

from __future__ import annotations

import tensorflow as tf

from tfmedcai.geometry.rotations import compose_rotations, matrix_from_vector, vector_from_matrix


def compose(outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
    """Finds the pose of two poses, `inner` first.

    A small `inner` moves the body in its own frame, a small `outer` in the frame of the camera.

    Args:
        outer: `(..., 6)` float: rotation vector in rad, translation in mm.
        inner: `(..., 6)` float; broadcast against `outer`.

    Returns:
        `(..., 6)` float: rotation vector in rad, not longer than pi, translation in mm.

    >>> half_turn = [0.0, 0.0, 3.14159265, 5.0, 0.0, 0.0]
    >>> compose(half_turn, [0.0, 0.0, 0.0, 20.0, 0.0, 30.0]).numpy()[3::2].tolist()
    [-15.0, 30.0]
    """
    (turn, shift), (inner_turn, inner_shift) = _split(outer), _split(inner)
    return tf.concat([compose_rotations(turn, inner_turn), rotated(turn, inner_shift) + shift], axis=-1)


def inverse(pose: tf.Tensor) -> tf.Tensor:
    """Finds the pose that undoes one.

    Args:
        pose: `(..., 6)` float: rotation vector in rad, translation in mm.

    Returns:
        `(..., 6)` float.
    """
    turn, shift = _split(pose)
    return tf.concat([-turn, -rotated(-turn, shift)], axis=-1)


def rotated(vector: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Turns points about the origin.

    Args:
        vector: `(..., 3)` float, rotation vector in rad.
        points: `(..., 3)` float; broadcast against `vector`.

    Returns:
        `(..., 3)` float.
    """
    return tf.einsum("...ij,...j->...i", matrix_from_vector(vector), points)


def matrix_from_pose(pose: tf.Tensor) -> tf.Tensor:
    """Writes poses as homogeneous matrices.

    Args:
        pose: `(..., 6)` float: rotation vector in rad, translation in mm.

    Returns:
        `(..., 4, 4)` float.
    """
    turn, shift = _split(pose)
    upper = tf.concat([matrix_from_vector(turn), shift[..., tf.newaxis]], axis=-1)
    last = tf.broadcast_to(tf.constant([0, 0, 0, 1], upper.dtype), tf.shape(upper[..., :1, :]))
    return tf.concat([upper, last], axis=-2)


def pose_from_matrix(matrix: tf.Tensor) -> tf.Tensor:
    """Reads poses from homogeneous matrices; inverse of `matrix_from_pose`.

    Args:
        matrix: `(..., 4, 4)` float, its rotation orthonormal up to rounding, translations in mm.

    Returns:
        `(..., 6)` float: rotation vector in rad, not longer than pi, translation in mm.
    """
    matrix = tf.convert_to_tensor(matrix)
    return tf.concat([vector_from_matrix(matrix[..., :3, :3]), matrix[..., :3, 3]], axis=-1)


def _split(pose: tf.Tensor) -> list[tf.Tensor]:
    return tf.split(tf.convert_to_tensor(pose), 2, axis=-1)
