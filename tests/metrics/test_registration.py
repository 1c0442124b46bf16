"""Errors of registrations against hand-made numbers, another program's rotations and the projector itself."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.pose_samples import sample_targets, starts_at
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.metrics.registration import percentiles, registration_errors, success_rate

CAMERA = Camera.from_c_arm(1000.0, (2.0, 1.0), (64, 96), source_isocentre_mm=600.0)
POINTS = np.random.default_rng(0).uniform(-80, 80, (30, 3))
TRUTH = np.array([[0.4, -0.2, 0.3, 20.0, -15.0, 40.0]])


def matrix(pose):
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = Rotation.from_rotvec(pose[:3]).as_matrix(), pose[3:]
    return made


def after(truth, *offset):
    """The pose whose C-arm stands at `offset` in the frame of the true C-arm."""
    made = matrix(truth) @ matrix(np.array(offset, float))
    return np.concatenate([Rotation.from_matrix(made[:3, :3]).as_rotvec(), made[:3, 3]])


def of_one(found, truth=TRUTH[0], points=POINTS, camera=CAMERA):
    return {name: value[0] for name, value in registration_errors([found], [truth], points, camera).items()}


def test_what_is_left_has_the_axes_and_signs_of_the_true_c_arm():
    errors = of_one(after(TRUTH[0], 0.1, 0.2, -0.3, 3.0, -4.0, 12.0))
    for axis, angle, shift in zip("xyz", (0.1, 0.2, -0.3), (3.0, -4.0, 12.0), strict=True):
        assert errors[f"rotation_{axis}_deg"] == pytest.approx(np.degrees(angle))
        assert errors[f"translation_{axis}_mm"] == pytest.approx(shift)
    assert errors["rotation_deg"] == pytest.approx(np.degrees(np.sqrt(0.14)))
    assert [errors[name] for name in ("in_plane_mm", "depth_mm", "translation_mm")] == pytest.approx([5, 12, 13])
    assert errors["geodesic"] == pytest.approx(np.hypot(np.sqrt(0.14), 13 / 149.25))


def test_target_registration_error_is_that_of_the_matrices():
    found = np.array(starts_at(sample_targets(8, (1, 2)), (3, 4), 0.3, 30.0))
    truth = np.array(sample_targets(8, (1, 2)))
    homogeneous = np.append(POINTS, np.ones((30, 1)), axis=1)
    expected = [
        np.linalg.norm((homogeneous @ (np.linalg.inv(matrix(a)) - np.linalg.inv(matrix(b))).T)[:, :3], axis=1).mean()
        for a, b in zip(found, truth, strict=True)
    ]
    together = registration_errors(found, truth, POINTS, CAMERA)
    np.testing.assert_allclose(together["mean_tre_mm"], expected, rtol=1e-6)
    np.testing.assert_allclose(together["rotation_deg"], np.degrees(0.3), rtol=1e-5)
    of_each = registration_errors(found, truth, np.tile(POINTS, (8, 1, 1)), CAMERA)
    for name, values in together.items():
        assert values.shape == (8,) and values.dtype == np.float64
        np.testing.assert_allclose(of_each[name], values)


def test_shifts_along_the_detector_are_magnified_and_those_in_depth_hardly_seen():
    middle = np.zeros((1, 3))
    along = of_one([0, 0, 0, 0, 6.0, 0], np.zeros(6), middle)
    assert along["mean_projection_mm"] == pytest.approx(10.0)
    assert along["mean_reprojection_mm"] == pytest.approx(6.0, rel=1e-3)
    depth = of_one([0, 0, 0, 0, 0, 30.0], np.zeros(6), middle)
    assert depth["mean_tre_mm"] == pytest.approx(30.0)
    assert depth["mean_projection_mm"] == depth["mean_reprojection_mm"] == 0.0
    side = of_one([0, 0, 0, 0, 0, 100.0], np.zeros(6), np.array([[60.0, 0, 0]]))
    assert side["mean_projection_mm"] == pytest.approx(1000 * 60 / 500 - 1000 * 60 / 600)
    # The true point lies 100 mm behind that of the found pose: 100 mm times the sine of its ray.
    assert side["mean_reprojection_mm"] == pytest.approx(100 * 60 / np.hypot(60, 500))


def test_errors_on_the_detector_are_those_of_the_projector():
    """Of a single bright voxel, the centres of mass of both images are as far apart as the error says."""
    volume = np.zeros((1, 9, 9, 9, 1))
    volume[0, 6, 1, 7] = 1.0
    point = np.array([[3 * 4.0, -3 * 4.0, 2 * 4.0]])
    found = after(TRUTH[0], 0.05, -0.1, 0.1, 5.0, 8.0, -50.0)
    project = ProjectiveSpatialTransformer(CAMERA, spacing_mm=(4.0, 4.0, 4.0), step_mm=0.2, dtype="float64")
    images = project([np.repeat(volume, 2, axis=0), np.stack([found, TRUTH[0]])]).numpy()[..., 0]
    grid = np.stack(np.meshgrid(np.arange(96.0) * 2, np.arange(64.0), indexing="xy"), axis=-1)
    seen = [np.average(grid.reshape(-1, 2), axis=0, weights=image.ravel()) for image in images]
    assert not images[:, [0, -1]].any() and not images[..., [0, -1]].any()
    expected = np.linalg.norm(seen[0] - seen[1])
    assert expected > 5
    assert of_one(found, points=point)["mean_projection_mm"] == pytest.approx(expected, abs=0.01)


def test_a_point_behind_the_source_has_no_image():
    errors = of_one([0, 0, 0, 0, 0, 650.0], np.zeros(6), np.zeros((1, 3)))
    assert errors["mean_projection_mm"] == errors["mean_reprojection_mm"] == np.inf
    assert errors["mean_tre_mm"] == pytest.approx(650)


def test_the_right_pose_has_no_error_and_half_a_turn_is_180_deg():
    assert max(map(abs, of_one(TRUTH[0]).values())) < 1e-6
    assert of_one(after(TRUTH[0], 0, 0, np.pi, 0, 0, 0))["rotation_deg"] == pytest.approx(180)


def test_a_failed_pose_fails_alone():
    found = np.stack([TRUTH[0], TRUTH[0]])
    found[0, 2] = np.nan
    for values in registration_errors(found, np.repeat(TRUTH, 2, axis=0), POINTS, CAMERA).values():
        assert values[0] == np.inf and abs(values[1]) < 1e-6


def test_success_is_counted_with_its_interval():
    found = success_rate([*np.linspace(0, 9.9, 7), 10.0, np.inf, np.nan])
    assert (found["rate"], found["successes"], found["count"]) == (0.7, 7, 10)
    # By Wilson's formula.
    z, p, n = 1.959964, 0.7, 10
    middle, half = (
        (p + z**2 / (2 * n)) / (1 + z**2 / n),
        z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n),
    )
    assert [found["low"], found["high"]] == pytest.approx([middle - half, middle + half], abs=1e-6)
    assert success_rate([3.0], limit_mm=2.0)["rate"] == 0


def test_percentiles_bear_failures():
    values = [*range(1, 9), np.inf, np.nan]
    assert percentiles(values) == {"p50": 5.0, "p75": 8.0, "p95": np.inf}
    assert percentiles(np.arange(1, 101), (95, 99.5)) == {"p95": 95.0, "p99.5": 100.0}


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(n, 6\).*\(1, 5\)"):
        registration_errors(np.zeros((1, 5)), TRUTH, POINTS, CAMERA)
    for points in (np.zeros(3), np.zeros((0, 3)), np.zeros((2, 4, 3)), np.zeros((4, 2))):
        with pytest.raises(ValueError, match=r"`points_mm` must have shape \(m, 3\) or \(1, m, 3\)"):
            registration_errors(TRUTH, TRUTH, points, CAMERA)
    with pytest.raises(ValueError, match="`truth` must be finite"):
        registration_errors(TRUTH, TRUTH * np.nan, POINTS, CAMERA)
    with pytest.raises(ValueError, match="isocentre"):
        registration_errors(TRUTH, TRUTH, POINTS, Camera.from_c_arm())
    for count in (success_rate, percentiles):
        with pytest.raises(ValueError, match="1 case or more"):
            count([])
