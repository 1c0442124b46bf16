"""Counts the courses of levels and the topologies of mixed-block networks exactly, by dynamic programming."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tfmedcai.search_spaces.mixed_block_nodes import STEPS


def level_limits(nodes: int, deepest: int, full_resolution: bool) -> tuple[int, ...]:
    """Returns for every node the deepest level that it may have.

    Args:
        nodes: number of nodes.
        deepest: most halvings of the resolution.
        full_resolution: whether the last node must have the resolution of the image, so that those before it must lie
            so high that the way up is not too long.

    >>> level_limits(4, deepest=2, full_resolution=True)
    (2, 2, 1, 0)
    """
    return tuple(min(deepest, nodes - number) if full_resolution else deepest for number in range(1, nodes + 1))


@functools.cache
def count_walks(level: int, limits: tuple[int, ...]) -> int:
    """Returns how many ways go on from a level through nodes that may have levels from 0 to their limits.

    >>> count_walks(0, (5, 5))
    5
    """
    if not limits:
        return 1
    return sum(count_walks(level + step, limits[1:]) for step in STEPS.values() if 0 <= level + step <= limits[0])


def count_topologies(limits: Sequence[int]) -> int:
    """Counts all choices of levels and skips exactly, by dynamic programming over how often each level was visited.

    Args:
        limits: for every node the deepest level that it may have.

    Returns:
        Number of topologies.

    >>> count_topologies([5, 5, 5])  # 13 walks, of which 5 allow one skip
    18
    """
    depth = 1 + max(limits)
    ways = {(0, (0,) * depth): 1}  # (level, visits of each level) -> number of topologies that lead there
    for limit in limits:
        further: dict[tuple[int, tuple[int, ...]], int] = {}
        for (level, visits), number in ways.items():
            # A skip from any node of this level but the preceding one, or none; the image is no source.
            choices = max(visits[level], 1)
            for step in STEPS.values():
                after = level + step
                if 0 <= after <= limit:
                    state = after, (*visits[:after], visits[after] + 1, *visits[after + 1 :])
                    further[state] = further.get(state, 0) + number * choices
        ways = further
    return sum(ways.values())
