"""Pre-activation convolutions compared with NumPy, and their sizes."""

import keras
import numpy as np
import pytest

from tfmedcai.layers.convolution import (
    convolution,
    depthwise_convolution,
    merge,
    pre_activation,
    separable_convolution,
)

SHAPE = (5, 6, 3)
BUILDERS = {
    "pre_activation": lambda x: pre_activation(x, "layer"),
    "conv1x1": lambda x: convolution(x, 4, 1, "layer"),
    "conv3x3": lambda x: convolution(x, 4, 3, "layer"),
    "depthwise": lambda x: depthwise_convolution(x, 3, "layer"),
    "separable": lambda x: separable_convolution(x, 4, 3, "layer"),
    "merge": lambda x: merge([x, x], 4, "layer"),
}


def _model(name):
    """Builds a layer with random weights, positive where they are variances."""
    keras.utils.set_random_seed(0)
    x = keras.Input(SHAPE)
    model = keras.Model(x, BUILDERS[name](x))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model, rng.normal(size=(2, *SHAPE)).astype("float32")


def _activated(model, x):
    gamma, beta, mean, variance = (w.numpy() for w in model.get_layer("layer_bn").weights)
    return np.maximum((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0)


def _correlated(x, kernel):
    """Applies a (3, 3, in, out) kernel with zeros around the image."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return sum(
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )


def test_pre_activation():
    model, x = _model("pre_activation")
    np.testing.assert_allclose(model(x), _activated(model, x), atol=1e-5)


def test_convolution():
    model, x = _model("conv3x3")
    kernel = model.get_layer("layer").kernel.numpy()
    np.testing.assert_allclose(model(x), _correlated(_activated(model, x), kernel), atol=1e-4)


def test_depthwise_convolution_keeps_channels_apart():
    model, x = _model("depthwise")
    kernel = model.get_layer("layer").kernel.numpy()[..., 0]
    apart = kernel[..., None] * np.eye(3)
    np.testing.assert_allclose(model(x), _correlated(_activated(model, x), apart), atol=1e-4)


def test_separable_convolution_normalises_once():
    model, x = _model("separable")
    layer = model.get_layer("layer")
    apart = layer.depthwise_kernel.numpy()[..., 0][..., None] * np.eye(3)
    expected = _correlated(_activated(model, x), apart) @ layer.pointwise_kernel.numpy()[0, 0]
    np.testing.assert_allclose(model(x), expected, atol=1e-4)


def test_merge():
    model, x = _model("merge")
    expected = _activated(model, np.concatenate([x, x], axis=-1)) @ model.get_layer("layer").kernel.numpy()[0, 0]
    np.testing.assert_allclose(model(x), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "trainable"),
    [("conv1x1", 6 + 12), ("conv3x3", 6 + 108), ("depthwise", 6 + 27), ("separable", 6 + 27 + 12), ("merge", 12 + 24)],
)
def test_no_layer_has_a_bias(name, trainable):
    model, _ = _model(name)
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == trainable
