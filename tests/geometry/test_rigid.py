"""Poses compose and invert as their matrices do."""

import numpy as np
import tensorflow as tf

from tfmedcai.geometry.pose import transform
from tfmedcai.geometry.rigid import compose, inverse, matrix_from_pose, pose_from_matrix, rotated


def poses(count, seed=0):
    rng = np.random.default_rng(seed)
    turns = rng.normal(size=(count, 3))
    turns *= rng.uniform(0, np.pi, (count, 1)) / np.linalg.norm(turns, axis=1, keepdims=True)
    return np.concatenate([turns, rng.normal(0, 50, (count, 3))], axis=1)


def test_a_matrix_moves_points_as_its_pose_does():
    points = np.random.default_rng(2).normal(0, 50, (7, 3))
    by_matrix = np.einsum(
        "bij,nj->bni", matrix_from_pose(poses(5)), np.pad(points, [(0, 0), (0, 1)], constant_values=1)
    )
    np.testing.assert_allclose(by_matrix[..., :3], transform(poses(5), points), atol=1e-12)
    np.testing.assert_array_equal(by_matrix[..., 3], 1)


def test_poses_survive_the_way_through_matrices():
    many = np.concatenate([poses(50), [[0.0] * 6, [np.pi - 1e-7, 0, 0, 1, 2, 3]]])
    np.testing.assert_allclose(pose_from_matrix(matrix_from_pose(many)), many, atol=1e-14)


def test_compose_is_the_product_of_matrices_and_broadcasts():
    outer, inner = poses(4)[:, np.newaxis], poses(3, seed=1)
    found = matrix_from_pose(compose(outer, inner))
    np.testing.assert_allclose(found, matrix_from_pose(outer) @ matrix_from_pose(inner), atol=1e-13)
    assert compose(poses(1)[0], inner).shape == (3, 6)


def test_a_pose_and_its_inverse_leave_things_where_they_are():
    for found in (compose(poses(20), inverse(poses(20))), compose(inverse(poses(20)), poses(20))):
        np.testing.assert_allclose(found, 0, atol=1e-13)


def test_an_inner_increment_moves_the_body_in_its_own_frame():
    pose, step = poses(1)[0], np.array([0.0, 0.0, 0.0, 1e-3, 0.0, 0.0])
    np.testing.assert_allclose(compose(pose, step)[3:] - pose[3:], rotated(pose[:3], step[3:]), atol=1e-12)
    np.testing.assert_allclose(compose(step, pose) - pose, step, atol=1e-12)


def test_traces_with_an_unknown_batch():
    signature = [tf.TensorSpec((None, 6), tf.float32)]
    function = tf.function(
        lambda pose: pose_from_matrix(matrix_from_pose(compose(pose, inverse(pose)))),
        input_signature=signature,
        autograph=False,
    )
    np.testing.assert_allclose(function(np.float32(poses(3))), np.zeros((3, 6)), atol=1e-4)
