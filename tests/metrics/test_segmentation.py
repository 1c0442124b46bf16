import numpy as np
import pytest

from tfmedcai.metrics.segmentation import (
    METRICS,
    dice,
    mask_metrics,
    precision_and_recall,
    structure_table,
)

SPACING = (1.0, 1.0, 2.0)


def boxes():
    truth, prediction = np.zeros((2, 12, 12, 8), np.uint8)
    truth[2:8, 2:8, 2:6] = 1
    truth[4:6, 4:6, 3:5] = 2
    prediction[3:9, 2:8, 2:6] = 1
    return prediction, truth


def test_dice_of_masks_that_share_nothing_or_all():
    assert dice([1, 0], [0, 1]) == 0.0
    assert dice([1, 3], [2, 1]) == 1.0
    assert np.isnan(dice([0, 0], [0, 0]))


def test_precision_and_recall_of_empty_masks():
    assert precision_and_recall([1, 1, 1, 0], [0, 1, 1, 0]) == (2 / 3, 1.0)
    assert precision_and_recall([1, 0], [0, 1]) == (0.0, 0.0)
    assert np.isnan(precision_and_recall([0, 0], [0, 0])).all()
    with pytest.raises(ValueError, match="bring both onto one grid"):
        precision_and_recall([1], [1, 0])


def test_structures_are_made_of_labels():
    prediction, truth = boxes()
    rows = structure_table(prediction, truth, SPACING, {"whole": (1, 2), "core": 2, "other": 7})
    whole, core, other = rows
    assert whole["dice"] == pytest.approx(2 * 5 * 6 * 4 / (2 * 6 * 6 * 4))
    assert (whole["predicted_voxels"], whole["true_voxels"]) == (144, 144)
    expected = mask_metrics(prediction > 0, truth > 0, SPACING)
    assert {name: whole[name] for name in METRICS} == expected
    assert core["dice"] == core["surface_dice"] == 0 and core["hd95_mm"] == core["assd_mm"] == float("inf")
    assert np.isnan([other[name] for name in METRICS]).all()


def test_nothing_but_background():
    nothing = np.zeros((4, 4, 4), np.uint8)
    (row,) = structure_table(nothing, nothing, SPACING, {"liver": 1})
    assert np.isnan(row["dice"]) and row["true_voxels"] == 0


def test_the_convention_is_handed_on():
    prediction, truth = boxes()
    values = [mask_metrics(prediction, truth, SPACING, 0.5, name)["surface_dice"] for name in ("subvoxel", "border")]
    assert values[0] != values[1]


def test_says_what_is_wrong():
    prediction, truth = boxes()
    with pytest.raises(ValueError, match="`tolerance_mm` must be 0 mm or more"):
        mask_metrics(prediction, truth, SPACING, -1.0)
    with pytest.raises(ValueError, match="integer labels of the same shape"):
        structure_table(prediction, truth.astype(float), SPACING, {"a": 1})
    with pytest.raises(ValueError, match=r"`structures\['a'\]` must be labels from 1 on"):
        structure_table(prediction, truth, SPACING, {"a": 0})
    with pytest.raises(ValueError, match="same shape"):
        dice([1], [1, 0])
