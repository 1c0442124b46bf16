"""Draws a volumetric code as a U: encoder cells on the left, decoder blocks on the right, resolutions from the top."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from tfmedcai.search_spaces.labelled_box import INK, draw_box, draw_label

if TYPE_CHECKING:
    from tfmedcai.search_spaces.volumetric import VolumetricCode

Point = tuple[float, float]

COLOURS = {"2D": "#9ecae1", "3D": "#fdae6b", "P3D": "#a1d99b"}
LEGEND = {"2D": "2D: 3x3x1", "3D": "3D: 3x3x3", "P3D": "P3D: 3x3x1, 1x1x3"}
FIXED = "#e6e6e6"  # what is not searched
RESOLUTIONS = ("1", "1/2", "1/4", "1/8", "1/16", "1/32")
WIDTH, HEIGHT, TEXT = 1.6, 0.8, 0.36
STEP, PITCH = 1.9, 1.7  # from box to box, from resolution to resolution
STEM_COLUMN = 5  # where the encoder cells of a resolution end
# Column and row of the resolution
DECODER = ((7, 4), (7, 3), (7, 2), (8, 2), (8, 1))
PYRAMID, OUTPUT = (9, 1), (9, 0)


def draw_code(code: VolumetricCode, stages: tuple[int, ...], axes: Axes) -> None:
    """Draws the network of a code, to scale: the picture fits axes of any size.

    Args:
        code: the kernels.
        stages: number of encoder cells at each resolution from 1/4 on.
        axes: empty axes; they get equal scales and lose their frame.
    """
    rows = [
        [(STEM_COLUMN - count + 1 + cell, row) for cell in range(count)] for row, count in enumerate(stages, start=2)
    ]
    for row, name in enumerate(RESOLUTIONS):
        draw_label(axes, name, _at((-1, row)), TEXT)
    for place, label in (((STEM_COLUMN, 0), "input"), ((STEM_COLUMN, 1), "stem"), (OUTPUT, "output")):
        _box(axes, label, place)
    _box(axes, "pyramid", PYRAMID)
    for kernel, place in zip((*code.encoder, *code.decoder), (*itertools.chain(*rows), *DECODER), strict=True):
        _box(axes, kernel, place)
    _encoder_arrows(axes, [[(STEM_COLUMN, 0)], [(STEM_COLUMN, 1)], *rows])
    _decoder_arrows(axes, rows[-1][-1])
    for column, (kernel, label) in zip((1, 4, 7), LEGEND.items(), strict=True):
        _box(axes, kernel, (column, len(RESOLUTIONS)), label, width=2.6 * WIDTH)
    axes.set_xlim(-1.5 * STEP, 9.6 * STEP)
    axes.set_ylim(-(len(RESOLUTIONS) + 0.5) * PITCH, 0.5 * PITCH)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _encoder_arrows(axes: Axes, rows: list[list[Point]]) -> None:
    for row in rows:
        for left, right in itertools.pairwise(row):
            _arrow(axes, [_at(left, right=0.5), _at(right, right=-0.5)])
    for upper, lower in itertools.pairwise(rows):
        _bent(axes, upper[-1], lower[0])
    # Skip connections: stem and stages to the blocks at their resolution, the pooled stem to the fourth block.
    for start, end in ((rows[1], 4), (rows[2], 2), (rows[3], 1), (rows[4], 0)):
        _arrow(axes, [_at(start[-1], right=0.5), _at(DECODER[end], right=-0.5)])
    middle = -1.5 * PITCH
    corner = _at(DECODER[3], right=-0.25, up=0.5)
    _arrow(axes, [(_at(rows[1][-1])[0], middle), (corner[0], middle), corner])


def _decoder_arrows(axes: Axes, bottom: Point) -> None:
    right, below = _at(bottom, right=0.5), _at(DECODER[0], up=-0.5)
    _arrow(axes, [right, (below[0], right[1]), below])
    for lower, upper in itertools.pairwise((*DECODER, PYRAMID, OUTPUT)):
        if lower[1] == upper[1]:
            _arrow(axes, [_at(lower, right=0.5), _at(upper, right=-0.5)])
        else:
            _arrow(axes, [_at(lower, up=0.5), _at(upper, up=-0.5)])


def _bent(axes: Axes, upper: Point, lower: Point) -> None:
    start, end = _at(upper, up=-0.5), _at(lower, up=0.5)
    middle = (start[1] + end[1]) / 2
    _arrow(axes, [start, (start[0], middle), (end[0], middle), end])


def _at(place: Point, right: float = 0.0, up: float = 0.0) -> Point:
    """Returns a point of the box at a column and row: its middle, or so many widths and heights away."""
    return place[0] * STEP + right * WIDTH, -place[1] * PITCH + up * HEIGHT


def _arrow(axes: Axes, points: list[Point]) -> None:
    axes.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=9, color=INK, linewidth=1.1))


def _box(axes: Axes, kind: str, place: Point, label: str = "", width: float = WIDTH) -> None:
    x, y = _at(place)
    draw_box(axes, (x - width / 2, y - HEIGHT / 2), (width, HEIGHT), COLOURS.get(kind, FIXED))
    draw_label(axes, label or kind, (x, y), TEXT)
