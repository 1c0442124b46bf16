"""Grids in the graph are those of the files' resampling."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.data.resampling import resample, resample_onto, resize
from tfmedcai.data.volumes import Volume
from tfmedcai.inference.regridding import regridded


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    return Volume(rng.normal(size=(11, 14, 6, 2)).astype(np.float32), np.diag([0.8, 0.9, 2.5, 1.0]))


@pytest.mark.parametrize("shape", [(8, 20, 6), (11, 14, 6), (1, 5, 12)])
def test_other_numbers_of_voxels(volume, shape):
    np.testing.assert_allclose(
        regridded(tf.constant(volume.array), tf.constant(shape)), resize(volume, shape).array, atol=1e-4
    )


def test_another_spacing(volume):
    expected = resample(volume, (1.0, 2.0, 1.0))
    factor = tf.constant([1.0 / 0.8, 2.0 / 0.9, 1.0 / 2.5])
    found = regridded(tf.constant(volume.array), tf.constant(expected.array.shape[:3]), factor)
    np.testing.assert_allclose(found, expected.array, atol=1e-4)


def test_classes_go_back_to_the_nearest_voxel(volume):
    small = resize(volume, (5, 7, 4), "nearest")
    classes = small.holding(np.random.default_rng(1).integers(0, 4, (5, 7, 4)).astype(np.uint8))
    back = resample_onto(classes, volume, "nearest").array
    found = regridded(tf.constant(classes.array[..., np.newaxis]), tf.constant([11, 14, 6]), nearest=True)
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found[..., 0], back)
