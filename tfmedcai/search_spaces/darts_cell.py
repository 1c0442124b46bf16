"""The cells of DARTS: four nodes that each sum two of seven operations on earlier tensors, stacked into a network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from tfmedcai.search_spaces.genotype import (
    CANDIDATES,
    CELLS,
    EDGES,
    INPUTS,
    NODES,
    OPERATIONS,
    SPACE,
    Cell,
    Edge,
    Genotype,
    Node,
)
from tfmedcai.search_spaces.space import SearchSpace, Value

if TYPE_CHECKING:
    import keras_tuner
    from matplotlib.axes import Axes


class DartsCellSpace(SearchSpace[Genotype]):
    """All pairs of cells.

    A token is a source and an operation, `source * 7 + operation`; each node has two. A source that the node cannot
    have is taken modulo those that it can, and one that the first edge has is counted up.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019.

    >>> space = DartsCellSpace()
    >>> str(space.decode([0] * 16)).partition(" / ")[0]
    'max3(0)+max3(1) max3(0)+max3(1) max3(0)+max3(1) max3(0)+max3(1)'
    """

    name = SPACE
    network = "darts_net"
    vocabulary_size = (INPUTS + NODES - 1) * len(OPERATIONS)
    sequence_length = 2 * NODES * len(CELLS)

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draws two different sources and two operations uniformly for every node."""

        def cell() -> Cell:
            nodes = []
            for number in range(NODES):
                sources = sorted(rng.choice(INPUTS + number, 2, replace=False).tolist())
                operations = rng.integers(len(OPERATIONS), size=2)
                nodes.append(tuple(Edge(OPERATIONS[o], s) for o, s in zip(operations, sources, strict=True)))
            return tuple(nodes)

        return Genotype(cell(), cell())

    def neighbours(self, architecture: Genotype) -> list[Genotype]:
        """Lists the genotypes in which one edge has another operation or another source.

        Args:
            architecture: a genotype.

        Returns:
            Genotypes with distinct keys, none with the key of `architecture`, in a fixed order.
        """
        found = {other.key: other for other in reversed(list(_edits(architecture)))}
        found.pop(architecture.key, None)
        return list(reversed(found.values()))

    def parse(self, text: str) -> Genotype:
        """Returns the genotype of `sep3(0)+skip(1) ... / ...`.

        Raises:
            ValueError: if the text describes no genotype.

        >>> DartsCellSpace().parse("sepp3(0)+skip(1)" + " skip(0)+skip(1)" * 3 + " /" + " skip(0)+skip(1)" * 4)
        Traceback (most recent call last):
        ...
        ValueError: ... one of max3, avg3, skip, sep3, sep5, dil3, dil5. Received `sepp3`. Did you mean `sep3`?
        """
        return Genotype.parse(text)

    def declare(self, hp: keras_tuner.HyperParameters) -> Genotype:
        """Declares for every node the pair of its sources and the two operations, all of them always active."""

        def cell(name: str) -> Cell:
            nodes = []
            for number in range(INPUTS, INPUTS + NODES):
                sources = cast(str, hp.Choice(f"{name}_{number}_sources", _pairs(number))).split(",")
                operations = [hp.Choice(f"{name}_{number}_{place}", list(OPERATIONS)) for place in ("first", "second")]
                nodes.append(tuple(Edge(cast(str, o), int(s)) for o, s in zip(operations, sources, strict=True)))
            return tuple(nodes)

        return Genotype(cell("normal"), cell("reduction"))

    def values(self, architecture: Genotype) -> dict[str, Value]:
        """Gives the values of `declare`, the edges of a node in the order of their sources."""
        values: dict[str, Value] = {}
        for name, cell in zip(CELLS, (architecture.normal, architecture.reduction), strict=True):
            for number, node in enumerate(cell, start=INPUTS):
                first, second = sorted(node, key=lambda edge: edge.source)
                values[f"{name}_{number}_sources"] = f"{first.source},{second.source}"
                values |= {f"{name}_{number}_first": first.operation, f"{name}_{number}_second": second.operation}
        return values

    def encode(self, architecture: Genotype) -> np.ndarray:
        """Writes a genotype as `(16,)` int32 tokens: two for each node, the normal cell first."""
        edges = [edge for cell in (architecture.normal, architecture.reduction) for node in cell for edge in node]
        return np.array([e.source * len(OPERATIONS) + OPERATIONS.index(e.operation) for e in edges], np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> Genotype:
        """Returns the genotype of tokens: any `(16,)` integers from 0 to 34 are one.

        Raises:
            ValueError: if the shape is another or a token is out of range.
        """
        array = np.asarray(tokens)
        if array.shape != (self.sequence_length,) or not np.isin(array, range(self.vocabulary_size)).all():
            raise ValueError(
                f"`tokens` must be ({self.sequence_length},) integers from 0 to {self.vocabulary_size - 1}. "
                f"Received {array.tolist()}."
            )
        nodes = [_read_node(pair, number % NODES) for number, pair in enumerate(array.reshape(-1, 2).tolist())]
        return Genotype(tuple(nodes[:NODES]), tuple(nodes[NODES:]))

    def discretise(self, mixtures: Mapping[str, np.ndarray]) -> Genotype:
        """Keeps of every node the two edges with the largest weight that is not `none`, each with its best operation.

        Args:
            mixtures: "normal" and "reduction", each `(14, 8)`: rows are `EDGES`, columns `CANDIDATES`, each row a
                probability distribution. Of equal weights the first counts.

        Returns:
            The genotype; of the two edges of a node the one with the larger weight comes first.

        Raises:
            ValueError: if a cell is missing or its weights have another shape.

        Reference:
            Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, section 2.4.
        """
        return Genotype(*(_strongest(name, mixtures.get(name)) for name in CELLS))

    def draw(self, architecture: Genotype, axes: Axes) -> None:
        """Draws the two cells side by side, the normal one on the left, inputs at the top.

        Args:
            architecture: a genotype.
            axes: empty matplotlib axes.
        """
        # Imported here, since only a picture needs matplotlib.
        from tfmedcai.search_spaces.darts_drawing import draw_cells

        draw_cells(architecture.normal, architecture.reduction, axes)


def _edits(genotype: Genotype) -> Iterator[Genotype]:
    for name, cell in zip(CELLS, (genotype.normal, genotype.reduction), strict=True):
        for number, node in enumerate(cell):
            for pair in _node_edits(node, INPUTS + number):
                yield replace(genotype, **{name: (*cell[:number], pair, *cell[number + 1 :])})


def _node_edits(node: Node, sources: int) -> Iterator[Node]:
    for place, (edge, other) in enumerate((node, node[::-1])):
        edges = [Edge(operation, edge.source) for operation in OPERATIONS if operation != edge.operation]
        edges += [Edge(edge.operation, s) for s in range(sources) if s not in (edge.source, other.source)]
        for edited in edges:
            yield (edited, other) if place == 0 else (other, edited)


def _pairs(sources: int) -> list[str]:
    return [f"{first},{second}" for first, second in itertools.combinations(range(sources), 2)]


def _read_node(pair: Sequence[int], number: int) -> Node:
    (first, one), (second, other) = (divmod(token, len(OPERATIONS)) for token in pair)
    first, second = first % (INPUTS + number), second % (INPUTS + number)
    if first == second:
        second = (second + 1) % (INPUTS + number)
    return Edge(OPERATIONS[one], first), Edge(OPERATIONS[other], second)


def _strongest(name: str, weights: np.ndarray | None) -> Cell:
    if weights is None or np.shape(weights) != (len(EDGES), len(CANDIDATES)):
        raise ValueError(
            f"`mixtures` must hold `{name}` of shape ({len(EDGES)}, {len(CANDIDATES)}). "
            f"Received {'none' if weights is None else np.shape(weights)}."
        )
    found = np.asarray(weights)[:, 1:]
    nodes = []
    for number in range(NODES):
        rows = [row for row, (node, _) in enumerate(EDGES) if node == number]
        # numpy's stable sort and argmax both take the first of equals.
        kept = [rows[place] for place in np.argsort(-found[rows].max(axis=1), kind="stable")[:2]]
        nodes.append(tuple(Edge(OPERATIONS[int(found[row].argmax())], EDGES[row][1]) for row in kept))
    return tuple(nodes)
