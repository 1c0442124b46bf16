"""Slices with outlines: which are chosen, where the lines lie, and that left is right."""

import numpy as np
import pytest
from PIL import ImageColor

from tfmedcai.reports.overlay import PREDICTION, TRUTH
from tfmedcai.reports.slices import SIDE, outlined, slice_stack, slices_to_show

GREEN, RED = (np.array(ImageColor.getrgb(colour)) for colour in (TRUTH, PREDICTION))


def box(shape, *ends):
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(*end) for end in ends)] = 1
    return label


def where(picture, colour):
    return np.argwhere((picture == colour).all(-1))


def test_the_fullest_slice_is_always_among_those_shown():
    truth = box((8, 8, 200), (2, 4), (2, 4), (20, 180))
    truth[:6, :6, 101] = 1
    chosen = slices_to_show(truth, np.zeros_like(truth), 12)
    assert len(chosen) == 12 and 101 in chosen
    assert chosen[0] < 20 and chosen[-1] >= 180 and (np.diff(chosen) > 0).all()


def test_a_volume_without_structures_is_shown_as_a_whole():
    empty = np.zeros((4, 4, 5), np.uint8)
    assert slices_to_show(empty, empty, 24).tolist() == [0, 1, 2, 3, 4]


def test_the_patient_lies_on_the_back_with_his_right_on_the_left():
    nothing = np.zeros((20, 20), np.uint8)
    picture = outlined(nothing, box((20, 20), (14, 19), (15, 19)), nothing)
    rows, columns = where(picture, GREEN).T
    assert picture.shape == (SIDE, SIDE, 3)
    assert rows.max() < SIDE / 2, "y to the front is up"
    assert columns.max() < SIDE / 2, "x to the patient's right is left"


def test_truth_is_a_line_and_prediction_is_dashed():
    mask, nothing = box((20, 20), (5, 15), (5, 15)), np.zeros((20, 20), np.uint8)
    truth, predicted = outlined(nothing, mask, nothing), outlined(nothing, nothing, mask)
    assert 0.3 < len(where(predicted, RED)) / len(where(truth, GREEN)) < 0.7


def test_voxels_longer_along_one_axis_give_a_picture_of_that_shape():
    image = np.zeros((30, 10), np.uint8)
    assert outlined(image, image, image, aspect=2.0).shape == (round(SIDE * 2 / 3), SIDE, 3)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="must be one slice"):
        outlined(np.zeros((4, 4)), np.zeros((4, 5)), np.zeros((4, 4)))


def test_a_stack_begins_with_the_fullest_slice():
    truth = box((8, 8, 3), (2, 4), (2, 4), (0, 3))
    truth[:6, :6, 2] = 1
    volumes = {"image": np.zeros((8, 8, 3), np.uint8), "truth": truth, "predicted": truth}
    stack = slice_stack(volumes, np.array([4, 6, 9]), 1.0, "best: anna")
    assert (stack.start, stack.labels) == (2, ["4", "6", "9"])
    assert stack.caption.startswith("best: anna.")
