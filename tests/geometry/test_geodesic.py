"""The geodesic agrees with geomstats, its gradients with the loss, and a step along it lands on the target."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.geodesic import geodesic_gradient, geodesic_loss, riemannian_gradient
from tfmedcai.geometry.rigid import compose, matrix_from_pose

NORMALISER_MM = 149.25


def pairs(count=40, angle=None):
    """Poses whose rotations are apart by less than half a turn, or by `angle` rad."""
    rng = np.random.default_rng(0)
    moving = np.concatenate([rng.normal(0, 0.8, (count, 3)), rng.normal(0, 60, (count, 3))], axis=1)
    turns = rng.normal(size=(count, 3))
    turns *= (angle or rng.uniform(0, 3, (count, 1))) / np.linalg.norm(turns, axis=1, keepdims=True)
    return moving, compose(moving, np.concatenate([turns, rng.normal(0, 60, (count, 3))], axis=1)).numpy()


def by_tape(moving, target, normaliser_mm):
    moving = tf.constant(moving)
    with tf.GradientTape() as tape:
        tape.watch(moving)
        loss = geodesic_loss(moving, target, normaliser_mm)
    return tape.gradient(loss, moving).numpy()


@pytest.mark.parametrize(("precision", "bound"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_poses_are_as_far_apart_as_geomstats_says(golden, precision, bound):
    recorded = np.load(golden("prost/geodesic_golden.npz"))
    moving, target = (recorded[name].astype(precision) for name in ("theta_m", "theta_t"))
    np.testing.assert_allclose(geodesic_loss(moving, target), recorded["loss"], atol=bound)
    np.testing.assert_allclose(geodesic_gradient(moving, target), recorded["grad_true"], atol=bound)
    np.testing.assert_allclose(by_tape(moving, target, 1.0), recorded["grad_true"], atol=bound)


def test_gradients_are_as_far_apart_as_geomstats_says(golden):
    recorded = np.load(golden("prost/mdist_golden.npz"))
    found, target = recorded["grad_pred"], recorded["grad_target"]
    np.testing.assert_allclose(geodesic_loss(found, target), recorded["loss"], atol=1e-10)
    np.testing.assert_allclose(by_tape(found, target, 1.0), recorded["grad_true"], atol=1e-10)


def test_gradients_of_any_length_can_be_compared():
    found = np.float32([[3e6, -2e6, 1e6, 1e4, 0, 0], [1e-30, 0, 0, 0, 0, 0]])
    assert np.isfinite(geodesic_loss(found, np.zeros_like(found))).all()
    assert np.isfinite(by_tape(found, np.zeros_like(found), 1.0)).all()


@pytest.mark.parametrize("angle", [1e-9, 1e-3, 0.7, 3.1, np.pi - 1e-6])
def test_the_gradient_is_that_of_the_loss(angle):
    moving, target = pairs(10, angle)
    found = geodesic_gradient(moving, target, NORMALISER_MM).numpy()
    np.testing.assert_allclose(found, by_tape(moving, target, NORMALISER_MM), atol=1e-9)
    if angle < 3.14:
        for axis, step in enumerate(np.diag([1e-6] * 3 + [1e-3] * 3)):
            ahead, behind = (geodesic_loss(moving + sign * step, target, NORMALISER_MM) for sign in (1, -1))
            np.testing.assert_allclose(found[:, axis], (ahead - behind) / (2 * step[axis]), atol=1e-8)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_at_the_target_there_is_no_way_to_go_and_the_loss_is_quadratic(precision):
    target = np.array([[0.0] * 6, [0.2, -0.1, 0.3, 10.0, 20.0, 30.0]], precision)
    for value in (geodesic_loss, geodesic_gradient, riemannian_gradient):
        np.testing.assert_allclose(value(target, target), 0, atol=1e-6)
    # At zero rotation the second derivatives are 2, and 2 / mm^2 of the normaliser.
    pose = tf.constant(target[:1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pose)
        entries = tf.unstack(geodesic_gradient(pose, target[:1], NORMALISER_MM)[0])
    hessian = np.concatenate([tape.gradient(entry, pose) for entry in entries])
    np.testing.assert_allclose(hessian, np.diag([2.0] * 3 + [2 / NORMALISER_MM**2] * 3), atol=1e-12)


def test_half_a_riemannian_step_lands_on_the_target():
    moving, target = pairs()
    gradient = riemannian_gradient(moving, target)
    landed = matrix_from_pose(compose(moving, -0.5 * gradient))
    np.testing.assert_allclose(landed, matrix_from_pose(target), atol=1e-12)
    half_way = geodesic_loss(compose(moving, -0.25 * gradient), target, NORMALISER_MM)
    np.testing.assert_allclose(half_way, geodesic_loss(moving, target, NORMALISER_MM) / 4, rtol=1e-12)


def test_targets_are_shared_and_the_normaliser_weighs_mm():
    moving, target = pairs(5)
    for value in (geodesic_loss, geodesic_gradient, riemannian_gradient):
        np.testing.assert_allclose(value(moving, target[0]), value(moving, np.tile(target[0], (5, 1))))
        assert value(moving[0], target).shape[0] == 5
    scale = np.array([1.0] * 3 + [1 / NORMALISER_MM] * 3)
    found = geodesic_loss(moving, target, NORMALISER_MM)
    np.testing.assert_allclose(found, geodesic_loss(moving * scale, target * scale))
    found = geodesic_gradient(moving, target, NORMALISER_MM)
    np.testing.assert_allclose(found, scale * geodesic_gradient(moving * scale, target * scale))
