"""Blocks: sizes by formula, values against NumPy, images and volumes."""

import keras
import numpy as np
import pytest

from tfmedcai.layers.blocks import dense_block, inception_block, residual_block, vgg_block
from tfmedcai.metrics.complexity import parameters

BLOCKS = {"vgg": vgg_block, "residual": residual_block, "dense": dense_block, "inception": inception_block}


def built(name, channels, filters, size, spatial=(6, 6)):
    keras.utils.set_random_seed(0)
    x = keras.Input((*spatial, channels))
    return keras.Model(x, BLOCKS[name](x, filters, size, "block"))


def vgg(i, c, k):
    return i * c * k + c * c * k + 2 * 2 * c


def residual(i, c, k):
    return vgg(i, c, k) + (0 if i == c else i * c + 2 * c)


def dense(i, c, k):
    growth = c // 4
    inputs = [i + number * growth for number in range(5)]
    return sum(2 * width + width * growth * k for width in inputs[:4]) + 2 * inputs[4] + inputs[4] * c


def inception(i, c, k):
    q = c // 4
    return 4 * (i * q + 2 * q) + 3 * (q * q * k + 2 * q) + c * c + 2 * c + (0 if i == c else i * c + 2 * c)


@pytest.mark.parametrize("spatial", [(6, 6), (6, 4, 2)])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("formula", [vgg, residual, dense, inception])
def test_sizes(formula, channels, size, spatial):
    model = built(formula.__name__, channels, 8, size, spatial)
    assert parameters(model, trainable_only=True) == formula(channels, 8, size ** len(spatial))
    assert model.output_shape == (None, *spatial, 8)


@pytest.mark.parametrize("name", BLOCKS)
def test_no_bias_where_normalisation_follows(name):
    model = built(name, 3, 8, 3)
    assert not any(layer.use_bias for layer in model.layers if isinstance(layer, keras.layers.Conv2D))


def test_values_of_a_residual_block():
    model = built("residual", 2, 4, 1)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    x = rng.normal(size=(2, 6, 6, 2)).astype(np.float32)

    def convolved(x, name):
        gamma, beta, mean, variance = (weight.numpy() for weight in model.get_layer(f"{name}_bn").weights)
        return (x @ model.get_layer(name).kernel.numpy()[0, 0] - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    made = convolved(np.maximum(convolved(x, "block_1"), 0), "block_2")
    np.testing.assert_allclose(model(x), np.maximum(made + convolved(x, "block_project"), 0), atol=1e-4)


@pytest.mark.parametrize(("name", "reach"), [("vgg", 2), ("residual", 2), ("inception", 2), ("dense", 4)])
def test_reach_of_a_block(name, reach):
    model = built(name, 1, 4, 3, spatial=(17, 17))
    for weight in model.trainable_weights:
        weight.assign(np.abs(weight.numpy()))  # so that ReLU stops nothing
    image = np.zeros((1, 17, 17, 1), np.float32)
    changed = image.copy()
    changed[0, 8, 8] = 1.0
    rows = np.nonzero(np.abs(model(changed).numpy() - model(image).numpy()).max(axis=(0, 2, 3)) > 1e-7)[0]
    assert (rows.min(), rows.max()) == (8 - reach, 8 + reach)


def test_inception_has_branches_of_four_kinds():
    model = built("inception", 3, 8, 5)
    sizes = sorted(layer.kernel_size[0] for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert sizes == [1] * 6 + [5] * 3
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers) == 1


@pytest.mark.parametrize("name", ["dense", "inception"])
@pytest.mark.parametrize("filters", [0, 6])
def test_filters_are_multiples_of_four(name, filters):
    with pytest.raises(ValueError, match=f"must be a multiple of 4. Received {filters}"):
        built(name, 3, filters, 3)
