"""Heads: features of maps, logits of pixels."""

import keras
import numpy as np
import pytest

from tfmedcai.layers.heads import check_open_sizes, features, pixel_logits


@pytest.mark.parametrize(
    ("head", "shape", "size"),
    [
        ("average", (20, 9, 3), 3),
        ("grid", (20, 9, 3), 3 * 2 * 3),
        ("average", (9, 8, 8, 2), 2),
        ("grid", (9, 8, 8, 2), 4),
    ],
)
def test_features(head, shape, size):
    x = keras.Input(shape)
    assert features(x, head).shape == (None, size)


def test_logits_are_those_of_convolving_behind_the_upsampling():
    keras.utils.set_random_seed(0)
    image, maps = keras.Input((8, 12, 1)), keras.Input((2, 3, 5))
    model = keras.Model([image, maps], pixel_logits(maps, 2, 4, image, image))
    kernel, bias = model.get_layer("logits").get_weights()
    values = np.random.default_rng(0).normal(size=(1, 2, 3, 5)).astype(np.float32)
    large = keras.layers.UpSampling2D(4, interpolation="bilinear")(values).numpy()
    found = model([np.zeros((1, 8, 12, 1), np.float32), values])
    np.testing.assert_allclose(found, large @ kernel[0, 0] + bias, atol=1e-5)


def test_open_sizes_need_pixels():
    check_open_sizes((None, None, 1), per_pixel=True)
    check_open_sizes((8, 8, 1), per_pixel=False)
    with pytest.raises(ValueError, match=r"must be given for a vector. Received \(None, 8, 1\)"):
        check_open_sizes((None, 8, 1), per_pixel=False)
