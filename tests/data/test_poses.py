"""Poses survive their file, in the frames of volume and patient; files that contradict themselves are refused."""

import json
import math

import numpy as np
import pytest

from tfmedcai.data.anatomy import Anatomy
from tfmedcai.data.poses import FRAME, read_pose, write_pose
from tfmedcai.geometry.rigid import matrix_from_pose

POSE = np.array([0.3, -0.2, 1.1, 12.5, -200.0, 7.25])
PLACE = np.array([[-1.0, 0, 0, 10], [0, 0, -1, 20], [0, -1, 0, 300], [0, 0, 0, 1]])
QUARTER = [[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]]


def written(path, **fields):
    path.write_text(json.dumps(fields))
    return path


@pytest.mark.parametrize("pose", [POSE, np.zeros(6), [math.pi, 0, 0, 1e-3, 1e5, -1]])
def test_a_pose_survives_its_file(tmp_path, pose):
    write_pose(tmp_path / "new" / "pose.json", pose)
    np.testing.assert_allclose(read_pose(tmp_path / "new" / "pose.json"), pose, rtol=1e-12)
    assert read_pose(tmp_path / "new" / "pose.json").dtype == np.float64


def test_a_file_says_the_pose_in_every_way(tmp_path):
    write_pose(tmp_path / "pose.json", [0, 0, math.pi / 2, 5, 6, 7], PLACE)
    content = json.loads((tmp_path / "pose.json").read_text())
    assert list(content) == ["rotation_deg", "translation_mm", "matrix", "patient_matrix", "frame"]
    assert content["rotation_deg"] == [0, 0, 90] and content["translation_mm"] == [5, 6, 7]
    np.testing.assert_allclose(content["matrix"], QUARTER, atol=1e-15)
    # x of the C-arm is y of the volume, to the feet: down in the patient.
    np.testing.assert_allclose(np.array(content["patient_matrix"]) @ [1, 0, 0, 1], [10 - 5, 20 - 7, 300 - 6 - 1, 1])
    assert content["frame"] == FRAME
    write_pose(tmp_path / "pose.json", POSE)
    assert json.loads((tmp_path / "pose.json").read_text())["patient_matrix"] is None


@pytest.mark.parametrize("names", [("rotation_deg", "translation_mm"), ("matrix",), ("patient_matrix",)])
def test_one_way_is_enough(tmp_path, names):
    write_pose(tmp_path / "pose.json", POSE, PLACE)
    whole = json.loads((tmp_path / "pose.json").read_text())
    part = written(tmp_path / "part.json", **{name: whole[name] for name in names})
    np.testing.assert_allclose(read_pose(part, PLACE), POSE, atol=1e-9)


def test_a_pose_is_read_for_another_volume_of_the_patient(tmp_path):
    hu = np.zeros((8, 8, 8), np.float32)
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[6, 1, 5] = 1
    anatomy = Anatomy(hu, labels, (2.0, 3.0, 4.0), PLACE)
    fitted = anatomy.fitted((10, 10, 10), 1.0, "labels")
    write_pose(tmp_path / "pose.json", POSE, anatomy.patient_from_volume)
    moved = read_pose(tmp_path / "pose.json", fitted.patient_from_volume)
    np.testing.assert_allclose(moved[:3], POSE[:3])
    np.testing.assert_allclose(moved[3:], POSE[3:] - [4 * 1.5, 3 * -2.5, 2 * 2.5])
    # The same C-arm in the same patient.
    carm = [one.patient_from_volume @ matrix_from_pose(pose) for one, pose in ((anatomy, POSE), (fitted, moved))]
    np.testing.assert_allclose(*carm, atol=1e-9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Received none of them: name the CT if the pose is in the patient"),
        ({"patient_matrix": QUARTER}, "Received none of them"),
        ({"rotation_deg": [0, 0, 90]}, "must be there both. Received one"),
        ({"rotation_deg": [0, 0], "translation_mm": [1, 2, 3]}, "this is no pose .*rotation_deg"),
        ({"rotation_deg": [0, 0, math.nan], "translation_mm": [1, 2, 3]}, "this is no pose .*finite"),
        ({"angle": 3}, "angle: Extra inputs are not permitted"),
        ({"matrix": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]}, "`matrix` must be rigid"),
        ({"matrix": [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "`matrix` must be rigid"),
        ({"matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]}, "`matrix` must be rigid"),
        (
            {"matrix": QUARTER, "rotation_deg": [0, 0, 89], "translation_mm": [5, 6, 7]},
            r"Received elements up to 0\.0175 and 0 mm",
        ),
        (
            {"matrix": QUARTER, "rotation_deg": [0, 0, 90], "translation_mm": [5, 6, 8]},
            r"must be those of `matrix`.* 1 mm apart: leave one of them out",
        ),
    ],
)
def test_files_that_hold_no_pose(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message) as error:
        read_pose(written(tmp_path / "pose.json", **fields))
    assert str(error.value).startswith(str(tmp_path / "pose.json"))


def test_a_patient_matrix_must_be_rigid(tmp_path):
    path = written(tmp_path / "pose.json", patient_matrix=(2 * np.eye(4)).tolist())
    with pytest.raises(ValueError, match="`patient_matrix` must be rigid"):
        read_pose(path, PLACE)


def test_rounded_numbers_agree(tmp_path):
    matrix = np.round(matrix_from_pose(POSE).numpy(), 5).tolist()
    turn, shift = np.round(np.degrees(POSE[:3]), 3).tolist(), np.round(POSE[3:], 2).tolist()
    pose = read_pose(written(tmp_path / "pose.json", matrix=matrix, rotation_deg=turn, translation_mm=shift))
    np.testing.assert_allclose(pose, POSE, atol=1e-4)


def test_what_is_not_there_and_what_is_no_pose(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_pose(tmp_path / "none.json")
    for pose in (np.zeros(5), [0, 0, np.nan, 0, 0, 0]):
        with pytest.raises(ValueError, match="`pose` must be six finite numbers"):
            write_pose(tmp_path / "pose.json", pose)
    assert not (tmp_path / "pose.json").exists()
