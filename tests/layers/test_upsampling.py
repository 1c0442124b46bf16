"""Up-projection: the fast form equals a convolution of zeros, its public padding does not, sizes may be open."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.upsampling import summed_skip, unpooled_convolution, up_projection


def built(shape, filters, size, side="end"):
    image = keras.Input(shape)
    return keras.Model(image, unpooled_convolution(image, filters, size, "up", side))


def slowly(model, image, size):
    """Inserts the zeros and convolves with the kernel whose parts the model has."""
    channels, filters = image.shape[-1], model.output_shape[-1]
    kernel = np.zeros((size, size, channels, filters))
    for row in (0, 1):
        for column in (0, 1):
            first = [(size // 2 + phase) % 2 for phase in (row, column)]
            kernel[first[0] :: 2, first[1] :: 2] = model.get_layer(f"up_{row}{column}").get_weights()[0]
    canvas = np.zeros((image.shape[0], 2 * image.shape[1], 2 * image.shape[2], channels))
    canvas[:, ::2, ::2] = image
    return tf.nn.conv2d(canvas, kernel, 1, "SAME").numpy()


@pytest.mark.parametrize("size", [3, 5, 7])
def test_the_fast_form_equals_the_convolution_of_zeros(size):
    keras.utils.set_random_seed(0)
    model = built((5, 6, 3), 4, size)
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 3))
    np.testing.assert_allclose(model(image), slowly(model, image, size), atol=1e-5)
    if size == 5:
        edges = [model.get_layer(f"up_{place}").kernel_size for place in ("00", "01", "10", "11")]
        assert edges == [(3, 3), (3, 2), (2, 3), (2, 2)]


def test_in_double_precision_nothing_differs():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model, image = built((4, 4, 2), 2, 5), np.random.default_rng(0).normal(size=(1, 4, 4, 2))
        assert np.abs(model(image).numpy() - slowly(model, image, 5)).max() < 1e-14
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def test_the_public_padding_moves_odd_rows_and_columns_by_a_pixel():
    exact, public = built((6, 6, 2), 3, 5), built((6, 6, 2), 3, 5, "start")
    public.set_weights(exact.get_weights())
    image = np.random.default_rng(0).normal(size=(1, 6, 6, 2))
    first, second = exact(image).numpy(), public(image).numpy()
    np.testing.assert_allclose(second[:, ::2, ::2], first[:, ::2, ::2], atol=1e-6)
    np.testing.assert_allclose(second[:, 3::2, 3::2], first[:, 1:-2:2, 1:-2:2], atol=1e-6)
    assert np.abs(first - second).max() > 0.1


def test_open_sizes_give_the_same(tmp_path):
    fixed, free = built((5, 6, 3), 4, 5), built((None, None, 3), 4, 5)
    free.set_weights(fixed.get_weights())
    assert free.output_shape == (None, None, None, 4)
    free.save(tmp_path / "model.keras")
    image = np.random.default_rng(0).normal(size=(1, 5, 6, 3))
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(image), fixed(image), atol=1e-6)


def test_up_projection_and_skip():
    image, source = keras.Input((4, 4, 8)), keras.Input((8, 8, 5))
    model = keras.Model([image, source], summed_skip(up_projection(image, 6, "up"), source, "skip"))
    assert model.output_shape == (None, 8, 8, 6)
    # 2 x (25 taps + 4 biases), 3x3 with bias, three normalisations of 4 numbers, the projection of the skip.
    assert model.count_params() == 2 * (25 * 8 * 6 + 4 * 6) + 9 * 36 + 6 + 3 * 4 * 6 + 5 * 6


def test_bad_size():
    with pytest.raises(ValueError, match=r"odd number of px from 3\. Received 4"):
        built((4, 4, 1), 1, 4)
