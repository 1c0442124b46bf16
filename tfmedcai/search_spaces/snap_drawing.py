"""Draws the block of a SNAP: inputs at the top, one box for every operation, arrows between the boxes, output below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from tfmedcai.search_spaces.labelled_box import INK, draw_box, draw_label
from tfmedcai.search_spaces.layered_layout import Item, Layout, layout
from tfmedcai.search_spaces.snap_graph import Graph, Node, depths

Looks = Mapping[str, tuple[str, str]]  # operation -> (label, colour of the box)

LOOKS: Looks = {
    "out(b-2)": ("output of block b-2", "#e6e6e6"),
    "out(b-1)": ("output of block b-1", "#e6e6e6"),
    "conv1x1": ("Conv 1x1", "#9ecae1"),
    "conv3x3": ("Conv 3x3", "#6baed6"),
    "dw3x3": ("DW-Conv 3x3", "#a1d99b"),
    "dws3x3": ("DWS-Conv 3x3", "#74c476"),
    "maxpool3x3": ("Max-Pool 3x3", "#fdd0a2"),
    "merge": ("Merge", "#dadaeb"),
    "output": ("output of block b", "#e6e6e6"),
}
WIDTH, HEIGHT, MARGIN = 2.6, 0.6, 0.3  # of a box and around it
PITCH, STEEPNESS = 1.2, 0.12  # least distance of layers; distance per width of the picture, so that arrows stay steep
PORT = 0.4  # distance of arrows that enter one box
TEXT = 0.24


def draw_graph(graph: Graph, axes: Axes) -> None:
    """Draws a graph made by `snap_graph.canonical`, to scale: the picture fits axes of any size.

    Args:
        graph: nodes in topological order, the output last.
        axes: empty axes; they get equal scales and lose their frame.
    """
    draw_nodes((*graph, Node("output", (len(graph) - 1,))), LOOKS, axes)


def draw_nodes(nodes: Sequence[Node], looks: Looks, axes: Axes) -> None:
    """Draws any graph of operations, to scale.

    Args:
        nodes: in topological order.
        looks: operation -> label and colour of its box.
        axes: empty axes; they get equal scales and lose their frame.
    """
    rows = depths(nodes)
    places = layout([node.inputs for node in nodes], rows, WIDTH + 2 * MARGIN, 2 * MARGIN)
    left, right = min(places.x.values()), max(places.x.values())
    pitch = max(PITCH, STEEPNESS * (right - left))
    for item, node in zip(enumerate(rows), nodes, strict=True):
        _box(axes, looks[node.operation], places.x[item], -pitch * item[1])
    for path in _arrows(places, pitch):
        axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=9, color=INK, linewidth=1.1))
    axes.set_xlim(left - WIDTH / 2 - MARGIN, right + WIDTH / 2 + MARGIN)
    axes.set_ylim(-pitch * (len(places.layers) - 1) - HEIGHT, HEIGHT)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _box(axes: Axes, look: tuple[str, str], x: float, y: float) -> None:
    label, colour = look
    draw_box(axes, (x - WIDTH / 2, y - HEIGHT / 2), (WIDTH, HEIGHT), colour)
    draw_label(axes, label, (x, y), TEXT)


def _arrows(places: Layout, pitch: float) -> list[Path]:
    ports: dict[int, list[tuple[float, int]]] = {}
    for number, (child, passed) in enumerate(places.edges):
        ports.setdefault(child, []).append((places.x[passed[-1]], number))
    shift = {}
    for entering in ports.values():
        for at, (_, number) in enumerate(sorted(entering)):
            shift[number] = (at - (len(entering) - 1) / 2) * PORT
    layer_of = {item[0]: item[1] for layer in reversed(places.layers) for item in layer}
    return [
        _arrow(passed, places.x, places.x[child, layer_of[child]] + shift[number], pitch)
        for number, (child, passed) in enumerate(places.edges)
    ]


def _arrow(passed: list[Item], x: dict[Item, float], end: float, pitch: float) -> Path:
    """Runs down through the middle of all items passed, bends only between layers, and ends on top of the child."""
    points = [(x[passed[0]], -pitch * passed[0][1] - HEIGHT / 2)]
    codes = [Path.MOVETO]
    for place, item in enumerate(passed):
        target = x[passed[place + 1]] if place + 1 < len(passed) else end
        below = -pitch * (item[1] + 1)
        bend = (points[-1][1] + below + HEIGHT / 2) / 2
        points += [(points[-1][0], bend), (target, bend), (target, below + HEIGHT / 2)]
        codes += [Path.CURVE4] * 3
        if place + 1 < len(passed):
            points.append((target, below - HEIGHT / 2))
            codes.append(Path.LINETO)
    return Path(points, codes)
