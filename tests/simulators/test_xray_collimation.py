import numpy as np
import tensorflow as tf

from tfmedcai.simulators import xray_collimation as collimation
from tfmedcai.simulators.xray_draws import Draws

SIZE = (60, 80)


def visible(key, origin=(20.0, 40.0), strength=1.0):
    parameters = tf.nest.map_structure(
        tf.constant, collimation.sample(Draws(key), SIZE, np.array(origin), 15.0, strength)
    )
    distance = collimation.edge_distance(parameters, tf.range(80.0), tf.range(60.0))
    return collimation.collimate(parameters, tf.ones(SIZE), distance).numpy(), parameters


def test_the_surroundings_of_the_instrument_stay_visible():
    rows, columns = np.mgrid[:60, :80]
    near = np.hypot(columns - 20, rows - 40) < 14
    for key in range(40):
        assert visible(key)[0][near].min() == 1.0


def test_images_are_cut_by_circles_and_by_shutters():
    dark = np.array([np.mean(visible(key)[0] < 0.5) for key in range(60)])
    assert 0.2 < np.mean(dark > 0.02) < 0.9
    assert dark.max() > 0.4


def test_without_strength_nothing_is_cut():
    assert all(visible(key, strength=0.0)[0].min() == 1.0 for key in range(20))


def test_the_circle_is_where_it_is_said_to_be():
    parameters = {
        "circle": tf.constant([40.0, 30.0, 20.0]),
        "shutters": tf.constant([[1.0, 0.0, 55.0]]),
        "width": tf.constant(1.5),
        "black": tf.constant(0.1),
    }
    distance = collimation.edge_distance(parameters, tf.range(80.0), tf.range(60.0)).numpy()
    np.testing.assert_allclose(distance[30, [40, 20, 57]], [-15.0, 0.0, 2.0], atol=1e-4)
    picture = collimation.collimate(parameters, tf.ones(SIZE), tf.constant(distance)).numpy()
    np.testing.assert_allclose(picture[30, [40, 5, 70]], [1.0, 0.1, 0.1])
