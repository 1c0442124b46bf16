"""The picture of a mixed-block network: boxes, skips that keep clear of them, labels."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from tfmedcai.search_spaces.mixed_block import MixedBlockSpace
from tfmedcai.search_spaces.mixed_block_drawing import HEIGHT, WIDTH
from tfmedcai.search_spaces.mixed_block_nodes import MixedBlock


def _random(count):
    rng = np.random.default_rng(4)
    return [MixedBlockSpace().sample(rng) for _ in range(count)]


def _drawn(architecture):
    axes = Figure().subplots()
    MixedBlockSpace().draw(architecture, axes)
    boxes = np.array([(patch.get_x(), patch.get_y()) for patch in axes.patches if isinstance(patch, FancyBboxPatch)])
    paths = [patch._path_original.vertices for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return boxes, paths, axes


def _points(path):
    return np.concatenate([np.linspace(a, b, 60) for a, b in itertools.pairwise(path)])


@pytest.mark.parametrize("architecture", [MixedBlock.unet(), *_random(8)])
def test_paths_keep_clear_of_boxes_and_of_the_frame(architecture):
    boxes, paths, axes = _drawn(architecture)
    inner = 0.02
    for corner, path in itertools.product(boxes, paths):
        points = _points(path)
        within = (points > corner + inner) & (points < corner + np.array([WIDTH, HEIGHT]) - inner)
        assert not within.all(axis=1).any()
    low, high = axes.get_ylim()
    heights = np.concatenate([*paths, boxes, boxes + HEIGHT])[:, 1]
    assert low < heights.min()
    assert heights.max() < high


@pytest.mark.parametrize("architecture", [MixedBlock.unet(), *_random(8)])
def test_one_box_a_node_one_path_an_input(architecture):
    boxes, paths, axes = _drawn(architecture)
    skips = sum(node.skip > 0 for node in architecture.nodes)
    assert len(boxes) == 12
    assert len(paths) == 11 + skips
    assert sum(isinstance(patch, Circle) for patch in axes.patches) == skips
    rows = boxes[:10, 1]
    assert (np.argsort(np.argsort(-np.unique(rows))) == np.arange(len(set(architecture.levels)))[::-1]).all()
    for one, other in itertools.product(range(10), repeat=2):
        assert (rows[one] > rows[other]) == (architecture.levels[one] < architecture.levels[other])


@pytest.mark.parametrize("architecture", _random(8))
def test_skips_of_different_sources_share_no_lane(architecture):
    _, paths, _ = _drawn(architecture)
    lanes = {
        (path[0][0], path[1][1], path[0][0], path[2][0])
        for path in paths
        if len(path) == 4 and path[0][0] == path[1][0]
    }
    for one, other in itertools.combinations(lanes, 2):
        if one[0] != other[0] and one[1] == other[1]:
            assert one[3] < other[2] or other[3] < one[2]
