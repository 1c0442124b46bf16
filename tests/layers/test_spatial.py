"""Layers for images and volumes: shapes, padding and cropping of known and open sizes, saving."""

import keras
import numpy as np
import pytest

from tfmedcai.layers.spatial import cropped, doubled, enlarged, halved, padded, spatial_convolution


@pytest.mark.parametrize("shape", [(8, 6, 2), (8, 6, 4, 2)])
def test_images_and_volumes(shape):
    x = keras.Input(shape)
    assert spatial_convolution(x, 5, 3, "c").shape == (None, *shape[:-1], 5)
    assert halved(x, "h").shape == (None, *(size // 2 for size in shape[:-1]), 2)
    assert doubled(x, "d").shape == enlarged(x, 2, "e").shape == (None, *(2 * size for size in shape[:-1]), 2)
    assert enlarged(x, 1, "e") is x
    assert keras.Model(x, spatial_convolution(x, 5, 3, "c")).count_params() == 10 * 3 ** (len(shape) - 1)


def test_enlarging_is_bilinear_and_doubling_repeats():
    x = keras.Input((1, 2, 1))
    values = np.array([[[[0.0], [4.0]]]], np.float32)
    both = keras.Model(x, [enlarged(x, 2, "e"), doubled(x, "d")])(values)
    np.testing.assert_allclose(both[0][0, 0, :, 0], [0, 1, 3, 4])
    np.testing.assert_allclose(both[1][0, 0, :, 0], [0, 0, 4, 4])


def through(shape, multiple):
    """Pads, then crops."""
    image = keras.Input(shape)
    canvas = padded(image, multiple)
    return keras.Model(image, [canvas, cropped(canvas, image, canvas)])


@pytest.mark.parametrize("size", [(7, 9), (8, 12), (5, 6, 7), (4, 4, 4)])
@pytest.mark.parametrize("known", [True, False])
def test_padding_appends_zeros_and_cropping_takes_them_off(size, known):
    image = np.random.default_rng(0).random((2, *size, 3), dtype=np.float32)
    model = through((*(size if known else [None] * len(size)), 3), 4)
    canvas, back = model.predict(image, verbose=0)
    assert canvas.shape == (2, *(-(-edge // 4) * 4 for edge in size), 3)
    np.testing.assert_array_equal(canvas[(slice(None), *(slice(edge) for edge in size))], image)
    assert canvas.sum() == pytest.approx(image.sum(), rel=1e-5)
    np.testing.assert_array_equal(back, image)
    assert model.output_shape == [(None, *(canvas.shape[1:-1] if known else [None] * len(size)), 3), model.input_shape]


def test_known_sizes_take_plain_layers_and_as_few_as_they_need():
    assert [type(layer).__name__ for layer in through((7, 8, 1), 4).layers[1:]] == ["ZeroPadding2D", "Cropping2D"]
    assert len(through((8, 8, 1), 4).layers) == len(through((None, 8, 1), 1).layers) == 1
    assert [type(layer).__name__ for layer in through((7, 8, 4, 1), 4).layers[1:]] == ["PadToMultiple", "Cropping3D"]
    assert [type(layer).__name__ for layer in through((None, 8, 1), 4).layers[1:]] == ["PadToMultiple", "CropLike"]
    assert through((None, 7, 1), 4).output_shape[0] == (None, None, 8, 1)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [(7, 9), (5, 6, 7)])
def test_a_convolution_of_what_is_padded_is_the_same_in_a_graph(size, known):
    image = keras.Input((*(size if known else [None] * len(size)), 2))
    model = keras.Model(image, spatial_convolution(padded(image, 4), 3, 3, "convolution"))
    images = np.random.default_rng(0).random((2, *size, 2), dtype=np.float32)
    np.testing.assert_allclose(model.predict(images, verbose=0), model(images), atol=1e-5)


def test_saved_with_open_sizes(tmp_path):
    model = through((None, None, 1), 4)
    model.save(tmp_path / "model.keras")
    image = np.ones((1, 5, 6, 1), np.float32)
    canvas, back = keras.saving.load_model(tmp_path / "model.keras")(image)
    assert canvas.shape == (1, 8, 8, 1)
    assert back.shape == (1, 5, 6, 1)
