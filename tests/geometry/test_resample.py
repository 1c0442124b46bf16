"""Tests of reading images between their pixels."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfmedcai.geometry.resample import resample

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(1, 30, 40)).astype(np.float32)


def read_with_scipy(image, points, order):
    return ndimage.map_coordinates(image.astype(float), points.T[::-1], order=order, mode="nearest")


def test_linear_is_that_of_scipy():
    points = RNG.uniform(-0.5, [39.5, 29.5], (500, 2))
    expected = read_with_scipy(IMAGE[0], points, order=1)
    np.testing.assert_allclose(resample(IMAGE, points[np.newaxis], "linear")[0], expected, atol=2e-5)


def test_cubic_reproduces_quadratics_and_pixels():
    y, x = np.mgrid[:30, :40]
    image = (0.03 * x**2 - 0.05 * x * y + 0.02 * y**2 + x - y)[np.newaxis]
    px, py = points = RNG.uniform(1, [38, 28], (500, 2)).T
    expected = 0.03 * px**2 - 0.05 * px * py + 0.02 * py**2 + px - py
    np.testing.assert_allclose(resample(image, points.T[np.newaxis])[0], expected, atol=1e-3)
    pixels = np.stack([x.ravel(), y.ravel()], axis=-1)[np.newaxis]
    np.testing.assert_allclose(resample(IMAGE, pixels)[0], IMAGE.ravel(), atol=1e-6)


@pytest.mark.parametrize("interpolation", ["cubic", "linear"])
def test_outside_the_image_its_border_goes_on(interpolation):
    points = [[[-100.0, 3.0], [5.0, 1e6], [41.0, -1.0]]]
    expected = [IMAGE[0, 3, 0], IMAGE[0, 29, 5], IMAGE[0, 0, 39]]
    np.testing.assert_allclose(resample(IMAGE, points, interpolation)[0], expected, atol=1e-6)


def test_a_position_that_is_not_a_number_does_not_leave_the_image():
    assert resample(IMAGE, [[[np.nan, np.nan]]]).shape == (1, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_any_type_of_image(dtype):
    image = RNG.integers(0, 200, (2, 20, 20))
    points = RNG.uniform(0, 19, (2, 50, 2)).astype(np.float32)
    values = resample(image.astype(dtype), points)
    assert values.dtype == tf.float32
    np.testing.assert_allclose(values, resample(image.astype(np.float32), points), atol=1e-4)


def test_each_set_of_points_has_its_image_or_all_have_one():
    images = np.stack([IMAGE[0], IMAGE[0] + 100])
    points = np.full((2, 1, 2), 4.0)
    np.testing.assert_allclose(resample(images, points)[:, 0], images[:, 4, 4], atol=1e-4)
    np.testing.assert_allclose(resample(images[1:], points)[:, 0], images[[1, 1], 4, 4], atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        resample(images, np.full((3, 1, 2), 4.0))


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(batch, height, width\).*\(30, 40\)"):
        resample(IMAGE[0], np.zeros((1, 1, 2)))
    with pytest.raises(ValueError, match="'nearest'"):
        resample(IMAGE, np.zeros((1, 1, 2)), "nearest")
