"""Counts of levels and topologies against enumeration."""

import itertools
import math

import pytest

from tfmedcai.search_spaces.mixed_block_count import count_topologies, count_walks, level_limits
from tfmedcai.search_spaces.mixed_block_nodes import skip_sources


def courses(nodes, limits):
    """All courses of levels, one by one."""
    for steps in itertools.product((-1, 0, 1), repeat=nodes):
        levels = list(itertools.accumulate(steps))
        if all(0 <= level <= limit for level, limit in zip(levels, limits, strict=True)):
            yield levels


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("deepest", [0, 1, 2, 5])
@pytest.mark.parametrize("nodes", [1, 2, 4, 7])
def test_counts_agree_with_enumeration(nodes, deepest, full):
    limits = level_limits(nodes, deepest, full)
    found = list(courses(nodes, limits))
    assert count_walks(0, limits) == len(found)
    skips = [math.prod(1 + len(skip_sources(levels, number)) for number in range(1, nodes + 1)) for levels in found]
    assert count_topologies(limits) == sum(skips)


def test_limits_leave_all_ways_back():
    limits = level_limits(6, deepest=5, full_resolution=True)
    assert limits == (5, 4, 3, 2, 1, 0)
    ends = [levels for levels in courses(6, [5] * 6) if levels[-1] == 0]
    assert count_walks(0, limits) == len(ends)
