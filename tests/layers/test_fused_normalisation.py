"""The fast batch normalisation gives what Keras's gives: outputs, moving averages and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import output_and_gradients
from tfmedcai.layers.fused_normalisation import FusedNormalisation, activated, fused_normalisation

SHAPE = (2, 3, 4, 5, 6)


def _pair(**options):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=6), rng.normal(size=6), rng.normal(size=6), rng.uniform(0.5, 2, 6)]
    pair = FusedNormalisation(momentum=0.9, **options), keras.layers.BatchNormalization(momentum=0.9, **options)
    for layer in pair:
        layer.build(SHAPE)
        layer.set_weights(values[: len(layer.weights)] if len(layer.weights) == 4 else values[2:])
    return pair


def _results(layer, x, training):
    return [*output_and_gradients(layer, x, training=training), layer.moving_mean, layer.moving_variance]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"epsilon": 0.1}, {"scale": False, "center": False}])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_equals_batch_normalization(training, options, offset):
    x = tf.constant(np.random.default_rng(1).normal(loc=offset, scale=2, size=SHAPE), tf.float32)
    pair = _pair(**options)
    before = 0.9 * pair[0].moving_variance.numpy()
    ours, expected = (_results(layer, x, training) for layer in pair)
    if training:  # the fused kernel keeps the unbiased variance
        count = x.shape[:-1].num_elements()
        expected[-1] = before + (expected[-1] - before) * count / (count - 1)
    for found, value in zip(ours, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-3, atol=2e-4)


def test_frozen_layer_keeps_its_averages():
    ours, expected = _pair()
    x = tf.constant(np.random.default_rng(1).normal(size=SHAPE), tf.float32)
    for layer in (ours, expected):
        layer.trainable = False
    np.testing.assert_allclose(ours(x, training=True), expected(x, training=True), rtol=1e-5)
    np.testing.assert_array_equal(ours.moving_mean, expected.moving_mean)


@pytest.mark.parametrize("options", [{}, {"scale": False, "center": False}])
def test_second_derivatives(options):
    # Against the formula, since TensorFlow's moments, which Keras's layer takes, have first derivatives only.
    layer, _ = _pair(**options)
    rng = np.random.default_rng(1)
    x, weights = (tf.constant(rng.normal(size=SHAPE), tf.float32) for _ in range(2))

    def formula(x):
        centred = x - tf.reduce_mean(x, axis=(0, 1, 2, 3), keepdims=True)
        variance = tf.reduce_mean(centred**2, axis=(0, 1, 2, 3), keepdims=True)
        standard = centred * tf.math.rsqrt(variance + layer.epsilon)
        return standard * layer.gamma + layer.beta if layer.scale else standard

    found = []
    for function in (lambda x: layer(x, training=True), formula):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x) ** 3
            first = inner.gradient(y, x) * weights
        found.append(outer.gradient(first, x))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)


def test_half_precision_is_computed_in_single():
    layer = FusedNormalisation(dtype="mixed_float16")
    x = tf.constant(np.random.default_rng(0).normal(300, 20, size=SHAPE), tf.float16)
    y = layer(x, training=True)
    assert y.dtype == "float16"
    assert np.std(y) == pytest.approx(1, abs=0.02)


def test_names_and_saving(tmp_path):
    x = keras.Input(SHAPE[1:])
    model = keras.Model(x, activated(fused_normalisation(x, "first"), "second"))
    assert [layer.name for layer in model.layers[1:]] == ["first", "second_bn", "second_relu"]
    assert model.get_layer("first").momentum == 0.9
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(loaded.get_layer("first"), FusedNormalisation)
