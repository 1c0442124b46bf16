import numpy as np
import tensorflow as tf

from tfmedcai.simulators import xray_clutter as clutter
from tfmedcai.simulators.xray_draws import Draws


def tensors(structure):
    return tf.nest.map_structure(tf.constant, structure)


def test_no_handle_or_plate_covers_the_tip():
    for key in range(20):
        distance = clutter.distances(tensors(clutter.sample(Draws(key), 1.0, 1.0)["shapes"]), *tf.zeros((2, 1, 1)))
        assert distance[0, 0, :2].numpy().min() > 2.4


def test_distances_are_those_to_the_capsules():
    shapes = clutter.sample(Draws(3), 1.0, 1.0)["shapes"]
    end, radius = shapes["ends"][0, 1], shapes["radii"][0, 1, 1]
    outwards = (end - shapes["starts"][0, 1]) / np.linalg.norm(end - shapes["starts"][0, 1])
    point = tf.constant((end + (radius + 3.0) * outwards)[:, np.newaxis, np.newaxis])
    np.testing.assert_allclose(clutter.distances(tensors(shapes), point[0], point[1])[0, 0, 0], 3.0, atol=1e-3)


def test_opacity_is_inside_the_shapes_only_and_edges_are_a_pixel_or_more_wide():
    shapes = clutter.sample(Draws(0), 1.0, 1.0)["shapes"]
    shapes |= {"amounts": np.array([2.0, 1.0, 0.5], np.float32), "widths": np.array([0.1, 0.1, 0.4], np.float32)}
    distance = tf.constant([[[-2.0, 5.0, 9.0], [5.0, -2.0, 9.0], [5.0, 5.0, 0.0], [5.0, 5.0, 9.0]]])
    np.testing.assert_allclose(clutter.opacity(tensors(shapes), distance, tf.constant(0.15)), [[2.0, 1.0, 0.5, 0.0]])


def test_without_strength_there_is_nothing():
    parameters = clutter.sample(Draws(1), 0.0, 1.0)
    assert not parameters["shapes"]["amounts"].any()
    assert not parameters["folds"]["amount"].any()
    assert not any(staple["amount"] for staple in parameters["staples"])


def test_with_strength_everything_occurs():
    many = [clutter.sample(Draws(key), 1.0, 0.6) for key in range(100)]
    amounts = np.stack([parameters["shapes"]["amounts"] for parameters in many])
    assert (np.mean(amounts > 0, axis=0) > [0.4, 0.4, 0.1]).all()
    assert np.mean([parameters["folds"]["amount"] > 0 for parameters in many]) > 0.4


def test_a_fold_is_a_step_of_its_amount():
    names = ("centre_x", "centre_y", "bend", "amount", "sharpness", "line", "thickness")
    fold = {name: tf.constant([value]) for name, value in zip(names, (0.0, 0.0, 10.0, 0.3, 0.2, 0.0, 1.0), strict=True)}
    depth = clutter.folds(fold, tf.constant([[0.0, 10.0, 20.0]]), tf.zeros((1, 3)))
    np.testing.assert_allclose(depth, [[0.0, 0.15, 0.3]], atol=1e-4)


def test_a_staple_is_thin_and_lies_in_the_image():
    parameters = tensors(clutter.sample(Draws(5), 1.0, 0.0)["staples"][0] | {"amount": np.float32(1.0)})
    patch, corner = clutter.staple(parameters, tf.constant(0.15), (100, 80))
    assert patch.shape == (64, 64)
    assert 0 <= corner[0] <= 36 and 0 <= corner[1] <= 16
    assert patch.numpy().max() > 0.5 and 0.001 < np.mean(patch.numpy() > 0.1) < 0.15
