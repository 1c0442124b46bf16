"""Steps of poses: DeepIM's in both directions, and a gradient that leads to the target along the geodesic."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.pose_updates import deepim_step, deepim_update, geodesic_step


def _poses(seed, count=50):
    rng = np.random.default_rng(seed)
    vectors = Rotation.random(count, rng).as_rotvec()
    return np.concatenate([vectors, rng.uniform(-60, 60, (count, 2)), rng.uniform(400, 900, (count, 1))], axis=1)


def _matrix(poses):
    return Rotation.from_rotvec(np.array(poses)[..., :3]).as_matrix()


def _assert_same(found, expected, atol=1e-9):
    np.testing.assert_allclose(_matrix(found), _matrix(expected), atol=atol)
    np.testing.assert_allclose(found[..., 3:], expected[..., 3:], atol=1000 * atol)


def test_deepim_turns_about_the_object_and_the_axes_of_the_camera():
    pose = np.array([[0.0, 0.0, np.pi / 2, 10.0, -20.0, 500.0]])
    turn = Rotation.from_rotvec([0.3, 0.0, 0.0])
    found = deepim_update(pose, np.concatenate([2 * turn.as_quat(), [0.0, 0.0, 0.0]])[np.newaxis])
    np.testing.assert_allclose(_matrix(found)[0], turn.as_matrix() @ _matrix(pose)[0], atol=1e-12)
    np.testing.assert_allclose(found[:, 3:], pose[:, 3:])


def test_deepim_moves_along_the_viewing_ray():
    pose = np.array([[0.0, 0.0, 0.0, 10.0, -20.0, 500.0]])
    found = deepim_update(pose, np.array([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 10.0 * np.log(2.0)]]))
    np.testing.assert_allclose(found, [[0.0, 0.0, 0.0, 5.0, -10.0, 250.0]], atol=1e-9)
    found = deepim_update(pose, np.array([[0.0, 0.0, 0.0, 1.0, 1.0, -0.5, 0.0]]))
    np.testing.assert_allclose(found, [[0.0, 0.0, 0.0, 60.0, -45.0, 500.0]], atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_of_deepim_leads_to_its_target(dtype):
    poses, targets = _poses(0), _poses(1)
    steps = deepim_step(tf.constant(poses, dtype), tf.constant(targets, dtype))
    assert np.min(steps[:, 3]) >= 0
    np.testing.assert_allclose(np.linalg.norm(steps[:, :4], axis=1), 1, rtol=1e-5)
    found = deepim_update(tf.constant(poses, dtype), steps)
    assert found.dtype == dtype
    _assert_same(found.numpy(), targets, atol=1e-9 if dtype == "float64" else 2e-5)


def test_no_step_between_equal_poses():
    poses = _poses(0)
    steps = deepim_step(poses, poses)
    np.testing.assert_allclose(steps, np.tile([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], (50, 1)), atol=1e-7)
    _assert_same(deepim_update(poses, steps).numpy(), poses)


def test_half_a_geodesic_gradient_leads_to_the_target():
    poses, targets = _poses(0), _poses(1)
    normaliser = 149.25
    before, after = Rotation.from_rotvec(poses[:, :3]), Rotation.from_rotvec(targets[:, :3])
    turn = (before.inv() * after).as_rotvec()
    move = before.inv().apply(targets[:, 3:] - poses[:, 3:]) / normaliser
    gradient = -2 * np.concatenate([turn, move], axis=1)
    _assert_same(geodesic_step(poses, gradient, normaliser=normaliser).numpy(), targets)
    half = geodesic_step(poses, gradient, rate=0.25, normaliser=normaliser).numpy()
    np.testing.assert_allclose(half[:, 3:], (poses + targets)[:, 3:] / 2)
    np.testing.assert_allclose(_matrix(half), (before * Rotation.from_rotvec(turn / 2)).as_matrix(), atol=1e-9)


def test_any_leading_axes():
    poses = tf.reshape(_poses(0), (5, 10, 6))
    assert geodesic_step(poses, tf.zeros((5, 10, 6), tf.float64)).shape == (5, 10, 6)
    assert deepim_update(poses, deepim_step(poses, poses[::-1])).shape == (5, 10, 6)
