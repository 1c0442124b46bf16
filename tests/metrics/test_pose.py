"""Tests of the errors of image poses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmedcai.metrics.pose import axis_errors, pose_errors


def pose(x=0.0, y=0.0, degrees=0.0, tilt=0.0, resolution=0.15):
    return [x, y, np.radians(degrees), tilt, resolution]


def test_position_is_measured_with_the_true_resolution():
    errors = pose_errors([pose(3, 4, resolution=9), pose(0, -2)], [pose(resolution=0.1), pose(resolution=0.2)])
    np.testing.assert_allclose(errors["position_error_mm"], [0.5, 0.4])


@given(st.floats(-720, 720), st.floats(-180, 180))
def test_angle_error_is_the_smaller_arc(start, difference):
    errors = pose_errors([pose(degrees=start + difference)], [pose(degrees=start)])
    assert errors["angle_error_deg"][0] == pytest.approx(abs(difference), abs=1e-6)


def test_tilt_and_depth_do_not_count():
    errors = pose_errors([pose(tilt=1.0, resolution=0.3)], [pose()])
    assert errors["position_error_mm"][0] == errors["angle_error_deg"][0] == 0


def test_axis_is_compared_with_the_polyline_as_a_line_without_direction():
    along = np.linspace(-40, 40, 9)[:, np.newaxis] * [np.cos(0.5), -np.sin(0.5)]
    polyline = along + [100, 60] + np.array([np.sin(0.5), np.cos(0.5)]) * 3
    for degrees in (np.degrees(0.5), np.degrees(0.5) + 180):
        errors = axis_errors(pose(100, 60, degrees), polyline, resolution=0.2)
        assert errors["distance_mm"] == pytest.approx(0.6)
        assert errors["angle_deg"] == pytest.approx(0, abs=1e-6)
    assert axis_errors(pose(100, 60, np.degrees(0.5) - 100), polyline, 0.2)["angle_deg"] == pytest.approx(80)


def test_axis_crossing_the_polyline_is_a_quarter_of_its_span_away_on_average():
    errors = axis_errors(pose(50, 0, 90), [[0, 0], [1, 0], [2, 0], [100, 0]], resolution=0.1)
    assert errors["distance_mm"] == pytest.approx(2.5)
    assert errors["angle_deg"] == pytest.approx(90)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(n, 5\).*\(1, 2\)"):
        pose_errors([[1, 2]], [pose()])
    with pytest.raises(ValueError, match=r"shape \(m, 2\)"):
        axis_errors(pose(), [1, 2, 3], 0.1)
    with pytest.raises(ValueError, match="no length"):
        axis_errors(pose(), [[1, 2], [1, 2]], 0.1)
