"""Courses, correlations and gradients of costs that are known in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.geodesic import geodesic_loss
from tfmedcai.geometry.pose_samples import sample_starts
from tfmedcai.geometry.rigid import compose, inverse
from tfmedcai.metrics.landscape import Landscape, cost_correlation, gradient_agreement, landscape

TRUTH = np.array([0.3, -0.2, 0.5, 10.0, -20.0, 40.0], np.float32)
REACH = np.array([0.4, 0.5, 0.6, 30.0, 40.0, 50.0], np.float32)
POSES = np.array(sample_starts(50, (1, 2)))


def geodesic(poses):
    return geodesic_loss(poses, TRUTH, 149.25)


def test_each_degree_of_freedom_is_one_of_the_c_arm():
    left = []
    found = landscape(lambda poses: left.append(poses) or tf.zeros(len(poses)), TRUTH, REACH, points=5, batch=7)
    poses = np.concatenate(left)[:30].reshape(6, 5, 6)
    offsets = np.array(compose(inverse(TRUTH), poses))
    for axis in range(6):
        expected = np.zeros((5, 6))
        expected[:, axis] = REACH[axis] * np.linspace(-1, 1, 5)
        np.testing.assert_allclose(found.offsets[axis], expected[:, axis], rtol=1e-6)
        np.testing.assert_allclose(offsets[axis], expected, atol=2e-5)


def test_costs_stand_at_their_offsets():
    found = landscape(geodesic, TRUTH, REACH)
    scale = np.array([1.0] * 3 + [1 / 149.25] * 3)[:, np.newaxis]
    assert found.costs.shape == (6, 21)
    np.testing.assert_allclose(found.costs, (found.offsets * scale) ** 2, atol=1e-5)
    assert found.costs.argmin(axis=1).tolist() == [10] * 6
    assert found.minima().tolist() == [1] * 6


def test_minima_are_counted_inside_and_flat_bottoms_once():
    courses = np.array(
        [[2, 1, 2, 1, 2], [1, 2, 3, 4, 5], [3, 1, 1, 1, 2], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1], [3, 2, 2, 1, 2]], float
    )
    assert Landscape(np.zeros((6, 5)), courses).minima().tolist() == [2, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("batch", [1, 7, 50, 64])
def test_batches_have_one_size_and_change_nothing(batch):
    sizes = set()

    def cost(poses):
        sizes.add(len(poses))
        return geodesic(poses)

    found = cost_correlation(cost, POSES, TRUTH, batch=batch)
    np.testing.assert_allclose(found.costs, geodesic(POSES), rtol=1e-6)
    assert sizes == {min(batch, 50)}


def test_a_cost_that_rises_with_the_distance_correlates():
    distances = np.sqrt(geodesic(POSES))
    found = cost_correlation(lambda poses: 3 * tf.sqrt(geodesic(poses)) + 1, POSES, TRUTH)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)
    assert found.pearson == pytest.approx(1) and found.spearman == pytest.approx(1)
    steep = cost_correlation(lambda poses: -tf.exp(3 * tf.sqrt(geodesic(poses))), POSES, TRUTH)
    assert steep.spearman == pytest.approx(-1) and -0.95 < steep.pearson < 0


def test_what_is_not_finite_or_constant_does_not_correlate():
    for constant in (1.0, np.nan):
        assert np.isnan(cost_correlation(lambda poses, c=constant: c + tf.zeros(len(poses)), POSES, TRUTH)[2:]).all()
    holes = cost_correlation(lambda poses: tf.where(poses[:, 0] > 0, np.nan, geodesic(poses)), POSES, TRUTH)
    assert holes.spearman == pytest.approx(1) and np.isnan(holes.costs).any()


def test_the_geodesic_agrees_with_itself_and_its_negative_does_not():
    for sign in (1e-12, -1.0):
        found = gradient_agreement(lambda poses, sign=sign: sign * geodesic(poses), POSES, TRUTH, batch=16)
        assert found.rotation.shape == found.translation.shape == (50,)
        np.testing.assert_allclose(found.rotation, np.sign(sign), atol=1e-4)
        np.testing.assert_allclose(found.translation, np.sign(sign), atol=1e-4)


def test_one_direction_agrees_as_far_as_the_way_lies_along_it():
    found = gradient_agreement(lambda poses: poses[:, 3], POSES, TRUTH)
    way = POSES[:, 3:] - TRUTH[3:]
    np.testing.assert_allclose(found.translation, way[:, 0] / np.linalg.norm(way, axis=1), atol=1e-5)
    assert not found.rotation.any()


def test_a_gradient_that_is_not_there_agrees_with_nothing():
    for value in (0.0, np.nan, np.inf):
        found = gradient_agreement(lambda poses, value=value: value * tf.reduce_sum(poses, axis=1), POSES, TRUTH)
        assert not found.rotation.any() and not found.translation.any()
    nothing = gradient_agreement(lambda poses: tf.zeros(len(poses)), POSES, TRUTH)
    assert not nothing.rotation.any()


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"`pose` and `reach` must have shape \(6,\)"):
        landscape(geodesic, TRUTH[np.newaxis], REACH)
    for points in (1, 4):
        with pytest.raises(ValueError, match="odd"):
            landscape(geodesic, TRUTH, REACH, points)
    for poses, truth in ((POSES[:1], TRUTH), (POSES[0], TRUTH), (POSES, POSES)):
        with pytest.raises(ValueError, match=r"\(n, 6\)"):
            cost_correlation(geodesic, poses, truth)
