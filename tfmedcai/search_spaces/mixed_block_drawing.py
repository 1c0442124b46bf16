"""Draws a mixed-block network: nodes from left to right, a row for each resolution, skips in lanes above the rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path

from tfmedcai.search_spaces.labelled_box import INK, draw_box, draw_label
from tfmedcai.search_spaces.mixed_block_nodes import Node, levels_of

# Block -> (label, colour of the box)
LOOKS = {
    "vgg": ("VGG", "#9ecae1"),
    "residual": ("Residual", "#a1d99b"),
    "dense": ("Dense", "#fdd0a2"),
    "inception": ("Inception", "#dadaeb"),
}
ENDS = "#e6e6e6"
SKIP = "#3b5bdb"
WIDTH, HEIGHT, PITCH = 1.7, 1.15, 2.5  # of a box; distance of columns
SPACE, LANE = 0.8, 0.3  # between two rows without lanes; of a lane
JOIN, TURN = 0.2, 0.42  # from the right edge of a box to where a skip joins, and to where the path turns
TEXT, SMALL = 0.31, 0.26


def draw_network(nodes: Sequence[Node], axes: Axes) -> None:
    """Draws the nodes to scale: the picture fits axes of any size.

    Args:
        nodes: valid nodes.
        axes: empty axes; they get equal scales and lose their frame.
    """
    levels = levels_of(nodes)
    lanes = skip_lanes(nodes)
    rows = _row_heights(levels, lanes)
    for level, y in enumerate(rows):
        axes.plot([-0.9 * WIDTH, PITCH * (len(nodes) + 1)], [y, y], color="#eeeeee", linewidth=1, zorder=0)
        _text(
            axes,
            (-1.75 * WIDTH, y),
            f"1/{2**level}" if level else "full size",
            f"{2**level if level else ''}C channels",
        )
    for number, node in enumerate(nodes, start=1):
        label, colour = LOOKS[node.block]
        _box(axes, (PITCH * number, rows[levels[number - 1]]), colour, label, f"{node.kernel} × {node.kernel}")
        draw_label(axes, str(number), (PITCH * number, rows[levels[number - 1]] - HEIGHT / 2 - 0.8 * SMALL), SMALL)
    _box(axes, (0, rows[0]), ENDS, "image", "")
    last = "" if levels[-1] == 0 else f"up × {2 ** levels[-1]}"
    _box(axes, (PITCH * (len(nodes) + 1), rows[0]), ENDS, "output", last)
    course = [rows[level] for level in (0, *levels, 0)]
    for column, (left, right) in enumerate(itertools.pairwise(course)):
        _arrow(axes, _step(column, left, right), INK)
    for number, node in enumerate(nodes, start=1):
        if node.skip:
            height = course[node.skip] + HEIGHT / 2 + LANE * (1 + lanes[node.skip])
            _skip(axes, node.skip, number, course[node.skip], height)
    axes.set_xlim(-2.5 * WIDTH, PITCH * (len(nodes) + 1) + WIDTH)
    axes.set_ylim(rows[-1] - HEIGHT, rows[0] + HEIGHT / 2 + LANE * (2 + _lanes_of(0, levels, lanes)))
    axes.set_aspect("equal")
    axes.set_axis_off()


def skip_lanes(nodes: Sequence[Node]) -> dict[int, int]:
    """Gives every source of skips a lane above its row, so that no two skips of different sources run in one.

    Args:
        nodes: valid nodes.

    Returns:
        Number of a source -> number of its lane, from 0, the lowest. Short skips lie below long ones.

    >>> skip_lanes([Node(), Node(), Node(skip=1), Node(skip=2)])
    {1: 0, 2: 1}
    """
    levels = levels_of(nodes)
    ends: dict[int, int] = {}
    for number, node in enumerate(nodes, start=1):
        if node.skip:
            ends[node.skip] = number
    lanes: dict[int, int] = {}
    for source in sorted(ends, key=lambda source: ends[source] - source):
        taken = {
            lane
            for other, lane in lanes.items()
            if levels[other - 1] == levels[source - 1] and other < ends[source] and source < ends[other]
        }
        lanes[source] = next(lane for lane in range(len(nodes)) if lane not in taken)
    return lanes


def _lanes_of(level: int, levels: Sequence[int], lanes: dict[int, int]) -> int:
    return max((1 + lane for source, lane in lanes.items() if levels[source - 1] == level), default=0)


def _row_heights(levels: Sequence[int], lanes: dict[int, int]) -> list[float]:
    rows = [0.0]
    for level in range(1, max(levels) + 1):
        rows.append(rows[-1] - HEIGHT - SPACE - LANE * _lanes_of(level, levels, lanes))
    return rows


def _box(axes: Axes, centre: tuple[float, float], colour: str, title: str, subtitle: str) -> None:
    x, y = centre
    draw_box(axes, (x - WIDTH / 2, y - HEIGHT / 2), (WIDTH, HEIGHT), colour)
    _text(axes, centre, title, subtitle)


def _text(axes: Axes, centre: tuple[float, float], title: str, subtitle: str) -> None:
    x, y = centre
    draw_label(axes, title, (x, y + (0.22 if subtitle else 0)), TEXT)
    if subtitle:
        draw_label(axes, subtitle, (x, y - 0.25), SMALL)


def _step(column: int, left: float, right: float) -> list[tuple[float, float]]:
    start, end = PITCH * column + WIDTH / 2, PITCH * (column + 1) - WIDTH / 2
    if left == right:
        return [(start, left), (end, right)]
    return [(start, left), (start + TURN, left), (start + TURN, right), (end, right)]


def _skip(axes: Axes, source: int, number: int, row: float, height: float) -> None:
    """Draws a skip up from its source, along its lane and down to where it joins the input of a node."""
    join = PITCH * (number - 1) + WIDTH / 2 + JOIN
    top = row + HEIGHT / 2
    _arrow(axes, [(PITCH * source, top), (PITCH * source, height), (join, height), (join, row)], SKIP)
    axes.add_patch(Circle((join, row), 0.07, color=SKIP, zorder=3))


def _arrow(axes: Axes, points: list[tuple[float, float]], colour: str) -> None:
    axes.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=6, color=colour, linewidth=0.9))
