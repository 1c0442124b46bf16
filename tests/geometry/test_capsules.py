"""Masks from joints and widths: areas, what hides what, and places that are not in the image."""

import numpy as np
import pytest

from tfmedcai.geometry.capsules import Part, beside, drawn


def test_a_part_has_its_area_and_its_middle():
    mask = drawn([Part(1, (30.0, 20.0), (70.0, 50.0), width=12.0)], (80, 100))
    assert mask.sum() == pytest.approx(50 * 12 + np.pi * 36, rel=0.01)
    assert np.argwhere(mask).mean(0) == pytest.approx([35.0, 50.0], abs=0.1)


def test_later_parts_hide_earlier_ones_and_what_is_not_there_is_left_out():
    parts = [Part(1, (2, 2), (8, 2), 3), Part(2, (5, 2), (9, 2), 3), Part(3, (np.nan, 2), (9, 2), 3)]
    assert drawn(parts, (5, 12))[2].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0]


def test_parts_may_leave_the_image():
    assert not drawn([Part(1, (-50, -50), (-20, -20), 4)], (10, 10)).any()
    assert drawn([Part(1, (-20, 5), (40, 5), 2)], (10, 10))[5].all()


def test_sides_and_a_part_without_length():
    along, distance, side = beside(np.array([0.0, 4.0]), np.array([2.0, -3.0]), (0, 0), (0, 8))
    np.testing.assert_allclose((along, distance, side), [[0.25, 0], [0, 5], [0, -4]])
    assert beside(np.array(3.0), np.array(4.0), (0, 0), (0, 0))[1] == 5


def test_bad_parts():
    with pytest.raises(ValueError, match="width above 0 px and a label from 1 to 254"):
        drawn([Part(1, (0, 0), (1, 1), 0)], (4, 4))
