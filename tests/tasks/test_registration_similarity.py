"""Descending what a network has learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.registration_bones import CAMERA, SIDE, TRUTH, problem
from tfmedcai.config.registration import RegisterSettings
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.models.pose_similarity import pose_similarity
from tfmedcai.tasks.registration_problem import HERE, Problem
from tfmedcai.tasks.registration_similarity import learned_cost, similarity_stage

SHAPE = (16, 20, 24)


def squared_difference() -> keras.Model:
    """A network that has learned to subtract; its camera is not that of the case."""
    images = keras.Input((32, 32, 2))
    difference = images[..., :1] / 4 - images[..., 1:]
    value = keras.layers.Reshape((1,))(keras.ops.mean(difference**2, axis=(1, 2, 3)))
    projector = ProjectiveSpatialTransformer(
        CAMERA.from_c_arm(900.0, 5.0, (32, 32), source_isocentre_mm=500.0), (9.0, 8.0, 7.0), name="projector"
    )
    return pose_similarity(projector, keras.Model(images, value, name="net"), volume_shape=SHAPE)


@pytest.fixture(scope="module")
def case() -> Problem:
    return problem(relatives=(HERE, SIDE))


def test_the_cost_is_what_the_network_says_of_the_views_of_the_case(case):
    one = Problem(case.anatomy, case.views[:1])
    cost = learned_cost(one, squared_difference())
    near = np.stack([TRUTH, np.add(TRUTH, [0.2, 0, 0, 0, 0, 0])])
    level = one.level(32, 6.0)
    target = level.views[0].radiograph.image
    target = (target - target.min()) / np.ptp(target)
    expected = [np.mean((image / 4 - target) ** 2) for image in level.images(near)[0]]
    np.testing.assert_allclose(cost(near), expected, rtol=0.15)
    both = learned_cost(case, squared_difference())(near).numpy()
    assert np.abs(both - cost(near)).max() > 1e-4


def test_the_stage_comes_nearer(case):
    settings = RegisterSettings.model_validate({"similarity": {"rate": 0.3, "steps": 10, "plateau": 0.0}})
    one = Problem(case.anatomy, case.views[:1])
    start = np.add(TRUTH, [0, 0, 0, 14, -10, 0])
    trace = similarity_stage(settings, squared_difference())(one, start)
    assert trace.stage == "similarity" and trace.poses.shape == (10, 6)
    assert np.linalg.norm((trace.pose - TRUTH)[3:5]) < 0.6 * np.linalg.norm((start - TRUTH)[3:5])
    assert trace.cost <= float(learned_cost(one, squared_difference())(tf.constant(start[np.newaxis]))[0])
