"""Hounsfield units to density, to tissues and to attenuation."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.simulators.materials import attenuation_from_hu, density_from_hu, tissues_from_hu

HU = tf.range(-1100.0, 3000.0, 7.0)


def test_density_is_that_of_the_measured_tissues():
    measured = [(-1000, 0.00121), (-98, 0.93), (14, 1.03), (23, 1.031), (1600, 1.9642)]
    hu, density = np.array(measured).T
    np.testing.assert_allclose(density_from_hu(tf.constant(hu)), density, rtol=1e-12)
    np.testing.assert_allclose(density_from_hu(tf.constant((hu[1:] + hu[:-1]) / 2)), (density[1:] + density[:-1]) / 2)


def test_density_rises_and_air_has_the_least():
    assert np.all(np.diff(density_from_hu(HU)[15:]) > 0)
    np.testing.assert_array_equal(density_from_hu([-3024.0, -1000.0]), np.float32([0.00121, 0.00121]))


def test_tissues_add_up_to_the_density():
    tissues = tissues_from_hu(tf.reshape(HU[:580], (2, 290)))
    assert tissues.shape == (2, 290, 3) and tf.reduce_min(tissues) >= 0
    np.testing.assert_allclose(tf.reduce_sum(tissues, -1), density_from_hu(tf.reshape(HU[:580], (2, 290))), rtol=1e-6)


def test_each_tissue_has_its_range():
    air, soft, bone = np.moveaxis(tissues_from_hu([-1000.0, -850.0, -750.0, 300.0, 400.0, 2000.0]).numpy() > 0, -1, 0)
    np.testing.assert_array_equal(air, [True, True, False, False, False, False])
    np.testing.assert_array_equal(soft, [False, False, True, True, False, False])
    np.testing.assert_array_equal(bone, [False, False, False, False, True, True])


def test_shares_change_linearly_around_a_threshold_and_as_steps_where_asked_for():
    share = tissues_from_hu([330.0, 360.0])[:, 2] / density_from_hu([330.0, 360.0])
    np.testing.assert_allclose(share, [0.3, 0.6], rtol=1e-5)
    steps = tissues_from_hu([349.0, 351.0], width=1.0)[:, 1:]
    np.testing.assert_array_equal(steps > 0, [[True, False], [False, True]])


def test_tissues_have_derivatives():
    hu = tf.constant([-800.0, 40.0, 340.0])
    with tf.GradientTape() as tape:
        tape.watch(hu)
        bone = tissues_from_hu(hu)[:, 2]
    slopes = tape.gradient(bone, hu).numpy()
    np.testing.assert_array_equal(slopes[:2], 0)
    numeric = (tissues_from_hu(hu + 0.5)[2, 2] - tissues_from_hu(hu - 0.5)[2, 2]).numpy()
    np.testing.assert_allclose(slopes[2], numeric, rtol=1e-4)


def test_attenuation_begins_at_fat_and_rises_evenly():
    expected = [0.0, 0.0, 130 * 2.6827515e-5, 1130 * 2.6827515e-5]
    np.testing.assert_allclose(attenuation_from_hu(tf.constant([-1000.0, -130.0, 0.0, 1000.0], tf.float64)), expected)


@pytest.mark.parametrize("width", [0.0, 1200.0])
def test_impossible_widths(width):
    with pytest.raises(ValueError, match="`width` must be above 0 HU"):
        tissues_from_hu([0.0], width=width)
