"""Tests of virtual landmarks and the POSE operation."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmedcai.geometry.landmarks import LANDMARKS_MM, pose_from_landmarks, project_landmarks

CASES = json.loads((Path(__file__).parent / "golden_i3posnet.json").read_text())["cases"]
SCREW = LANDMARKS_MM["screw"]
RIGHT_ANGLE = np.pi / 2 - 1e-6
image_poses = st.tuples(
    st.floats(0, 511),
    st.floats(0, 511),
    st.floats(-RIGHT_ANGLE, RIGHT_ANGLE),
    st.floats(-1.45, 1.45),
    st.floats(0.05, 0.5),
)


@pytest.mark.parametrize("case", CASES)
def test_projects_as_published(case):
    state = case["state"]
    image_pose = np.array(
        [
            [
                *case["targets_px"][0],
                np.radians(case["extra_rotation"]),
                np.radians(state["tilt"]),
                state["resolution"],
            ]
        ]
    )
    np.testing.assert_allclose(project_landmarks(image_pose, SCREW)[0], case["targets_px"], atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_reconstructs_as_published(case):
    pose = pose_from_landmarks(np.array([case["targets_px"]]), SCREW).numpy()[0]
    expected = case["pose_from_points"]
    np.testing.assert_allclose(pose[:2], case["targets_px"][0], atol=1e-9)
    assert np.degrees(pose[2]) == pytest.approx(expected["angle_difference_deg"], abs=1e-6)
    assert np.degrees(pose[3]) == pytest.approx(expected["tilt_deg"], abs=1e-4)
    assert pose[4] == pytest.approx(expected["resolution"], abs=1e-12)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(LANDMARKS_MM)), st.lists(image_poses, min_size=1))
def test_reconstruction_inverts_projection(instrument, image_pose):
    table = LANDMARKS_MM[instrument]
    expected = np.array(image_pose)
    pose = pose_from_landmarks(project_landmarks(expected, table), table)
    expected[:, 3] = abs(expected[:, 3])
    # The cosine is flat at 0: a rounding error of 1e-14 there is one of 1e-7 in the tilt.
    np.testing.assert_allclose(pose, expected, atol=1e-6)


@pytest.mark.parametrize("degrees", [-90, -89.99, -45, 0, 45, 89.99, 90])
def test_no_angle_is_special_under_noise(degrees):
    rng = np.random.default_rng(0)
    points = project_landmarks(np.array([[40.0, 20.0, np.radians(degrees), 0.3, 0.15]]), SCREW)
    pose = pose_from_landmarks(points + rng.normal(scale=0.3, size=(200, 6, 2)), SCREW).numpy()
    turn = (np.degrees(pose[:, 2]) - degrees + 90) % 180 - 90
    assert abs(turn.mean()) < 0.3 and turn.std() < 2
    np.testing.assert_allclose(pose[:, :2].mean(axis=0), [40, 20], atol=0.1)
    assert pose[:, 4].mean() == pytest.approx(0.15, rel=0.02)


def test_an_axis_longer_than_possible_has_no_tilt():
    points = project_landmarks(np.array([[40.0, 20.0, 0.0, 0.0, 0.15]]), SCREW).numpy()
    points[:, :4, 0] = 40 + (points[:, :4, 0] - 40) * 1.2
    assert pose_from_landmarks(points, SCREW).numpy()[0, 3] == 0


def test_degenerate_points_give_numbers():
    pose = pose_from_landmarks(np.full((1, 6, 2), 7.0, np.float32), SCREW).numpy()[0]
    assert np.isfinite(pose).all()
    np.testing.assert_allclose(pose[:2], 7)


def test_tools_have_their_third_landmark_behind_the_tip():
    assert LANDMARKS_MM["screw"][2].tolist() == [3, 0]
    for tool in ("guide_wire", "drill", "robot"):
        assert LANDMARKS_MM[tool][2].tolist() == [-3, 0]
    with pytest.raises(ValueError, match="read-only"):
        LANDMARKS_MM["screw"][0, 0] = 1


def test_refuses_another_number_of_points():
    with pytest.raises(ValueError, match=r"shape \(batch, 6, 2\)"):
        pose_from_landmarks(np.zeros((1, 5, 2)), SCREW)
