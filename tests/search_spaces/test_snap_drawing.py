"""The picture of a block: labels, and arrows that keep clear of boxes."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from tfmedcai.search_spaces.snap import Snap, SnapSpace
from tfmedcai.search_spaces.snap_drawing import HEIGHT, WIDTH


def _drawn(text):
    axes = Figure().subplots()
    SnapSpace(max_length=20).draw(Snap.parse(text), axes)
    boxes = [(patch.get_x(), patch.get_y()) for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return boxes, [_points(arrow._path_original) for arrow in arrows], axes


def _points(path: Path) -> np.ndarray:
    """Samples a path of Bezier curves and lines closely."""
    points, t = [], np.linspace(0, 1, 40)[:, None]
    for piece, code in path.iter_segments():
        if code == Path.CURVE4:
            p1, p2, p3 = piece.reshape(3, 2)
            p0 = points[-1][-1]
            points.append(p0 * (1 - t) ** 3 + 3 * p1 * t * (1 - t) ** 2 + 3 * p2 * t**2 * (1 - t) + p3 * t**3)
        else:
            end = piece.reshape(1, 2)
            points.append(points[-1][-1] * (1 - t) + end * t if code == Path.LINETO else end)
    return np.concatenate(points)


def _random_texts(count):
    rng = np.random.default_rng(5)
    return [str(SnapSpace(max_length=16).sample(rng)) for _ in range(count)]


@pytest.mark.parametrize(
    "text", ["(empty)", "branch conv3x3 branch conv3x3 merge branch maxpool3x3", *_random_texts(9)]
)
def test_arrows_keep_clear_of_boxes(text):
    boxes, arrows, _ = _drawn(text)
    inner = 0.02
    for x, y in boxes:
        for points in arrows:
            within = (points > [x + inner, y + inner]) & (points < [x + WIDTH - inner, y + HEIGHT - inner])
            assert not within.all(axis=1).any()


@pytest.mark.parametrize("text", _random_texts(5))
def test_one_box_an_operation_one_arrow_an_input(text):
    boxes, arrows, _ = _drawn(text)
    graph = Snap.parse(text).graph
    assert len(boxes) == len(graph) + 1
    assert len(arrows) == sum(len(node.inputs) for node in graph) + 1
    corners = np.array(boxes)
    for one, box in enumerate(corners):
        others = np.delete(corners, one, axis=0)
        assert ((abs(others - box) >= [WIDTH, HEIGHT]).any(axis=1)).all(), "boxes overlap"


def test_output_lies_lowest_and_inputs_highest():
    boxes, _, axes = _drawn("branch conv3x3 merge")
    heights = [y for _, y in boxes]
    assert heights[0] == heights[1] == max(heights)
    assert heights[-1] == min(heights)
    low, high = axes.get_ylim()
    assert low < min(heights)
    assert high > max(heights) + HEIGHT
