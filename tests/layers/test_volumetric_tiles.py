"""Tiled convolutions give what Keras's give, forward and backward."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import output_and_gradients
from tfmedcai.layers.volumetric_tiles import (
    TiledConvolution,
    TiledTransposedConvolution,
    doubling_convolution,
    halving_convolution,
)

PAIRS = {
    "halving": (TiledConvolution, keras.layers.Conv3D),
    "doubling": (TiledTransposedConvolution, keras.layers.Conv3DTranspose),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("shape", [(2, 4, 6, 8, 3), (1, 3, 5, 7, 2)])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        (2, {"strides": 2}),
        ((1, 2, 2), {"strides": (1, 2, 2), "use_bias": False}),
        (2, {"strides": 2, "activation": "relu"}),
        (3, {"strides": 2}),
    ],
)
def test_equals_keras(kind, shape, size, options):
    x = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    ours, expected = (build(4, size, padding="same", **options) for build in PAIRS[kind])
    for layer in (ours, expected):
        layer.build(shape)
    if ours.use_bias:
        ours.bias.assign(np.arange(4.0))
    expected.set_weights(ours.get_weights())
    for found, value in zip(output_and_gradients(ours, x), output_and_gradients(expected, x), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("build", "kind"), [(halving_convolution, "Conv3D"), (doubling_convolution, "Conv3D")])
def test_are_products(build, kind):
    x = keras.Input((4, 8, 8, 2))
    model = keras.Model(x, build(x, 3, "layer"))
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, 4, 8, 8, 2))).graph
    types = {operation.type for operation in graph.get_operations()}
    assert not {name for name in types if name.startswith(kind)}


def test_keep_the_variance_of_a_layer_behind_a_relu():
    keras.utils.set_random_seed(0)
    x = np.maximum(np.random.default_rng(0).normal(size=(1, 8, 8, 8, 64)), 0).astype("float32")
    for build in (halving_convolution, doubling_convolution):
        image = keras.Input(x.shape[1:])
        y = keras.Model(image, build(image, 64, "layer")).predict(x, verbose=0)
        assert np.mean(y**2) == pytest.approx(1, rel=0.25)
