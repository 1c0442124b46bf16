"""What a SNAP program means: the stack machine that runs it, the graph it makes and the canonical form of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

LAYERS = ("conv1x1", "conv3x3", "dw3x3", "dws3x3", "maxpool3x3")
TOPOLOGY = ("branch", "merge", "switch")
SYMBOLS = LAYERS + TOPOLOGY
INPUTS = ("out(b-2)", "out(b-1)")
PARAMETER_FREE = ("maxpool3x3",)

_RANK = {operation: rank for rank, operation in enumerate(INPUTS + SYMBOLS)}


class Node(NamedTuple):
    """One tensor: the operation that makes it and the numbers of the nodes it is made from."""

    operation: str
    inputs: tuple[int, ...] = ()


Graph = tuple[Node, ...]


def run(symbols: Iterable[str]) -> Graph:
    """Runs a program on the stack machine.

    The stack starts as [out(b-2), out(b-1)] with out(b-1) on top. A layer replaces the top tensor, `branch` pushes a
    copy of it, `switch` swaps the two top tensors, `merge` replaces them by their merge; `switch` and `merge` do
    nothing while fewer than two tensors are there. At the end all tensors left are merged into one.

    Two trainable layers on one tensor are two nodes, because each has its own weights. A parameter-free layer on one
    tensor gives one value however often it is written, so it is one node.

    Args:
        symbols: names out of `SYMBOLS`.

    Returns:
        Nodes in the order of their making: the two inputs first, the output last.

    Reference:
        AutoSNAP, section 2.2.

    >>> run(["conv3x3"])[2:]
    (Node(operation='conv3x3', inputs=(1,)), Node(operation='merge', inputs=(0, 2)))
    """
    nodes = [Node(name) for name in INPUTS]
    stack = [0, 1]

    def make(operation: str, inputs: Iterable[int]) -> int:
        # Sorted, since the order of a concatenation only permutes the weights of the convolution behind it.
        node = Node(operation, tuple(sorted(inputs)))
        if operation in PARAMETER_FREE and node in nodes:
            return nodes.index(node)
        nodes.append(node)
        return len(nodes) - 1

    for symbol in symbols:
        if symbol in LAYERS:
            stack.append(make(symbol, [stack.pop()]))
        elif symbol == "branch":
            stack.append(stack[-1])
        elif len(stack) > 1 and symbol == "switch":
            stack[-2:] = stack[:-3:-1]
        elif len(stack) > 1:
            stack.append(make("merge", [stack.pop(), stack.pop()]))
    if len(stack) > 1:
        make("merge", stack)
    return tuple(nodes)


def underflows(symbols: Sequence[str]) -> list[int]:
    """Returns the places (from 0) of `merge` and `switch` symbols that meet fewer than two tensors.

    >>> underflows(["merge", "merge", "branch", "switch"])
    [1]
    """
    size, places = 2, []
    for place, symbol in enumerate(symbols):
        if symbol in ("merge", "switch") and size < 2:
            places.append(place)
        else:
            size += {"branch": 1, "merge": -1}.get(symbol, 0)
    return places


def depths(graph: Sequence[Node]) -> list[int]:
    """Returns for every node the number of operations on the longest path to it from an input.

    >>> depths(run(["conv3x3"]))
    [0, 0, 1, 2]
    """
    result: list[int] = []
    for node in graph:
        result.append(1 + max((result[parent] for parent in node.inputs), default=-1))
    return result


def canonical(graph: Graph) -> Graph:
    """Numbers the nodes of a graph anew, so that exactly the isomorphic graphs become equal.

    Colour refinement splits the nodes by operation, depth, parents and children. Where nodes stay tied, each of them is
    singled out in turn and the least of the graphs that follow is taken, which makes the form exact.

    Args:
        graph: nodes in any topological order.

    Returns:
        The graph in its canonical topological order: inputs first, output last.

    >>> canonical(run(["branch", "conv1x1", "switch", "conv3x3"])) == canonical(
    ...     run(["branch", "conv3x3", "switch", "conv1x1"]))
    True
    """
    children: list[list[int]] = [[] for _ in graph]
    for child, node in enumerate(graph):
        for parent in node.inputs:
            children[parent].append(child)
    colours = _ranked([(depth, _RANK[node.operation]) for depth, node in zip(depths(graph), graph, strict=True)])
    return _least(graph, children, colours)


def _least(graph: Graph, children: list[list[int]], colours: list[int]) -> Graph:
    colours = _refined(graph, children, colours)
    tied = _tied(colours)
    if not tied:
        return _renumbered(graph, colours)
    seen: set[Graph] = set()
    found: list[Graph] = []
    for node in tied:
        probe = _first_leaf(graph, children, _singled_out(colours, node))
        # Equal leaves are an automorphism that maps this node to one tried before: its subtree holds nothing new.
        if probe not in seen:
            seen.add(probe)
            found.append(_least(graph, children, _singled_out(colours, node)))
    return min(found)


def _first_leaf(graph: Graph, children: list[list[int]], colours: list[int]) -> Graph:
    colours = _refined(graph, children, colours)
    while tied := _tied(colours):
        colours = _refined(graph, children, _singled_out(colours, tied[0]))
    return _renumbered(graph, colours)


def _ranked(signatures: list[tuple]) -> list[int]:
    order = {signature: rank for rank, signature in enumerate(sorted(set(signatures)))}
    return [order[signature] for signature in signatures]


def _refined(graph: Graph, children: list[list[int]], colours: list[int]) -> list[int]:
    while True:
        signatures = [
            (colour, _sorted_colours(colours, node.inputs), _sorted_colours(colours, below))
            for colour, node, below in zip(colours, graph, children, strict=True)
        ]
        finer = _ranked(signatures)
        if finer == colours:
            return colours
        colours = finer


def _sorted_colours(colours: list[int], nodes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(colours[node] for node in nodes))


def _tied(colours: list[int]) -> list[int]:
    tied = [node for node, colour in enumerate(colours) if colours.count(colour) > 1]
    return [node for node in tied if colours[node] == min(colours[other] for other in tied)]


def _singled_out(colours: list[int], node: int) -> list[int]:
    return _ranked([(colour, other != node) for other, colour in enumerate(colours)])


def _renumbered(graph: Graph, places: list[int]) -> Graph:
    nodes = [Node(node.operation, tuple(sorted(places[parent] for parent in node.inputs))) for node in graph]
    return tuple(node for _, node in sorted(zip(places, nodes, strict=True)))
