"""The picture of a code: one box a cell in the colour of its kernel, and arrows that keep clear of boxes."""

import itertools

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tfmedcai.search_spaces.volumetric import VolumetricCode, VolumetricSpace
from tfmedcai.search_spaces.volumetric_drawing import COLOURS, FIXED, HEIGHT, WIDTH

CODE = VolumetricCode.parse("[0 2 2, 2 0 0 0, 2 2 1 2 1 1, 0 1 1] [1 0 2 0 1]")


def _drawn():
    axes = Figure().subplots()
    VolumetricSpace().draw(CODE, axes)
    return axes


def test_one_box_a_cell_in_the_colour_of_its_kernel():
    colours = [to_hex(patch.get_facecolor()) for patch in _drawn().patches if isinstance(patch, FancyBboxPatch)]
    legend = 1
    for digit, kernel in enumerate(("2D", "3D", "P3D")):
        assert colours.count(COLOURS[kernel]) == CODE.digits.count(digit) + legend
    assert colours.count(FIXED) == len(("input", "stem", "pyramid", "output"))


def test_arrows_keep_clear_of_boxes():
    axes = _drawn()
    boxes = [(patch.get_x(), patch.get_y()) for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 1 + 16 + 4 + 1 + 7  # to the stem, to cells, skips, pooled stem, decoder to output
    inner = 0.02
    for arrow in arrows:
        corners = arrow._path_original.vertices
        points = np.concatenate([np.linspace(a, b, 200) for a, b in itertools.pairwise(corners)])
        for x, y in boxes:
            within = (points > [x + inner, y + inner]) & (points < [x + WIDTH - inner, y + HEIGHT - inner])
            assert not within.all(axis=1).any()
