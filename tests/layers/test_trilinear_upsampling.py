"""Trilinear interpolation against scipy, against PyTorch's rule written out, and against its own transpose."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfmedcai.layers.trilinear_upsampling import TrilinearUpsampling, interpolation_matrix


def _scipy(volume, factors):
    grid = np.meshgrid(
        *[(np.arange(n * f) + 0.5) / f - 0.5 for n, f in zip(volume.shape[:3], factors, strict=True)], indexing="ij"
    )
    channels = [ndimage.map_coordinates(volume[..., c], grid, order=1, mode="nearest") for c in range(volume.shape[3])]
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 8, 8), (3, 1, 2), (2, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (1, 2, 1, 3)])
def test_equals_scipy(shape, factors):
    volumes = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    found = TrilinearUpsampling(factors)(volumes).numpy()
    expected = np.stack([_scipy(volume, factors) for volume in volumes])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_doubling_by_hand():
    line = np.array([0.0, 4.0, 8.0], np.float32)
    expected = [0, 1, 3, 5, 7, 8]  # a quarter of the way to the neighbour, the ends continued
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[axis + 1] = 3
        factors = tuple(2 if place == axis else 1 for place in range(3))
        assert TrilinearUpsampling(factors)(line.reshape(shape)).numpy().ravel().tolist() == expected


def test_keeps_the_centre_of_mass_of_a_ramp():
    ramp = np.arange(6.0, dtype=np.float32).reshape(1, 6, 1, 1, 1)
    doubled = TrilinearUpsampling((2, 1, 1))(ramp).numpy().ravel()
    np.testing.assert_allclose(doubled[1:-1], (np.arange(12) / 2 - 0.25)[1:-1])


def test_gradient_is_the_transpose():
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(1, 3, 4, 2, 2)), tf.float32)
    upstream = rng.normal(size=(1, 6, 8, 4, 2)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = TrilinearUpsampling()(x)
    found = tape.gradient(y, x, output_gradients=upstream)
    matrices = [interpolation_matrix(size, 2) for size in (3, 4, 2)]
    np.testing.assert_allclose(found, np.einsum("bxyzc,xi,yj,zk->bijkc", upstream, *matrices), atol=1e-5)


def test_shape_type_and_saving(tmp_path):
    x = keras.Input((2, 3, 4, 5))
    layer = TrilinearUpsampling((1, 2, 4), name="up")
    model = keras.Model(x, layer(x))
    assert model.output_shape == (None, 2, 6, 16, 5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.get_layer("up").factors == (1, 2, 4)
    half = TrilinearUpsampling(dtype="mixed_float16")(tf.ones((1, 2, 2, 2, 1), tf.float16))
    assert half.dtype == "float16"


def test_wrong_factor():
    with pytest.raises(ValueError, match=r"`factors` must be at least 1. Received \(2, 0, 1\)"):
        TrilinearUpsampling((2, 0, 1))
