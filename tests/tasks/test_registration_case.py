"""Reading a case of registration."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.registration_bones import CAMERA, SIDE, TRUTH, files_in, write_case
from tfmedcai.config.registration import RegisterSettings
from tfmedcai.data.poses import write_pose
from tfmedcai.geometry.rigid import matrix_from_pose, rotated
from tfmedcai.inference.pose_from_points import project_points
from tfmedcai.tasks.registration_case import COLUMNS, DIRECTIONS, read_case, read_landmarks
from tfmedcai.tasks.registration_problem import HERE

SETTINGS = RegisterSettings()
HEADER = "x_mm,y_mm,z_mm,u_px,v_px\n"


def test_landmarks_are_read(tmp_path):
    (tmp_path / "points.csv").write_text(HEADER + "1, 2.5,-3,4,5\n0,0,0,6,7e1\n")
    patient, pixels = read_landmarks(tmp_path / "points.csv")
    np.testing.assert_array_equal(patient, [[1, 2.5, -3], [0, 0, 0]])
    np.testing.assert_array_equal(pixels, [[4, 5], [6, 70]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEADER, "Missing: x_mm"),
        ("x_mm,y_mm,z_mm,u_px\n1,2,3,4\n", "Missing: v_px"),
        (HEADER + "1,2,3,4,5\n1,2,nan,4,5\n", "line 3: landmarks must be finite numbers. Received 'nan'"),
        (HEADER + "1,2,3,4\n", "line 2"),
    ],
)
def test_bad_landmarks_are_named(tmp_path, text, expected):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(ValueError) as caught:
        read_landmarks(tmp_path / "points.csv")
    assert expected in str(caught.value)


def test_from_behind_left_and_right_are_swapped():
    behind = np.array(DIRECTIONS["pa"])
    np.testing.assert_allclose(rotated(behind[:3], np.array([1.0, 2.0, 3.0])), [-1, 2, -3], atol=1e-6)


def test_a_case_starts_where_its_landmarks_are_seen(tmp_path):
    """All files of a case; the pose is found in the frame of the structures' middle, from points in the CT's file."""
    write_case(tmp_path)
    anatomy = read_case(files_in(tmp_path), SETTINGS).problem.anatomy
    points = anatomy.points(count=6)
    patient = points @ anatomy.patient_from_volume[:3, :3].T + anatomy.patient_from_volume[:3, 3]
    pixels = project_points(TRUTH, points, CAMERA).numpy()
    with (tmp_path / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *np.hstack([patient, pixels]).tolist()])
    case = read_case(replace(files_in(tmp_path), start=str(tmp_path / "points.csv")), SETTINGS)
    np.testing.assert_allclose(case.start, TRUTH, atol=1e-3)
    assert case.truth is None and case.problem.views[0].radiograph.camera == CAMERA


def test_files_of_several_views_are_taken_in_turn(tmp_path):
    write_case(tmp_path)
    write_pose(tmp_path / "side.json", np.array(SIDE))
    given = files_in(tmp_path)
    case = read_case(replace(given, xray=2 * given.xray, view_pose=(tmp_path / "side.json",)), SETTINGS)
    np.testing.assert_allclose([view.relative for view in case.problem.views], [HERE, SIDE], atol=1e-9)


def test_a_pose_in_the_patient_counts_whatever_lay_in_the_middle(tmp_path):
    write_case(tmp_path)
    given = files_in(tmp_path)
    whole, part = (read_case(given, RegisterSettings(structures=chosen)).problem.anatomy for chosen in ((), (1,)))
    write_pose(tmp_path / "start.json", TRUTH, whole.patient_from_volume)
    started = read_case(replace(given, start=str(tmp_path / "start.json")), RegisterSettings(structures=(1,))).start
    there = [a.patient_from_volume @ matrix_from_pose(p).numpy() for a, p in ((whole, TRUTH), (part, started))]
    np.testing.assert_allclose(*there, atol=1e-6)
    assert np.abs(started - TRUTH).max() > 1
