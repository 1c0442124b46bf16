"""Pairs of cells as a value: the text that describes them, the rules they keep and their canonical form."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

from tfmedcai.registry import did_you_mean

# The order of the columns of the architecture parameters. A relaxed edge may also be `NONE`; a found one may not.
NONE = "none"
OPERATIONS = ("max3", "avg3", "skip", "sep3", "sep5", "dil3", "dil5")
CANDIDATES = (NONE, *OPERATIONS)
INPUTS, NODES = 2, 4
# (node, source) of every edge that a cell can have, in the order of the rows of the architecture parameters.
EDGES = tuple((node, source) for node in range(NODES) for source in range(INPUTS + node))
CELLS = ("normal", "reduction")
SEPARATOR = " / "
SPACE = "darts_cell"


class Edge(NamedTuple):
    """An operation on an earlier tensor: sources 0 and 1 are the outputs of the cells k-2 and k-1, 2 to 4 nodes."""

    operation: str
    source: int

    def __str__(self) -> str:
        return f"{self.operation}({self.source})"


Node = tuple[Edge, Edge]
Cell = tuple[Node, ...]


@dataclass(frozen=True)
class Genotype:
    """Two cells from which a network is stacked: normal ones, and reduction ones that halve the resolution.

    A cell has four nodes; each is the sum of two operations on different earlier tensors. The output of a cell is the
    concatenation of its nodes.

    Args:
        normal: four pairs of edges.
        reduction: as many; operations on the inputs of the cell have stride 2.

    Raises:
        ValueError: if a cell has not four nodes, an operation is unknown, or a source is not an earlier one.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, section 2.1.

    >>> cell = "sep3(0)+skip(1) max3(0)+sep3(2) skip(1)+skip(2) dil5(3)+avg3(0)"
    >>> Genotype.parse(f"{cell} / {cell}").normal[3]
    (Edge(operation='dil5', source=3), Edge(operation='avg3', source=0))
    """

    normal: Cell
    reduction: Cell

    def __post_init__(self) -> None:
        for name, cell in zip(CELLS, (self.normal, self.reduction), strict=True):
            if len(cell) != NODES:
                raise ValueError(f"A {name} cell must have {NODES} nodes. Received {len(cell)}.")
            for number, node in enumerate(cell, start=INPUTS):
                _check_node(f"node {number} of the {name} cell", node, number)

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Reads `sep3(0)+skip(1) ... / ...`: four nodes of the normal cell, then four of the reduction cell.

        Returns:
            The genotype.

        Raises:
            ValueError: if the text has another form, or an operation or source does not exist.
        """
        cells = [part.split() for part in text.split(SEPARATOR.strip())]
        if len(cells) != len(CELLS):
            raise ValueError(
                f"Two cells of {NODES} nodes must be given, normal and reduction, with `/` between them. "
                f"Received {len(cells)} in `{text}`."
            )
        normal, reduction = (tuple(_parse_node(node) for node in cell) for cell in cells)
        return cls(normal, reduction)

    def __str__(self) -> str:
        cells = (" ".join("+".join(map(str, node)) for node in cell) for cell in (self.normal, self.reduction))
        return SEPARATOR.join(cells)

    @property
    def space(self) -> str:
        """Name of the space that reads the text back."""
        return SPACE

    @cached_property
    def canonical(self) -> Genotype:
        """The same cells with nodes and edges in their canonical order, from which networks are built."""
        return Genotype(_canonical(self.normal), _canonical(self.reduction))

    @property
    def key(self) -> str:
        """Text of the canonical form: sums commute, and the order of nodes only permutes the channels of a cell."""
        return str(self.canonical)


def _check_node(place: str, node: Node, sources: int) -> None:
    if len(node) != 2 or node[0].source == node[1].source:
        raise ValueError(f"{place} must have two edges from different sources. Received `{'+'.join(map(str, node))}`.")
    for edge in node:
        if edge.operation not in OPERATIONS:
            raise ValueError(
                f"the operations of {place} must each be one of {', '.join(OPERATIONS)}. "
                f"Received `{edge.operation}`.{did_you_mean(edge.operation, OPERATIONS)}"
            )
        if not 0 <= edge.source < sources:
            raise ValueError(f"the sources of {place} must be 0 to {sources - 1}. Received {edge.source}.")


def _parse_node(text: str) -> Node:
    found = re.fullmatch(r"(\w+)\((\d+)\)\+(\w+)\((\d+)\)", text)
    if found is None:
        raise ValueError(f"A node must be the sum of two operations, as `sep3(0)+skip(1)`. Received `{text}`.")
    first, one, second, other = found.groups()
    return Edge(first, int(one)), Edge(second, int(other))


def _canonical(cell: Cell) -> Cell:
    """Returns the smallest of all forms that differ in the order of nodes and of edges."""
    forms = []
    for places in itertools.permutations(range(NODES)):
        renamed = {source: source if source < INPUTS else INPUTS + places[source - INPUTS] for _, source in EDGES}
        nodes = {
            places[number]: sorted((renamed[edge.source], OPERATIONS.index(edge.operation)) for edge in node)
            for number, node in enumerate(cell)
        }
        if all(source < INPUTS + number for number, node in nodes.items() for source, _ in node):
            forms.append([nodes[number] for number in range(NODES)])
    return tuple(cast(Node, tuple(Edge(OPERATIONS[o], s) for s, o in node)) for node in min(forms))
