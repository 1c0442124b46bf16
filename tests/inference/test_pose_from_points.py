"""Points are projected as the projector sees them, and poses come back from any direction."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rigid import matrix_from_pose
from tfmedcai.inference.pose_from_points import pose_from_points, project_points
from tfmedcai.layers.projector import ProjectiveSpatialTransformer

# Off centre, with pixels that are not square.
CAMERA = Camera.from_c_arm(1020.0, (1.2, 1.0), (256, 300), (120.0, 160.0), source_isocentre_mm=800.0)
FLAT = [1.0, 1.0, 0.0]


def case(seed, count=6, shape=(1.0, 1.0, 1.0)):
    """A pose from any direction, and points in a cube or a plane that is turned at random."""
    rng = np.random.default_rng(seed)
    turn, of_points = Rotation.random(2, rng=rng)
    pose = np.concatenate([turn.as_rotvec(), rng.uniform(-60, 60, 3)])
    return pose, of_points.apply(rng.uniform(-80, 80, (count, 3)) * shape)


def assert_same(pose, other, **tolerance):
    np.testing.assert_allclose(matrix_from_pose(pose), matrix_from_pose(other), **tolerance)


def test_points_are_where_the_projector_shows_them():
    points = np.array([[-20.0, 10.0, 0.0], [25.0, 30.0, -20.0], [0.0, -35.0, 15.0]])
    camera = Camera.from_c_arm(1020.0, (4.0, 5.0), (32, 40), (21.0, 14.0), source_isocentre_mm=700.0, mirrored=True)
    project = ProjectiveSpatialTransformer(camera, (5.0, 5.0, 5.0), dtype="float64")
    pose = np.array([0.3, -0.2, 0.5, 5.0, -4.0, 20.0])
    volumes = np.zeros((3, 21, 21, 21, 1))
    for volume, point in zip(volumes, points, strict=True):
        volume[tuple(np.int64(point[::-1] / 5 + 10))] = 1
    images = project([volumes, np.tile(pose, (3, 1))])[..., 0].numpy()
    rows, columns = np.mgrid[:32, :40]
    shown = [[np.sum(image * places) / np.sum(image) for places in (columns, rows)] for image in images]
    np.testing.assert_allclose(project_points(pose, points, camera), shown, atol=0.1)


def test_poses_of_a_batch_project_alike():
    poses, points = np.stack([case(seed)[0] for seed in range(3)]), case(0)[1]
    together = project_points(tf.constant(poses, tf.float32), points, CAMERA)
    assert together.shape == (3, 6, 2)
    for pose, places in zip(poses, together, strict=True):
        np.testing.assert_allclose(places, project_points(pose, points, CAMERA), atol=0.01)


@pytest.mark.parametrize(("count", "shape"), [(4, (1, 1, 1)), (6, (1, 1, 1)), (20, (1, 1, 1)), (5, FLAT), (8, FLAT)])
@pytest.mark.parametrize("seed", range(3))
def test_a_pose_comes_back_from_any_direction(seed, count, shape):
    pose, points = case(seed, count, shape)
    assert_same(pose_from_points(points, project_points(pose, points, CAMERA), CAMERA), pose, atol=1e-4)


@pytest.mark.parametrize("turn", [[0, 0, 0], [np.pi, 0, 0], [0, np.pi / 2, 0], [0, 0, -np.pi]])
def test_views_along_axes_are_not_special(turn):
    pose, points = np.array([*turn, 0.0, 0.0, 0.0]), case(7)[1]
    assert_same(pose_from_points(points, project_points(pose, points, CAMERA), CAMERA), pose, atol=1e-4)


def test_mirrored_cameras_have_poses_too():
    camera = Camera.from_c_arm(1020.0, 1.0, (256, 256), source_isocentre_mm=800.0, mirrored=True)
    pose, points = case(3)
    assert_same(pose_from_points(points, project_points(pose, points, camera), camera), pose, atol=1e-4)


def test_noise_is_averaged():
    pose, points = case(5, 20)
    exact = project_points(pose, points, CAMERA).numpy()
    noisy = exact + np.random.default_rng(0).normal(0, 0.5, exact.shape)
    found = pose_from_points(points, noisy, CAMERA)
    # No other pose fits better, the true one among them.
    least = np.sum((project_points(found, points, CAMERA) - noisy) ** 2)
    for step in [*np.diag([1e-3] * 3 + [0.3] * 3), *np.diag([-1e-3] * 3 + [-0.3] * 3), pose - found]:
        assert np.sum((project_points(found + step, points, CAMERA) - noisy) ** 2) > least
    np.testing.assert_allclose(project_points(found, points, CAMERA), exact, atol=1.0)


def test_points_far_from_the_isocentre_are_no_worse():
    pose, points = case(2)
    pose[3:] = 300.0
    points = points + pose[3:]
    assert_same(pose_from_points(points, project_points(pose, points, CAMERA), CAMERA), pose, atol=1e-3)


def test_says_what_is_wrong():
    pose, points = case(0)
    places = project_points(pose, points, CAMERA).numpy()
    with pytest.raises(ValueError, match=r"n = 4 or more. Received shapes \(3, 3\) and \(3, 2\)"):
        pose_from_points(points[:3], places[:3], CAMERA)
    with pytest.raises(ValueError, match=r"Received shapes \(6, 3\) and \(5, 2\)"):
        pose_from_points(points, places[:5], CAMERA)
    with pytest.raises(ValueError, match="Points must be finite"):
        pose_from_points(points, np.where(places == places.max(), np.nan, places), CAMERA)
    line = np.linspace(0, 1, 6)[:, np.newaxis] * [10.0, 20.0, 30.0]
    with pytest.raises(ValueError, match="`points_mm` must not lie on one line"):
        pose_from_points(line, places, CAMERA)
    with pytest.raises(ValueError, match="`image_points_px` must not lie on one line"):
        pose_from_points(points, project_points(pose, line, CAMERA), CAMERA)
    with pytest.raises(ValueError, match="`camera` must say its `source_isocentre_mm`"):
        pose_from_points(points, places, Camera.from_c_arm())
