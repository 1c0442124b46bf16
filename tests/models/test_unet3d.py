"""3D U-Net: the number of weights that the publication gives, and patches of any size."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.unet3d import unet3d


def test_published_size():
    model = unet3d(input_shape=(32, 32, 32, 3), outputs=3)
    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    own = sum(parameters(layer, trainable_only=True) for layer in normalisations)
    assert parameters(model, trainable_only=True) - own == 19_069_955
    assert own == 2 * 2336


def test_channels_double_before_the_pooling():
    model = unet3d(input_shape=(32, 32, 32, 1), filters=4)
    widths = [
        layer.filters
        for layer in model.layers
        if layer.name.startswith(("encoder", "decoder")) and hasattr(layer, "filters")
    ]
    assert widths == [4, 8, 8, 16, 16, 32, 32, 64, 32, 32, 16, 16, 8, 8]


@pytest.mark.parametrize("input_shape", [(20, 17, 9, 1), (96, 96, 64, 2), (8, 8, 8, 1)])
def test_patches_of_any_size(input_shape):
    model = unet3d(input_shape=input_shape, outputs=3, filters=2)
    answer = model(np.ones((1, *input_shape), np.float32))
    assert answer.shape == (1, *input_shape[:3], 3)


def test_a_small_padded_patch_is_the_same_in_a_graph():
    model = unet3d(input_shape=(5, 6, 3, 1), filters=2, depth=1)
    images = np.random.default_rng(0).random((1, 5, 6, 3, 1), dtype=np.float32)
    np.testing.assert_allclose(model.predict(images, verbose=0), model(images), atol=1e-5)


def test_vector():
    assert unet3d(input_shape=(16, 16, 16, 1), outputs=5, per_pixel=False, filters=2).output_shape == (None, 5)


@pytest.mark.parametrize("sizes", [{"input_shape": (32, 32, 1)}, {"outputs": 0}, {"filters": 0}, {"depth": 0}])
def test_wrong_sizes(sizes):
    with pytest.raises(ValueError, match=f"`{next(iter(sizes))}` must be"):
        unet3d(**{"input_shape": (16, 16, 16, 1), "filters": 2, **sizes})
