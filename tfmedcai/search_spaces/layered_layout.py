"""Places a small directed acyclic graph in layers, so that straight and bent arrows pass between the boxes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

Item = tuple[int, int]  # (node, layer): the node itself in its own layer, its rail in the layers below
Link = tuple[Item, Item]
SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Where the nodes lie and which way the arrows run; x grows to the right, layers count downwards.

    Args:
        x: centre of every item, a node or a point where the rail of a node crosses a layer.
        layers: items of every layer from left to right.
        edges: for every arrow its child and the items it passes, from the parent to the last one before the child.
    """

    x: dict[Item, float]
    layers: list[list[Item]]
    edges: list[tuple[int, list[Item]]]


def layout(parents: Sequence[Sequence[int]], depths: Sequence[int], node_width: float, rail_width: float) -> Layout:
    """Orders the items of every layer for few crossings, then places them for straight arrows.

    All arrows of a node that pass further layers share one rail, which takes a place of its own in every layer passed.

    Args:
        parents: numbers of the parents of every node.
        depths: layer of every node, larger than those of its parents.
        node_width: width of a node with its margin.
        rail_width: width of a rail with its margin.

    Returns:
        The `Layout`.
    """
    last = list(depths)
    for node, above in enumerate(parents):
        for parent in above:
            last[parent] = max(last[parent], depths[node] - 1)
    items = [(node, layer) for node, depth in enumerate(depths) for layer in range(depth, last[node] + 1)]
    layers = [[item for item in items if item[1] == layer] for layer in range(max(depths) + 1)]
    links = [((node, layer), (node, layer + 1)) for node, layer in items if layer < last[node]]
    joints = [((p, depths[n] - 1), (n, depths[n])) for n, above in enumerate(parents) for p in above]
    layers = _ordered(layers, links + joints)
    widths = {item: node_width if depths[item[0]] == item[1] else rail_width for item in items}
    edges = [
        (node, [(parent, layer) for layer in range(depths[parent], depths[node])])
        for node, above in enumerate(parents)
        for parent in above
    ]
    return Layout(_spread(layers, links + joints, widths), layers, edges)


def _neighbours(links: list[Link]) -> dict[Item, list[Item]]:
    result: dict[Item, list[Item]] = {}
    for above, below in links:
        result.setdefault(above, []).append(below)
        result.setdefault(below, []).append(above)
    return result


def _crossings(layers: list[list[Item]], links: list[Link]) -> int:
    place = {item: index for layer in layers for index, item in enumerate(layer)}
    ends = [(above[1], place[above], place[below]) for above, below in links]
    return sum(a[0] == b[0] and a[1] < b[1] and a[2] > b[2] for a in ends for b in ends)


def _ordered(layers: list[list[Item]], links: list[Link]) -> list[list[Item]]:
    near = _neighbours(links)
    best = layers
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        for index in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            side = layers[index - 1 if down else index + 1]
            place = {item: float(at) for at, item in enumerate(side)}
            centre = {
                item: _mean([place[other] for other in near[item] if other in place], float(at))
                for at, item in enumerate(layers[index])
            }
            layers[index].sort(key=centre.__getitem__)
        best = min(best, layers, key=lambda order: _crossings(order, links))
    return best


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _spread(layers: list[list[Item]], links: list[Link], widths: dict[Item, float]) -> dict[Item, float]:
    """Returns the places that keep order and widths with the least total sideways run of the links (a linear program).

    Reference:
        Gansner et al., A technique for drawing directed graphs, IEEE TSE 1993, section 4.
    """
    number = {item: index for index, item in enumerate(widths)}
    count = len(number)
    rows, bounds, cost = [], [], [0.0] * count + [_pull(link) for link in links]
    for index, (above, below) in enumerate(links):
        for sign in (1.0, -1.0):  # sign * (x above - x below) <= run of the link
            rows.append({number[above]: sign, number[below]: -sign, count + index: -1.0})
            bounds.append(0.0)
    for layer in layers:
        for left, right in itertools.pairwise(layer):
            rows.append({number[left]: 1.0, number[right]: -1.0})
            bounds.append(-(widths[left] + widths[right]) / 2)
    matrix = np.zeros((len(rows), len(cost)))
    for index, row in enumerate(rows):
        matrix[index, list(row)] = list(row.values())
    places = linprog(cost, matrix, bounds, bounds=[(0, None)] * len(cost)).x
    return {item: float(places[index]) for item, index in number.items()}


def _pull(link: Link) -> float:
    """Weighs a link: 8 along a rail, which makes rails straight, 1 between layers that follow each other."""
    return 8.0 if link[0][0] == link[1][0] else 1.0
