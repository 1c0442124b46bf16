"""Reading a case of registration."""

import numpy as np
import pytest

from tfmedcai.geometry.rigid import rotated
from tfmedcai.tasks.registration_case import DIRECTIONS, read_landmarks

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
