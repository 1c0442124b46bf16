"""Metrics of landmarks: hand-counted shares, misses that count, joints that are not there and do not."""

import numpy as np
import pytest

from tfmedcai.metrics.landmarks import (
    all_within,
    box_sides,
    localisation_errors,
    presence,
    relative_errors,
    threshold_scores,
)

NAN, INF = float("nan"), float("inf")
TRUE = np.array([[[0, 0], [10, 0]], [[5, 5], [NAN, NAN]], [[NAN, NAN], [NAN, NAN]]], float)
FOUND = np.array([[[3, 4], [NAN, NAN]], [[5, 35], [1, 1]], [[2, 2], [NAN, NAN]]], float)


def test_errors_of_missed_and_absent_joints():
    np.testing.assert_array_equal(localisation_errors(FOUND, TRUE), [[5, INF], [30, NAN], [NAN, NAN]])
    with pytest.raises(ValueError, match="check the number of landmarks"):
        localisation_errors(FOUND, TRUE[:, :1])


def test_threshold_curve_rises_over_the_frames_with_the_joint():
    scores = threshold_scores(localisation_errors(FOUND, TRUE), (4, 5, 29, 30))
    np.testing.assert_array_equal(scores, [[0, 0], [0.5, 0], [0.5, 0], [1, 0]])
    assert all_within(localisation_errors(FOUND, TRUE), 30) == 0.5
    assert np.isnan(all_within([[NAN]]))


def test_kbb_is_measured_in_sizes_of_the_instrument():
    np.testing.assert_array_equal(box_sides(TRUE), [10, NAN, NAN])
    errors = localisation_errors(FOUND, TRUE)
    relative = relative_errors(errors, [10, 300, 10])
    np.testing.assert_array_equal(threshold_scores(relative, (0.1, 0.5)), [[0.5, 0], [1, 0]])
    # A frame whose instrument has no size counts neither as found nor as missed.
    relative = relative_errors(errors, [10, NAN, 10])
    np.testing.assert_array_equal(threshold_scores(relative, (0.5,)), [[1, 0]])


def test_presence_counts_only_where_somebody_looked():
    assert presence(FOUND, TRUE) == (2 / 4, 2 / 3)
    annotated = np.array([[True, True], [True, False], [False, True]])
    assert presence(FOUND, TRUE, annotated) == (1.0, 2 / 3)
    assert np.isnan(presence(np.full((1, 1, 2), NAN), TRUE[:1, :1])[0])
