"""Poolings of volumes against Keras's own, and the pyramid against maxima over squares taken by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import output_and_gradients
from tfmedcai.layers.trilinear_upsampling import TrilinearUpsampling
from tfmedcai.layers.volumetric_pooling import VolumetricMaxPooling, pyramid_pooling, volumetric_max_pooling


@pytest.mark.parametrize("shape", [(2, 8, 8, 6, 3), (2, 2, 16, 10, 3), (1, 7, 9, 11, 3), (1, 6, 5, 4, 2)])
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        ((3, 3, 3), (2, 2, 2), "same"),
        ((2, 1, 1), (2, 1, 1), "same"),
        ((1, 8, 8), (1, 8, 8), "same"),
        ((2, 2, 2), (2, 2, 2), "same"),
        ((3, 2, 2), (1, 1, 1), "same"),
        ((2, 2, 2), (2, 2, 2), "valid"),
    ],
)
def test_equals_keras(shape, size, strides, padding):
    x = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    ours = output_and_gradients(VolumetricMaxPooling(size, strides, padding), x)
    expected = output_and_gradients(keras.layers.MaxPooling3D(size, strides, padding), x)
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_allclose(ours[1], expected[1], atol=1e-5)


def test_negative_values_at_the_border_stay_negative():
    x = keras.Input((4, 4, 4, 1))
    model = keras.Model(x, volumetric_max_pooling(x, (3, 3, 3), (2, 2, 2), "pool"))
    np.testing.assert_array_equal(model(-np.ones((1, 4, 4, 4, 1))), -np.ones((1, 2, 2, 2, 1)))


def _by_hand(volume, window, weights):
    """One level: maxima over squares from the first voxel on, weighted, interpolated, cut to the plane."""
    _, height, width, _ = volume.shape
    rows, columns = range(0, height, window), range(0, width, window)
    maxima = [[volume[:, r : r + window, c : c + window].max(axis=(1, 2)) for c in columns] for r in rows]
    level = np.array(maxima).transpose(2, 0, 1, 3) @ weights[0][0, 0, 0] + weights[1]
    return TrilinearUpsampling((1, window, window))(level[None].astype("float32"))[0, :, :height, :width]


@pytest.mark.parametrize("size", [(2, 32, 32), (3, 48, 40), (1, 8, 16)])
def test_pyramid_by_hand(size):
    x = keras.Input((*size, 2))
    model = keras.Model(x, pyramid_pooling(x, (8, 16, 32), "pyramid"))
    volume = np.random.default_rng(0).normal(size=(*size, 2)).astype("float32")
    found = model(volume[None])[0].numpy()
    np.testing.assert_array_equal(found[..., :2], volume)
    for level, window in enumerate((8, 16, 32)):
        weights = model.get_layer(f"pyramid_{window}").get_weights()
        expected = _by_hand(volume, window, weights)[..., 0]
        np.testing.assert_allclose(found[..., 2 + level], expected, atol=1e-5)


def test_pyramid_of_a_network_patch_has_the_published_size():
    x = keras.Input((2, 32, 32, 124))
    model = keras.Model(x, pyramid_pooling(x, (8, 16, 32), "pyramid"))
    assert model.count_params() == 3 * 125
    assert model.output_shape == (None, 2, 32, 32, 127)


@pytest.mark.parametrize(("windows", "size"), [((8, 12), 48), ((8, 16), 12)])
def test_wrong_windows(windows, size):
    with pytest.raises(ValueError, match="multiple of the one before"):
        pyramid_pooling(keras.Input((2, size, 48, 3)), windows, "pyramid")
