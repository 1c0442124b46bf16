"""The fast convolution of volumes gives what Conv3D gives, forward and backward, and counts as one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import output_and_gradients
from tfmedcai.layers.volumetric_convolution import VolumetricConvolution, volumetric_convolution
from tfmedcai.metrics.complexity import multiply_accumulates

SHAPES = [(2, 8, 8, 6, 3), (2, 2, 16, 10, 3), (1, 7, 9, 11, 3), (1, 8, 8, 8, 12), (2, 1, 16, 18, 2), (3, 2, 4, 4, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", [1, 7])  # many outputs take another form
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((1, 1, 1), {}),
        ((1, 3, 3), {}),
        ((3, 1, 1), {}),
        ((3, 3, 3), {}),
        ((5, 5, 5), {"activation": "relu"}),
        ((1, 7, 7), {"strides": (1, 2, 2)}),
        ((1, 1, 1), {"strides": (1, 2, 2)}),
        ((3, 3, 3), {"strides": 2}),
        ((2, 2, 2), {"strides": 2}),
        ((2, 2, 2), {}),
        ((3, 1, 1), {"strides": (2, 1, 1)}),
        ((3, 3, 3), {"dilation_rate": 2}),
        ((1, 2, 2), {"padding": "valid"}),
    ],
)
def test_equals_conv3d(shape, filters, size, options):
    options = {"padding": "same", **options}
    x = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    ours = VolumetricConvolution(filters, size, **options)
    keras_layer = keras.layers.Conv3D(filters, size, **options)
    for layer in (ours, keras_layer):
        layer.build(shape)
    ours.bias.assign(np.arange(filters) + 0.5)
    keras_layer.set_weights(ours.get_weights())
    assert ours.compute_output_shape(shape) == keras_layer.compute_output_shape(shape)
    for found, expected in zip(output_and_gradients(ours, x), output_and_gradients(keras_layer, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=3e-4)


def test_uses_no_three_dimensional_convolution():
    def operations(layer):
        call = tf.function(lambda x: output_and_gradients(layer, x), autograph=False)
        graph = call.get_concrete_function(tf.TensorSpec((1, 8, 8, 8, 3))).graph
        return {operation.type for operation in graph.get_operations()}

    for size in ((1, 1, 1), (1, 3, 3), (3, 1, 1), (3, 3, 3)):
        layer = VolumetricConvolution(4, size, padding="same")
        layer.build((None, 8, 8, 8, 3))
        assert not {name for name in operations(layer) if name.startswith("Conv3D")}


def test_open_sizes_are_left_to_conv3d():
    x = keras.Input((None, None, None, 2))
    model = keras.Model(x, volumetric_convolution(x, 3, (3, 3, 3), "conv"))
    assert model.predict(np.ones((1, 4, 5, 6, 2)), verbose=0).shape == (1, 4, 5, 6, 3)


def test_no_bias_and_he_weights():
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 4, 4, 64))
    layer = keras.Model(x, volumetric_convolution(x, 128, (1, 3, 3), "conv")).get_layer("conv")
    assert not layer.use_bias
    assert np.std(layer.kernel) == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)


def test_counts_as_a_convolution():
    x = keras.Input((4, 5, 6, 2))
    assert multiply_accumulates(keras.Model(x, volumetric_convolution(x, 4, (3, 3, 3), "conv"))) == 120 * 4 * 54


def test_half_precision():
    x = keras.Input((8, 8, 8, 2), dtype="float16")
    layer = VolumetricConvolution(3, 3, padding="same", dtype="mixed_float16")
    model = keras.Model(x, layer(x))
    assert model(np.ones((1, 8, 8, 8, 2), np.float16)).dtype == "float16"


def test_saves_and_loads(tmp_path):
    x = keras.Input((4, 8, 8, 2))
    model = keras.Model(x, volumetric_convolution(x, 3, (3, 3, 3), "conv", strides=(1, 1, 1)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    value = np.random.default_rng(0).normal(size=(1, 4, 8, 8, 2)).astype("float32")
    np.testing.assert_array_equal(loaded(value), model(value))
