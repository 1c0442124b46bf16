"""Rotations agree with scipy's, have exact derivatives at, near and far from zero, and come fast."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.rotations import (
    compose_rotations,
    euler_from_vector,
    matrix_from_vector,
    quaternion_from_vector,
    transposed_right_jacobian,
    vector_from_euler,
    vector_from_matrix,
    vector_from_quaternion,
)

PROGRAM = """
import time, tensorflow, keras
start = time.process_time()
from tfmedcai.geometry import rotations
assert time.process_time() - start < 2, "tensorflow-graphics takes seconds again"
from tensorflow_graphics.util import export_api
assert export_api.get_modules.__module__ == export_api.__name__
"""
# Both sides of the places where a series hands over to a closed form, and of a half turn.
ANGLES = [
    0.0,
    1e-30,
    1e-9,
    1e-4,
    0.03,
    0.499,
    0.501,
    0.78,
    0.8,
    0.999,
    1.001,
    2.0,
    3.0,
    np.pi - 1e-6,
    np.pi + 1e-6,
    4.7,
]
# Rounding that value, first and second derivative may have.
ROUNDING = {np.float32: (1e-6, 5e-6, 2e-5), np.float64: (4e-15, 1e-14, 2e-13)}


def vectors(angle, count=20):
    axes = np.random.default_rng(0).normal(size=(count, 3))
    return np.reshape(angle, (-1, 1)) * axes / np.linalg.norm(axes, axis=1, keepdims=True)


def derivatives(function, values):
    """Returns value, gradient and Hessian of a weighted sum of what a function of vectors returns, and the weights."""
    values = tf.constant(values)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            found = function(values)
            weights = np.random.default_rng(1).normal(size=found.shape[1:]).astype(found.dtype.name)
            found = tf.reduce_sum(found * weights, axis=range(1, len(found.shape)))
        first = inner.gradient(found, values)
        parts = tf.unstack(first, axis=-1)
    second = np.stack([outer.gradient(part, values) for part in parts], axis=1)
    return (found.numpy(), first.numpy(), second), weights


def test_the_import_is_short():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("angle", ANGLES)
def test_all_forms_are_those_of_scipy(angle):
    rotation = Rotation.from_rotvec(vectors(angle))
    np.testing.assert_allclose(matrix_from_vector(vectors(angle)), rotation.as_matrix(), atol=1e-15)
    np.testing.assert_allclose(vector_from_euler(rotation.as_euler("XYZ")), rotation.as_rotvec(), atol=1e-8)
    np.testing.assert_allclose(euler_from_vector(vectors(angle)), rotation.as_euler("XYZ"), atol=2e-14)
    quaternion = quaternion_from_vector(vectors(angle)).numpy()
    np.testing.assert_allclose(np.abs(np.sum(quaternion * rotation.as_quat(), axis=1)), 1, atol=1e-15)
    for scale in (1.0, -3.0):
        found = vector_from_quaternion(scale * quaternion)
        np.testing.assert_allclose(found, rotation.as_rotvec(), rtol=1e-14, atol=2e-15)
    np.testing.assert_allclose(vector_from_matrix(rotation.as_matrix()), rotation.as_rotvec(), rtol=1e-14, atol=2e-15)


@pytest.mark.parametrize("vector", [*np.pi * np.eye(3), [0.0, -np.pi, 0.0], [-0.8 * np.pi, 0.0, 0.6 * np.pi]])
def test_half_turns_are_one_of_their_two_vectors(vector):
    found = vector_from_matrix(Rotation.from_rotvec(vector).as_matrix()).numpy()
    assert min(np.abs(found - vector).max(), np.abs(found + vector).max()) < 1e-14


@pytest.mark.parametrize("about_y", [np.pi / 2, -np.pi / 2])
def test_euler_angles_at_their_pole_are_of_the_same_rotation(about_y):
    vector = vector_from_euler([0.3, about_y, -0.9])
    again = matrix_from_vector(vector_from_euler(euler_from_vector(vector)))
    np.testing.assert_allclose(again, matrix_from_vector(vector), atol=1e-6)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_at_zero_the_derivatives_are_the_generators_and_their_products(precision):
    (value, first, second), weights = derivatives(matrix_from_vector, np.zeros((1, 3), precision))
    generators = np.stack([np.cross(axis, np.eye(3)).T for axis in np.eye(3)])
    products = np.einsum("ij,aik,bkj->ab", weights, generators, generators)
    bound = ROUNDING[precision][0]
    np.testing.assert_allclose(value[0], np.trace(weights), atol=bound)
    np.testing.assert_allclose(first[0], np.einsum("ij,aij->a", weights, generators), atol=bound)
    np.testing.assert_allclose(second[0], (products + products.T) / 2, atol=bound)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_derivatives_of_matrices_are_those_of_differences(precision):
    values, step = vectors(ANGLES, len(ANGLES)), 1e-4
    moved = values + step * np.concatenate([np.eye(3), -np.eye(3)])[:, np.newaxis]
    around, _ = derivatives(matrix_from_vector, moved.reshape(-1, 3))
    found, _ = derivatives(matrix_from_vector, values.astype(precision))
    for order, bound in enumerate(ROUNDING[precision][1:]):
        ahead, behind = around[order].reshape(2, 3, *found[order].shape)
        difference = np.moveaxis((ahead - behind) / (2 * step), 0, 1)
        np.testing.assert_allclose(found[order + 1], difference, atol=step**2 + 10 * bound)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize(
    "function",
    [
        lambda vector: vector_from_matrix(matrix_from_vector(vector)),
        lambda vector: vector_from_quaternion(quaternion_from_vector(vector)),
        lambda vector: vector_from_euler(euler_from_vector(vector)),
    ],
    ids=["matrix", "quaternion", "euler"],
)
def test_there_and_back_is_the_identity_with_its_derivatives(function, precision):
    angles = [angle for angle in ANGLES if angle < (np.pi if precision is np.float64 else 3.1)]
    values = vectors(angles, len(angles)).astype(precision)
    found, weights = derivatives(function, values)
    for part, right, bound in zip(found, (values @ weights, weights, 0), ROUNDING[precision], strict=True):
        np.testing.assert_allclose(part, np.broadcast_to(right, part.shape), atol=10 * bound)


def test_the_jacobian_turns_small_turns_of_the_body_into_changes_of_the_vector():
    values, covectors = vectors(ANGLES, len(ANGLES)), np.random.default_rng(1).normal(size=(len(ANGLES), 3))
    for axis, unit in enumerate(1e-5 * np.eye(3)):
        turns = [compose_rotations(-values, values + sign * unit) for sign in (1, -1)]
        expected = np.sum(covectors * (turns[0] - turns[1]), axis=1) / 2e-5
        found = transposed_right_jacobian(values, covectors)[:, axis]
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_rotations_compose_and_broadcast_as_their_matrices():
    outer, inner = vectors(2.0, 4)[:, np.newaxis], vectors(1.5, 7)[4:]
    found = matrix_from_vector(compose_rotations(outer, inner))
    np.testing.assert_allclose(found, matrix_from_vector(outer) @ matrix_from_vector(inner), atol=1e-15)


def test_traces_with_an_unknown_batch():
    signature = [tf.TensorSpec((None, 3), tf.float32)]
    function = tf.function(
        lambda vector: vector_from_matrix(matrix_from_vector(vector)), input_signature=signature, autograph=False
    )
    np.testing.assert_allclose(function(np.float32(vectors(2.0))), vectors(2.0), atol=1e-6)
