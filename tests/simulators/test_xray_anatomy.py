import numpy as np
import tensorflow as tf

from tfmedcai.simulators.xray_anatomy import optical_depth, sample, textures
from tfmedcai.simulators.xray_draws import Draws

SLOPES = tf.linspace(-0.06, 0.06, 48)


def view(subject, key=0):
    parameters = sample(Draws(key), subject, np.array([5.0, -8.0, 650.0]), texel=0.6)
    return optical_depth(tf.nest.map_structure(tf.constant, parameters), SLOPES, SLOPES[:, tf.newaxis]).numpy()


def test_a_subject_is_always_the_same_and_another_is_not():
    np.testing.assert_array_equal(view(4), view(4))
    assert np.abs(view(4) - view(5)).mean() > 0.05


def test_the_beam_is_weakened_as_by_a_patient():
    depths = np.stack([view(subject, key=subject) for subject in range(12)])
    assert depths.min() >= 0
    assert 1.5 < np.median(depths) < 5
    assert depths.max() < 15


def test_bone_stands_out_of_soft_tissue():
    parameters = sample(Draws(0), 3, np.array([0.0, 0.0, 650.0]), texel=0.6)
    with_bone = optical_depth(tf.nest.map_structure(tf.constant, parameters), SLOPES, SLOPES[:, tf.newaxis]).numpy()
    parameters["density"][3:] = 0
    without = optical_depth(tf.nest.map_structure(tf.constant, parameters), SLOPES, SLOPES[:, tf.newaxis]).numpy()
    assert (with_bone >= without - 1e-5).all()
    assert 0.1 < (with_bone - without).mean() < 2


def test_textures_are_normalised_and_repeat_without_a_seam():
    tiles = textures(128)
    np.testing.assert_allclose(tiles.mean((0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(tiles.std((0, 1)), 1, atol=1e-3)
    seam = np.abs(tiles[0] - tiles[-1]).mean(0)
    assert (seam < 2 * np.abs(tiles[1:] - tiles[:-1]).mean((0, 1))).all()
