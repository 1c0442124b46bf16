"""Losses of gradients of a pose: units, forms, configuration."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.geodesic import geodesic_gradient, geodesic_loss
from tfmedcai.losses.pose_gradients import PoseGradientLoss, scaled_gradient

UNIT = np.array([1, 1, 1, 50, 50, 50])


def _gradients():
    return (np.random.default_rng(0).normal(size=(2, 3, 6)) / UNIT).astype("float32")


def test_the_geodesic_gradient_counts_mm_by_the_normaliser():
    poses = tf.constant([[0.0] * 3 + [25.0, 0.0, 0.0], [0.0] * 6])
    gradient = scaled_gradient(geodesic_gradient(poses[0], poses[1], 50.0), 50.0)
    np.testing.assert_allclose(gradient, [0, 0, 0, 1, 0, 0])


def test_forms():
    true, predicted = _gradients()
    a, b = true * UNIT, predicted * UNIT
    losses = {form: float(PoseGradientLoss(form, 50.0)(true, predicted)) for form in ("journal", "miccai", "mse")}
    assert losses["mse"] == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)
    assert losses["journal"] == pytest.approx(np.mean(geodesic_loss(b, a)), rel=1e-5)
    sides = [(x / np.linalg.norm(x, axis=1, keepdims=True)) for x in (a[:, :3], b[:, :3], a[:, 3:], b[:, 3:])]
    expected = np.mean(np.sum((sides[0] - sides[1]) ** 2 + (sides[2] - sides[3]) ** 2, axis=1))
    assert losses["miccai"] == pytest.approx(expected, rel=1e-5)
    for form in losses:
        assert float(PoseGradientLoss(form, 50.0)(true, true)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("form", ["journal", "miccai", "mse"])
def test_gradient_of_nothing_is_finite(form):
    zero = tf.zeros((1, 6))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        loss = PoseGradientLoss(form, 50.0)(tf.ones((1, 6)), zero)
    assert np.isfinite(tape.gradient(loss, zero)).all()


def test_configuration():
    loss = PoseGradientLoss("miccai", 50.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.form, again.normaliser_mm) == ("miccai", 50.0)


@pytest.mark.parametrize("wrong", [{"form": "tmi"}, {"normaliser_mm": 0.0}])
def test_wrong_options(wrong):
    with pytest.raises(ValueError, match="`form` must be one of journal, miccai, mse and `normaliser_mm` positive"):
        PoseGradientLoss(**wrong)
