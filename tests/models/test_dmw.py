"""DMW: its maps and size, two branches that share no weights, a step of training."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.dmw import dmw

SMALL = {"input_shape": (64, 64, 2), "filters": 4, "blocks": 2, "units": 8}


def _images(count=3, side=64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, side, side, 2)).astype("float32")


def test_size_and_maps():
    model = dmw()
    assert model.output_shape == (None, 6)
    assert parameters(model) == 2_421_958
    for image in ("moving", "target"):
        shapes = [model.get_layer(f"{image}_block_{number}_pool").output.shape[1:] for number in range(1, 5)]
        assert shapes == [(64, 64, 16), (32, 32, 32), (16, 16, 64), (8, 8, 128)]
    assert model.get_layer("both_block_transition").output.shape[1:] == (8, 8, 256)


@pytest.mark.parametrize("side", [48, 64])
def test_gradient_of_each_case(side):
    model = dmw(**{**SMALL, "input_shape": (side, side, 2)})
    images = _images(side=side)
    gradients = model(images).numpy()
    assert gradients.shape == (3, 6)
    np.testing.assert_allclose(model(images[:1]), gradients[:1], rtol=1e-4, atol=1e-6)


def test_branches_share_no_weights():
    names = {weight.path.split("_")[0] for weight in dmw(**SMALL).trainable_weights}
    assert {"moving", "target", "both"} <= names
    images, model = _images(), dmw(**SMALL)
    assert np.abs(model(images) - model(images[..., ::-1])).max() > 1e-6


def test_one_step_of_training():
    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = dmw(**{**SMALL, "blocks": 1})
        model.compile(keras.optimizers.Adam(1e-3, beta_1=0.8), "mse", run_eagerly=True)
        targets = np.random.default_rng(1).normal(size=(3, 6))
        losses.append(model.fit(_images(), targets, epochs=3, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": 0}, r"`blocks` and `units` must be positive\. Received"),
        ({"filters": 6}, "must be a multiple of 4"),
        ({"blocks": 6}, "`input_shape` must have at least 128 px each way for 6 blocks"),
    ],
)
def test_wrong_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        dmw(**{**SMALL, **wrong})
