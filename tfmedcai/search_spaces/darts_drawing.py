"""Draws the two cells of a genotype side by side: inputs at the top, one box for every operation, outputs below."""

from __future__ import annotations

from matplotlib.axes import Axes

from tfmedcai.search_spaces.genotype import Cell
from tfmedcai.search_spaces.snap_drawing import draw_nodes
from tfmedcai.search_spaces.snap_graph import Node

# Operation -> (label, colour of the box)
LOOKS = {
    "cell k-2": ("output of cell k-2", "#e6e6e6"),
    "cell k-1": ("output of cell k-1", "#e6e6e6"),
    "max3": ("Max-Pool 3x3", "#fdd0a2"),
    "avg3": ("Avg-Pool 3x3", "#fdae6b"),
    "skip": ("Skip", "#ffffff"),
    "sep3": ("Sep-Conv 3x3", "#a1d99b"),
    "sep5": ("Sep-Conv 5x5", "#74c476"),
    "dil3": ("Dil-Conv 3x3", "#9ecae1"),
    "dil5": ("Dil-Conv 5x5", "#6baed6"),
    **{f"node {number}": (f"node {number}: sum", "#dadaeb") for number in range(2, 6)},
    "normal": ("normal: concat", "#e6e6e6"),
    "reduction": ("reduction: concat", "#e6e6e6"),
}


def draw_cells(normal: Cell, reduction: Cell, axes: Axes) -> None:
    """Draws both cells to scale.

    Args:
        normal: nodes of the normal cell.
        reduction: nodes of the reduction cell.
        axes: empty axes; they get equal scales and lose their frame.
    """
    nodes: list[Node] = []
    for name, cell in (("normal", normal), ("reduction", reduction)):
        nodes += _graph(cell, name, len(nodes))
    draw_nodes(nodes, LOOKS, axes)


def _graph(cell: Cell, name: str, first: int) -> list[Node]:
    """Returns inputs, operations, sums and output as nodes; the first has the number `first`."""
    nodes = [Node("cell k-2"), Node("cell k-1")]
    sources = [first, first + 1]
    for number, pair in enumerate(cell, start=2):
        nodes += [Node(edge.operation, (sources[edge.source],)) for edge in pair]
        count = first + len(nodes)
        nodes.append(Node(f"node {number}", (count - 2, count - 1)))
        sources.append(count)
    return [*nodes, Node(name, tuple(sources[2:]))]
