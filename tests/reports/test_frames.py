"""Marked frames: crosses and tints where they belong, the frame itself unchanged."""

import numpy as np
import pytest

from tfmedcai.reports.frames import frame_figure, marked

FRAME = np.full((60, 80, 3), 100, np.uint8)


def test_joints_and_masks_are_drawn_where_they_are():
    mask = np.zeros((60, 80), np.uint8)
    mask[40:50, 60:70], mask[:5] = 1, 255
    made = marked(FRAME, np.array([[20.0, 30.0], [np.nan, 4.0]]), mask, true=np.array([[50.0, 10.0], [np.nan, 1.0]]))
    assert made[30, 20].tolist() == [255, 45, 32]
    assert (FRAME == 100).all() and (made[:5] == 100).all()
    assert made[45, 65].tolist() == [65, 131, 154]
    changed = np.argwhere((made != FRAME).any(-1))
    assert all(
        min(abs(row - 30) + abs(column - 20), abs(row - 10) + abs(column - 50)) < 12 or mask[row, column] == 1
        for row, column in changed
    )


def test_a_case_of_a_report():
    case = {"image": FRAME, "predicted": np.array([[20.0, 30.0]]), "true": np.array([[21.0, 30.0]])}
    figure = frame_figure(case, "best: 1.0 px")
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == "best: 1.0 px"


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"`frame` must be \(height, width, 3\)"):
        marked(FRAME[..., 0], np.zeros((1, 2)))
    with pytest.raises(ValueError, match="`mask`"):
        marked(FRAME, np.zeros((1, 2)), np.zeros((3, 3)))
