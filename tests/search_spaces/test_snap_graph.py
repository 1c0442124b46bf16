"""The stack machine and the exactness of the canonical form."""

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search_spaces.snap_reference import least_numbering, tensors_of
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.search_spaces.snap_graph import SYMBOLS, Node, canonical, depths, run, underflows

# Few kinds of symbols make many programs with equal graphs and graphs with symmetries.
alike = st.lists(st.sampled_from(["branch", "conv1x1", "switch", "merge", "maxpool3x3"]), max_size=7).map(tuple)
long = st.lists(st.sampled_from(SYMBOLS), max_size=24).map(tuple)


def test_key_is_isomorphism_on_all_short_programs():
    programs = [p for length in range(4) for p in itertools.product(SYMBOLS, repeat=length)]
    keys = {program: Snap(program).key for program in programs}
    forms = {program: least_numbering(program) for program in programs}
    assert (
        len(set(keys.values())) == len(set(forms.values())) == len(set(zip(keys.values(), forms.values(), strict=True)))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(alike, min_size=10, max_size=10))
def test_key_is_isomorphism_on_programs_with_symmetries(programs):
    for one, other in itertools.combinations(programs, 2):
        assert (Snap(one).key == Snap(other).key) == (least_numbering(one) == least_numbering(other))


@settings(deadline=None)
@given(long, st.randoms(use_true_random=False))
def test_canonical_form_does_not_depend_on_the_numbering(symbols, random):
    graph = run(symbols)
    assert canonical(_renumbered(graph, random)) == canonical(graph)
    assert canonical(canonical(graph)) == canonical(graph)


def _ring(sizes):
    """Convolutions of one tensor, merged pairwise around rings: all of them have alike neighbours."""
    nodes = [Node("out(b-2)"), Node("out(b-1)")] + [Node("conv1x1", (1,))] * sum(sizes)
    start = 2
    for size in sizes:
        nodes += [Node("merge", (start + i, start + (i + 1) % size)) for i in range(size)]
        start += size
    merges = [number for number, node in enumerate(nodes) if node.operation == "merge"]
    return (*nodes, Node("merge", (0, *merges)))


def test_ties_that_are_no_symmetries_are_told_apart():
    assert canonical(_ring([6])) != canonical(_ring([3, 3]))
    forms = {canonical(_renumbered(_ring([6, 3, 3]), Random(seed))) for seed in range(20)}
    assert len(forms) == 1


def test_many_symmetries_are_quick_and_exact():
    twins = ("branch", "conv3x3", "conv1x1", "switch") * 8
    mixed = ("branch", "conv1x1", "conv3x3", "switch", *twins[4:])
    assert Snap(twins).key == Snap(twins[:-1]).key
    assert Snap(twins).key != Snap(mixed).key
    assert Snap(mixed).key == Snap(twins[:8] + mixed[:4] + twins[12:]).key


@settings(deadline=None)
@given(long)
def test_graph_agrees_with_the_reference(symbols):
    graph = Snap(symbols).graph
    tensors = tensors_of(symbols)
    assert sorted(node.operation for node in graph[2:]) == sorted(tensor[0] for tensor in tensors if len(tensor) > 1)
    assert [node.operation for node in graph[:2]] == ["out(b-2)", "out(b-1)"]
    assert all(parent < number for number, node in enumerate(graph) for parent in node.inputs)
    used = {parent for node in graph for parent in node.inputs}
    assert used == set(range(len(graph) - 1)), "only the last node is the output"


def test_layers_change_the_newer_input():
    assert run(["dw3x3"]) == (
        *(Node("out(b-2)"), Node("out(b-1)")),
        *(Node("dw3x3", (1,)), Node("merge", (0, 2))),
    )


def test_poolings_of_one_tensor_are_one_value():
    operations = [node.operation for node in run(["branch", "maxpool3x3", "switch", "maxpool3x3", "maxpool3x3"])]
    assert operations.count("maxpool3x3") == 2


@pytest.mark.parametrize("layer", ["conv1x1", "conv3x3", "dw3x3", "dws3x3"])
def test_trainable_layers_of_one_tensor_are_distinct(layer):
    assert [node.operation for node in run(["branch", layer, "switch", layer])].count(layer) == 2


def test_underflows():
    assert underflows(["merge", "switch", "merge", "branch", "merge", "merge"]) == [1, 2, 5]
    assert underflows(["switch", "merge"]) == []


def test_depths():
    assert depths(run(["branch", "conv3x3", "conv3x3", "merge"])) == [0, 0, 1, 2, 3, 4]


def _renumbered(graph, random):
    """Gives the nodes of a graph another topological order at random."""
    order, waiting = [], list(range(len(graph)))
    while waiting:
        ready = [node for node in waiting if all(parent in order for parent in graph[node].inputs)]
        chosen = random.choice(ready)
        order.append(chosen)
        waiting.remove(chosen)
    place = {node: at for at, node in enumerate(order)}
    return tuple(Node(graph[node].operation, tuple(place[parent] for parent in graph[node].inputs)) for node in order)
