"""Each sample for itself: what Keras's normalisation gives, with the second derivative that Keras's has not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import double_backward_deviation, output_and_gradients
from tfmedcai.layers.sample_normalisation import EACH_CHANNEL, WHOLE, SampleNormalisation


@pytest.mark.parametrize("groups", [WHOLE, 3, EACH_CHANNEL])
def test_equals_that_of_keras(groups):
    rng = np.random.default_rng(0)
    pair = SampleNormalisation(groups=groups), keras.layers.GroupNormalization(groups=groups)
    values = [rng.normal(size=6), rng.normal(size=6)]
    x = tf.constant(rng.normal(3, 2, size=(2, 5, 4, 6)), tf.float32)
    for layer in pair:
        layer.build(x.shape)
        layer.set_weights(values)
    for found, expected in zip(*(output_and_gradients(layer, x) for layer in pair), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [WHOLE, EACH_CHANNEL])
def test_second_derivatives(groups):
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 4)))
    deviations = []
    for kind in (SampleNormalisation, keras.layers.GroupNormalization):
        layer = kind(groups=groups, dtype="float64")
        layer.build(x.shape)
        weights = [tf.Variable(x), layer.gamma, layer.beta]
        add = weights[0]
        deviations.append(double_backward_deviation(lambda y: tf.sin(layer(tf.tanh(y + add))), x, weights, reach=1e-5))  # noqa: B023
    assert deviations[0] < 1e-7
    assert deviations[1] > 1e-4, "Keras's own is right now: this package's is no longer needed"


def test_a_sample_alone_is_the_same_in_a_batch():
    layer = SampleNormalisation(groups=WHOLE, dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")
    assert layer(x).dtype == tf.bfloat16
    np.testing.assert_array_equal(layer(x)[:1], layer(x[:1]))
