import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from tfmedcai.metrics import surface
from tfmedcai.metrics.segmentation import dice
from tfmedcai.metrics.surface import bounding_box, surface_distances


def ball(centre, radius=10.0, spacing=(1.0, 1.0, 1.0), shape=(60, 60, 40)):
    places = np.ogrid[tuple(slice(0, size) for size in shape)]
    return sum((x * step - middle) ** 2 for x, step, middle in zip(places, spacing, centre, strict=True)) <= radius**2


# The pairs of the golden file, by centre, radius and spacing.
PAIRS = {
    "balls r10 vs r10 shifted 3mm along x, 1mm iso": (((20, 20, 16), 10), ((23, 20, 16), 10), (1.0, 1.0, 1.0)),
    "balls r10 vs r8 concentric, 1mm iso": (((20, 20, 16), 10), ((20, 20, 16), 8), (1.0, 1.0, 1.0)),
    "balls r10 vs r10 shifted 3mm, spacing .8 .8 2.5": (((15, 20, 20), 10), ((18, 20, 20), 10), (0.8, 0.8, 2.5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_golden_values(name, golden):
    recorded = json.loads(golden("golden_metrics.json").read_text())[name]
    true, predicted, spacing = PAIRS[name]
    truth, prediction = (ball(*which, spacing) for which in (true, predicted))
    assert [truth.sum(), prediction.sum()] == recorded["voxels"]
    assert dice(prediction, truth) == pytest.approx(recorded["dice"], abs=1e-4)

    found = surface_distances(prediction, truth, spacing)
    assert found.dice(2.0) == pytest.approx(recorded["deepmind_surface_dice@2mm"], abs=1e-4)
    assert found.hausdorff(95) == pytest.approx(recorded["deepmind_hd95"], abs=1e-4)
    assert found.hausdorff(100) == pytest.approx(recorded["deepmind_hd100"], abs=1e-4)
    directed = [np.average(found.to_prediction, weights=found.true_areas)]
    directed += [np.average(found.to_truth, weights=found.predicted_areas)]
    assert directed == pytest.approx(recorded["deepmind_avg"], abs=1e-4)
    assert min(directed) - 1e-9 <= found.average() <= max(directed) + 1e-9

    found = surface_distances(prediction, truth, spacing, "border")
    assert found.dice(2.0) == pytest.approx(recorded["monai_surface_dice@2mm subvoxels=False"], abs=1e-4)
    assert found.hausdorff(95) == pytest.approx(recorded["monai_hd95"], abs=1e-4)
    assert found.hausdorff(100) == pytest.approx(recorded["medpy_hd"], abs=1e-4)
    assert found.average() == pytest.approx(recorded["medpy_assd"], abs=1e-4)


def reference(prediction, truth, spacing, convention):
    """The same by distance transforms of the whole array, one more voxel all around."""
    padded = [np.pad(mask, 1) for mask in (prediction, truth)]
    if convention == "border":
        surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in padded]
    else:
        windows = [np.lib.stride_tricks.sliding_window_view(mask, (2,) * mask.ndim) for mask in padded]
        axes = tuple(range(prediction.ndim, 2 * prediction.ndim))
        surfaces = [window.any(axis=axes) & ~window.all(axis=axes) for window in windows]
    far = [ndimage.distance_transform_edt(~part, sampling=spacing) for part in surfaces]
    return far[1][surfaces[0]], far[0][surfaces[1]]


@pytest.mark.parametrize("convention", surface.CONVENTIONS)
@pytest.mark.parametrize("lines", [1, 5, 300])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_a_distance_transform(data, convention, lines):
    axes = data.draw(st.integers(2, 3))
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * axes))
    spacing = data.draw(st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 2.5])] * axes))
    masks = [data.draw(arrays.arrays(bool, shape, fill=st.just(False))) for _ in range(2)]
    if not all(mask.any() for mask in masks):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface, "_LINES", lines)
        surface._lines_around.cache_clear()
        found = surface_distances(*masks, spacing, convention)
    surface._lines_around.cache_clear()
    for ours, theirs in zip(found[:2], reference(*masks, spacing, convention), strict=True):
        np.testing.assert_allclose(np.sort(ours), np.sort(theirs), atol=1e-5)


@pytest.mark.parametrize("cost", [0, 10**6])
def test_surfaces_that_are_far_from_each_other(monkeypatch, cost):
    monkeypatch.setattr(surface, "_TREE_COST", cost)  # distance transform never, or always
    near, far = ball((12, 12, 12), 4.0), ball((45, 40, 30), 6.0)
    found = surface_distances(near, far, (1.0, 1.0, 1.0))
    for ours, theirs in zip(found[:2], reference(near, far, (1.0, 1.0, 1.0), "subvoxel"), strict=True):
        np.testing.assert_allclose(np.sort(ours), np.sort(theirs), atol=1e-5)


def test_the_surface_of_a_box_has_its_area():
    box = np.zeros((10, 10, 10), bool)
    box[2:6, 2:7, 2:8] = True
    found = surface_distances(box, box, (1.0, 2.0, 3.0))
    sides = np.array([4 * 1.0, 5 * 2.0, 6 * 3.0])
    area = 2 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
    # The sub-voxel surface cuts the edges and corners of a box.
    assert 0.8 * area < found.true_areas.sum() < area
    assert found.dice(0.0) == 1.0 and found.hausdorff() == 0.0 and found.average() == 0.0


def test_a_distance_of_the_tolerance_counts_as_close():
    wall = np.zeros((3, 20), bool)
    wall[:, :5] = True
    shifted = np.zeros((3, 20), bool)
    shifted[:, :10] = True
    found = surface_distances(shifted, wall, (0.4, 0.4), "border")
    assert found.to_truth.max() == pytest.approx(2.0)
    assert found.dice(2.0) == 1.0 > found.dice(1.9)


@pytest.mark.parametrize("convention", surface.CONVENTIONS)
def test_empty_masks(convention):
    none, some = np.zeros((5, 5, 5), bool), np.ones((5, 5, 5), bool)
    both = surface_distances(none, none, (1.0, 1.0, 1.0), convention)
    assert np.isnan([both.dice(2.0), both.hausdorff(), both.average()]).all()
    for pair in ((none, some), (some, none)):
        one = surface_distances(*pair, (1.0, 1.0, 1.0), convention)
        assert one.dice(2.0) == 0.0 and one.hausdorff() == one.average() == float("inf")


def test_bounding_box():
    mask = np.zeros((6, 7, 8), bool)
    assert bounding_box(mask) is None
    mask[2, 3, 4] = mask[4, 3, 1] = True
    assert bounding_box(mask) == (slice(2, 5), slice(3, 4), slice(1, 5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 2)), np.ones((2, 3)), (1, 1)), r"same shape.*\(2, 2\) and \(2, 3\)"),
        ((np.ones(4), np.ones(4), (1,)), r"\(x, y\) or \(x, y, z\)"),
        ((np.ones((2, 2)), np.ones((2, 2)), (1, 1, 1)), "`spacing` must be 2 numbers"),
        ((np.ones((2, 2)), np.ones((2, 2)), (1, 0)), "above 0, in mm"),
        ((np.ones((2, 2)), np.ones((2, 2)), (1, 1), "voxel"), "`convention` must be one of"),
    ],
)
def test_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        surface_distances(*arguments)
