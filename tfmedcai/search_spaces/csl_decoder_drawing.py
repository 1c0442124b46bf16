"""Draws a decoder of CSL: the encoder's maps in the upper row, the doublings and the two outputs below them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from tfmedcai.search_spaces.labelled_box import INK, draw_box, draw_label

WIDTH, HEIGHT, PITCH, GAP = 2.1, 1.15, 2.9, 1.3
ENCODER, DOUBLING, OUTPUT = "#e6e6e6", "#a1d99b", "#fdd0a2"
SKIP = "#3b5bdb"
TEXT, SMALL = 0.31, 0.25
SOURCES = ("1/16", "1/8", "1/4", "1/2")  # resolution behind each doubling


def draw_decoder(stages: Sequence[tuple[int, int, bool]], concatenated: bool, axes: Axes) -> None:
    """Draws the decoder to scale: the picture fits axes of any size.

    Args:
        stages: width in percent, kernel in px and whether there is a skip, of every doubling.
        concatenated: whether the heatmaps see the logits of the classes.
        axes: empty axes; they get equal scales and lose their frame.
    """
    upper, last = HEIGHT + GAP, PITCH * (len(stages) + 1)
    _box(axes, (0, 0), ENCODER, "encoder", "1/32")
    for place, ((width, kernel, skip), source) in enumerate(zip(stages, SOURCES, strict=True), start=1):
        x = PITCH * place
        _box(axes, (x, 0), DOUBLING, f"{width} %, {kernel} × {kernel}", source)
        _arrow(axes, [(x - PITCH + WIDTH / 2, 0), (x - WIDTH / 2, 0)], INK)
        if skip:
            _box(axes, (x, upper), ENCODER, "encoder", source)
            _arrow(axes, [(x, upper - HEIGHT / 2), (x, HEIGHT / 2)], SKIP)
    for y, name in ((HEIGHT * 0.75, "classes"), (-HEIGHT * 0.75, "heatmaps")):
        _box(axes, (last, y), OUTPUT, name, "1/2")
        _arrow(axes, [(last - PITCH + WIDTH / 2, 0), (last - 0.65 * WIDTH, 0), (last - 0.65 * WIDTH, y),
                      (last - WIDTH / 2, y)], INK)  # fmt: skip
    if concatenated:
        _arrow(axes, [(last, HEIGHT / 4), (last, -HEIGHT / 4)], SKIP)
    axes.set_xlim(-WIDTH, last + WIDTH)
    axes.set_ylim(-1.6 * HEIGHT, upper + HEIGHT)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _box(axes: Axes, centre: tuple[float, float], colour: str, title: str, subtitle: str) -> None:
    x, y = centre
    draw_box(axes, (x - WIDTH / 2, y - HEIGHT / 2), (WIDTH, HEIGHT), colour)
    draw_label(axes, title, (x, y + 0.22), TEXT)
    draw_label(axes, subtitle, (x, y - 0.25), SMALL)


def _arrow(axes: Axes, points: list[tuple[float, float]], colour: str) -> None:
    axes.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=6, color=colour, linewidth=0.9))
