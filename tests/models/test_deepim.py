"""DeepIM: its size counted layer by layer, its maps, a unit quaternion near that of no rotation."""

import itertools

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.deepim import deepim

SMALL = {"input_shape": (64, 64, 2), "filters": 4, "units": 8}


def _images(count=3, side=64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, side, side, 2)).astype("float32")


def test_size_and_maps():
    model = deepim()
    channels = (2, 64, 128, 256, 256, 512, 512, 512, 512, 1024, 1024)
    edges = (7, 5, 5, 3, 3, 3, 3, 3, 3, 3)
    weights = [
        edge**2 * before * made + made for (before, made), edge in zip(itertools.pairwise(channels), edges, strict=True)
    ]
    dense = [before * made + made for before, made in ((4 * 1024, 256), (256, 256), (256, 7))]
    assert parameters(model) == sum(weights) + sum(dense) == 25_154_631
    sides = [model.get_layer(f"conv_{number}").output.shape[1] for number in range(1, 11)]
    assert sides == [64, 32, 16, 16, 8, 8, 4, 4, 2, 2]
    slopes = [layer.negative_slope for layer in model.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert slopes == pytest.approx([0.1] * 12)
    assert parameters(deepim(input_shape=(64, 64, 2))) == 24_368_199


@pytest.mark.parametrize("side", [64, 96])
def test_unit_quaternion_and_translation(side):
    model = deepim(**{**SMALL, "input_shape": (side, side, 2)})
    steps = model(_images(side=side)).numpy()
    assert steps.shape == (3, 7)
    np.testing.assert_allclose(np.linalg.norm(steps[:, :4], axis=1), 1, rtol=1e-5)
    # The real part of the quaternion is too near to 1 to differ.
    assert np.ptp(np.delete(steps, 3, axis=1), axis=0).min() > 0


def test_an_untrained_network_turns_little():
    keras.utils.set_random_seed(0)
    steps = deepim(**SMALL)(_images()).numpy()
    assert np.all(steps[:, 3] > 0.9)


def test_the_images_play_different_parts():
    images, model = _images(), deepim(**SMALL)
    assert np.abs(model(images) - model(images[..., ::-1])).max() > 1e-6


def test_one_step_of_training_and_saving(tmp_path):
    values = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = deepim(**SMALL)
        model.compile(keras.optimizers.Adam(1e-3, beta_1=0.8), "mse", run_eagerly=True)
        images, targets = _images(), np.tile([0.0, 0.6, 0.0, 0.8, 1.0, 2.0, 3.0], (3, 1))
        model.fit(images, targets, epochs=2, verbose=0)
        values.append(model(images).numpy())
    np.testing.assert_array_equal(*values)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(images), values[0])


@pytest.mark.parametrize("wrong", [{"filters": 0}, {"units": 0}, {"input_shape": (0, 64, 2)}])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match=r"`input_shape`, `filters` and `units` must be positive\. Received"):
        deepim(**{**SMALL, **wrong})


def test_nothing_but_steps():
    with pytest.raises(ValueError, match="`outputs` must be 7"):
        deepim(**SMALL, outputs=6)
