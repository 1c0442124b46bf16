"""V-Net: its size counted layer by layer, its residual sums, and patches of any size."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.vnet import vnet


def _weights(filters, outputs, down, up):
    """Weights, biases and slopes, from the figure of the publication."""

    def convolution(inputs, made, volume, slopes=True):
        return inputs * made * volume + made * (2 if slopes else 1)

    widths = [filters * 2**level for level in range(len(down))]
    total = convolution(1, filters, 125)
    total += sum(
        (count - (level == 0)) * convolution(width, width, 125)
        for level, (width, count) in enumerate(zip(widths, down, strict=True))
    )
    total += sum(convolution(width, 2 * width, 8) for width in widths[:-1])
    below = widths[-1]
    for width, count in zip(reversed(widths[:-1]), up, strict=True):
        total += convolution(below, width, 8) + count * convolution(2 * width, 2 * width, 125)
        below = 2 * width
    return total + convolution(below, outputs, 1, slopes=False)


def test_size():
    assert _weights(16, 2, (1, 2, 3, 3, 3), (3, 3, 2, 1)) == 65_175_314
    model = vnet(input_shape=(16, 16, 16, 1), filters=4)
    assert parameters(model) == _weights(4, 2, (1, 2, 3, 3, 3), (3, 3, 2, 1))


@pytest.mark.slow
def test_full_size():
    assert parameters(vnet()) == 65_175_314


def test_without_convolutions_a_stage_is_its_input():
    model = vnet(input_shape=(16, 16, 16, 1), filters=2)
    layer = model.get_layer("encoder_1_1")
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    inner = keras.Model(model.input, model.get_layer("encoder_1_1_prelu").output)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype("float32")
    expected = np.where(image > 0, image, 0.25 * image).transpose(0, 3, 1, 2, 4)
    np.testing.assert_allclose(inner(image), np.repeat(expected, 2, axis=-1), rtol=1e-6)


@pytest.mark.parametrize("input_shape", [(20, 17, 9, 1), (16, 16, 32, 3), (16, 16, 16, 2)])
def test_patches_of_any_size_and_number_of_channels(input_shape):
    model = vnet(input_shape=input_shape, outputs=3, filters=2)
    answer = model(np.ones((1, *input_shape), np.float32))
    assert answer.shape == (1, *input_shape[:3], 3)


def test_vector():
    assert vnet(input_shape=(16, 16, 16, 1), outputs=5, per_pixel=False, filters=2).output_shape == (None, 5)


@pytest.mark.parametrize("sizes", [{"input_shape": (32, 32, 1)}, {"outputs": 0}, {"filters": 0}])
def test_wrong_sizes(sizes):
    with pytest.raises(ValueError, match=f"`{next(iter(sizes))}` must be"):
        vnet(**{"input_shape": (16, 16, 16, 1), "filters": 2, **sizes})


def test_normalisation_takes_out_the_scale():
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 16, 1)).astype("float32")
    for normalised, factor in ((False, 10), (True, 1)):
        model = vnet(input_shape=(16, 16, 16, 1), filters=2, normalised=normalised)
        logits, of_brighter = (model(grey, training=True) for grey in (image, 10 * image))
        np.testing.assert_allclose(of_brighter, factor * logits, rtol=0.02, atol=0.02)
