"""Descending what a network has learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.registration_bones import CAMERA, SIDE, TRUTH, problem
from tfmedcai.config.registration import SimilaritySettings
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.models.pose_similarity import pose_similarity
from tfmedcai.tasks.registration_network import Seen, intrinsics_of, register
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


def test_the_similarity_is_what_the_network_says_of_the_views_of_the_case(case):
    one = Problem(case.anatomy, case.views[:1])
    stage = similarity_stage(SimilaritySettings(rate=1e-9, steps=1, plateau=0.0), squared_difference())
    near = np.stack([TRUTH, np.add(TRUTH, [0.2, 0, 0, 0, 0, 0])])
    level = one.level(32, 6.0)
    target = level.views[0].radiograph.image
    target = (target - target.min()) / np.ptp(target)
    expected = [np.mean((image / 4 - target) ** 2) for image in level.images(near)[0]]
    found = [stage(one, pose).cost for pose in near]
    np.testing.assert_allclose(found, expected, rtol=0.15)
    np.testing.assert_allclose(learned_cost(squared_difference(), one)(tf.cast(near, tf.float32)), found, rtol=1e-5)
    both = [stage(case, pose).cost for pose in near]
    assert np.abs(np.subtract(both, found)).max() > 1e-4


def test_the_stage_comes_nearer(case):
    one = Problem(case.anatomy, case.views[:1])
    start = np.add(TRUTH, [0, 0, 0, 14, -10, 0])
    trace = similarity_stage(SimilaritySettings(rate=0.3, steps=10, plateau=0.0), squared_difference())(one, start)
    assert trace.stage == "similarity" and trace.poses.shape == (10, 6)
    assert np.linalg.norm((trace.pose - TRUTH)[3:5]) < 0.6 * np.linalg.norm((start - TRUTH)[3:5])
    assert trace.cost <= trace.costs.max()


def test_a_network_that_regresses_takes_one_view(case):
    views = [Seen(tf.zeros((1, 32, 32, 1)), intrinsics_of(CAMERA), tf.zeros(6))] * 2
    image = keras.Input((32, 32, 2))
    net = keras.Model(image, keras.layers.Dense(6)(keras.layers.Flatten()(image)), name="net")
    projector = ProjectiveSpatialTransformer(CAMERA.resized((32, 32)), (9.0, 8.0, 7.0), name="projector")
    model = pose_similarity(projector, net, volume_shape=SHAPE)
    with pytest.raises(ValueError, match="must be one: net regresses"):
        register(model, tf.zeros((1, *SHAPE, 1)), views, tf.zeros((1, 6)), SimilaritySettings())
