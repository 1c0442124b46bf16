"""Random poses have the angles and translations that they should, and seeds give them again."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.geodesic import geodesic_loss
from tfmedcai.geometry.pose_samples import sample_moving, sample_starts, sample_targets, starts_at
from tfmedcai.geometry.rigid import compose, inverse

COUNT = 4000


def numbers(poses):
    """Angles of R = Rx Ry Rz in deg and translations in mm, found without the package."""
    poses = np.asarray(poses)
    angles = Rotation.from_rotvec(poses[:, :3]).as_euler("XYZ", degrees=True)
    return np.concatenate([angles, poses[:, 3:]], axis=1)


@pytest.mark.parametrize(
    ("sample", "reach"), [(sample_targets, [15] * 3 + [25] * 3), (sample_starts, [50] * 3 + [200, 200, 300])]
)
def test_targets_and_starts_fill_the_published_box_evenly(sample, reach):
    found = numbers(sample(COUNT, (3, 4)))
    assert found.shape == (COUNT, 6)
    assert np.all(np.abs(found) < np.array(reach) * (1 + 1e-5))
    shares = np.stack(
        [np.histogram(column, 8, (-limit, limit))[0] for column, limit in zip(found.T, reach, strict=True)]
    )
    np.testing.assert_allclose(shares / COUNT, 1 / 8, atol=0.025)
    assert np.abs(np.corrcoef(found.T) - np.eye(6)).max() < 0.07


def test_moving_poses_are_normal():
    # The angle about y passes a right angle in 3 of 10 000 draws, where others describe the same rotation.
    found = numbers(sample_moving(COUNT, (3, 4)))
    np.testing.assert_allclose(np.quantile(found, 0.5, axis=0), 0, atol=3.5)
    quartiles = np.quantile(found, 0.75, axis=0) - np.quantile(found, 0.25, axis=0)
    np.testing.assert_allclose(quartiles / 1.349, [25, 25, 25, 25, 25, 60], rtol=0.08)


def test_ranges_can_be_others():
    np.testing.assert_array_equal(sample_targets(5, (1, 2), np.zeros(6)), np.zeros((5, 6)))
    only_depth = np.array(sample_moving(50, (1, 2), [0, 0, 0, 0, 0, 7]))
    assert not only_depth[:, :5].any() and 4 < only_depth[:, 5].std() < 10


@pytest.mark.parametrize("sample", [sample_targets, sample_moving, sample_starts])
def test_a_seed_gives_the_same_poses_in_a_graph_as_well(sample):
    poses = sample(7, (5, 6))
    assert poses.dtype == tf.float32
    traced = tf.function(lambda count: sample(count, (5, 6)))(tf.constant(7))
    np.testing.assert_allclose(traced, poses, rtol=1e-5, atol=1e-5)
    assert np.abs(poses - sample(7, (5, 7))).min() > 0


def test_starts_are_as_far_off_as_told_in_all_directions():
    targets = tf.cast(sample_starts(COUNT, (1, 1)), tf.float64)
    angles, distances = np.linspace(0.1, 3.0, COUNT), np.linspace(300, 5, COUNT)
    starts = starts_at(targets, (2, 3), angles, distances)
    expected = angles**2 + (distances / 100) ** 2
    np.testing.assert_allclose(geodesic_loss(starts, targets, 100.0), expected, rtol=1e-9)
    offsets = np.array(compose(inverse(targets), starts))
    np.testing.assert_allclose(np.linalg.norm(offsets[:, :3], axis=1), angles, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(offsets[:, 3:], axis=1), distances, rtol=1e-9)
    directions = offsets / np.repeat(np.stack([angles, distances], 1), 3, axis=1)
    # By Archimedes, each coordinate of a point on the sphere is uniform.
    shares = np.stack([np.histogram(column, 8, (-1, 1))[0] for column in directions.T])
    np.testing.assert_allclose(shares / COUNT, 1 / 8, atol=0.025)
    assert np.abs(np.corrcoef(directions.T) - np.eye(6)).max() < 0.07


def test_one_magnitude_serves_all_and_zero_stays():
    targets = sample_targets(6, (1, 2))
    assert starts_at(targets, (1, 2), 0.2, 10.0).shape == (6, 6)
    np.testing.assert_allclose(starts_at(targets, (1, 2), 0.0, 0.0), targets, atol=1e-5)
