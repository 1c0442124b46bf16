"""Cells of DARTS: the published decode, text, canonical form, and what is refused."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from tfmedcai.search_spaces.darts_cell import DartsCellSpace
from tfmedcai.search_spaces.genotype import CANDIDATES, EDGES, OPERATIONS, Edge, Genotype

SPACE = DartsCellSpace()
CELL = "sep3(0)+skip(1) max3(0)+sep3(2) skip(1)+skip(2) dil5(3)+avg3(0)"
OTHER = "skip(0)+skip(1) skip(0)+skip(1) skip(0)+skip(1) skip(0)+skip(1)"


def softmax(alphas):
    exponentials = np.exp(alphas - alphas.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_decode_of_seeded_alphas_is_the_published_codes():
    rng = np.random.RandomState(0)
    normal, reduction = (softmax(rng.randn(14, 8).astype(np.float32)) for _ in range(2))
    found = SPACE.discretise({"normal": normal, "reduction": reduction})
    assert str(found) == (
        "skip(0)+skip(1) sep3(2)+dil3(0) skip(0)+dil3(3) sep3(3)+sep5(1) / "
        "dil5(1)+max3(0) dil5(2)+dil5(1) max3(1)+sep3(0) avg3(4)+sep5(0)"
    )


def test_decode_takes_the_first_of_equals_and_never_none():
    uniform = np.full((14, 8), 1 / 8)
    found = SPACE.discretise({"normal": uniform, "reduction": uniform})
    assert str(found).partition(" / ")[0] == " ".join(["max3(0)+max3(1)"] * 4)
    weights = np.full((14, 8), 0.01)
    weights[:, 0] = 0.93
    weights[[EDGES.index((3, 4)), EDGES.index((3, 2))], CANDIDATES.index("dil5")] = 0.02
    found = SPACE.discretise({"normal": weights, "reduction": uniform})
    assert found.normal[3] == (Edge("dil5", 2), Edge("dil5", 4))


def test_none_on_an_edge_weakens_it():
    weights = np.full((14, 8), 0.1)
    weights[EDGES.index((1, 0))] = [0.65] + [0.05] * 7
    assert SPACE.discretise({"normal": weights, "reduction": weights}).normal[1] == (Edge("max3", 1), Edge("max3", 2))


@pytest.mark.parametrize("mixtures", [{}, {"normal": np.zeros((14, 7)), "reduction": np.zeros((14, 8))}])
def test_decode_says_what_is_missing(mixtures):
    with pytest.raises(ValueError, match=r"`mixtures` must hold `normal` of shape \(14, 8\)"):
        SPACE.discretise(mixtures)


def test_edges_and_candidates_are_in_the_published_order():
    assert len(EDGES) == 14
    assert [sum(node == n for node, _ in EDGES) for n in range(4)] == [2, 3, 4, 5]
    assert CANDIDATES == ("none", "max3", "avg3", "skip", "sep3", "sep5", "dil3", "dil5")


def test_key_forgets_the_order_of_edges_and_nodes_and_nothing_else():
    genotype = Genotype.parse(f"{CELL} / {OTHER}")
    swapped = Genotype.parse(f"skip(1)+sep3(0) sep3(2)+max3(0) skip(1)+skip(2) avg3(0)+dil5(3) / {OTHER}")
    # Nodes 1 and 2 both read node 0 only, so they may change places if node 3 follows.
    permuted = Genotype.parse(f"sep3(0)+skip(1) skip(1)+skip(2) max3(0)+sep3(2) dil5(4)+avg3(0) / {OTHER}")
    assert genotype.key == swapped.key == permuted.key
    assert len({genotype, swapped, permuted}) == 3
    for text in (f"{OTHER} / {CELL}", f"{CELL} / {CELL}", f"{CELL.replace('dil5', 'dil3')} / {OTHER}"):
        assert Genotype.parse(text).key != genotype.key


def test_key_is_its_own_canonical_text():
    rng = np.random.default_rng(1)
    for genotype in (SPACE.sample(rng) for _ in range(30)):
        assert Genotype.parse(genotype.key).key == genotype.key


def test_samples_reach_every_operation_and_every_pair_of_sources():
    rng = np.random.default_rng(0)
    nodes = [genotype.normal[3] for genotype in (SPACE.sample(rng) for _ in range(400))]
    assert {edge.operation for node in nodes for edge in node} == set(OPERATIONS)
    pairs = {tuple(sorted(edge.source for edge in node)) for node in nodes}
    assert pairs == set(itertools.combinations(range(5), 2))


def test_neighbours_differ_in_one_edge():
    genotype = Genotype.parse(f"{CELL} / {OTHER}")
    for near in SPACE.neighbours(genotype):
        ours = [edge for cell in (genotype.normal, genotype.reduction) for node in cell for edge in node]
        theirs = [edge for cell in (near.normal, near.reduction) for node in cell for edge in node]
        assert sum(a != b for a, b in zip(ours, theirs, strict=True)) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CELL, "with `/` between them"),
        (f"{CELL} / sep3(0)+skip(1)", "reduction cell must have 4 nodes. Received 1"),
        (f"{CELL} / {OTHER.replace('skip(0)', 'skp(0)', 1)}", "Received `skp`. Did you mean `skip`?"),
        (f"{CELL} / {OTHER.replace('skip(0)', 'skip(2)', 1)}", "node 2 of the reduction cell must be 0 to 1"),
        (f"{CELL} / {OTHER.replace('skip(0)', 'skip(1)', 1)}", "two edges from different sources"),
        (f"{CELL} / {OTHER.replace('+', ' ', 1)}", "as `sep3(0)+skip(1)`. Received `skip(0)`"),
    ],
)
def test_wrong_texts_are_explained(text, says):
    with pytest.raises(ValueError) as caught:
        SPACE.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tokens", [[0] * 15, [35] + [0] * 15, [-1] + [0] * 15])
def test_wrong_tokens(tokens):
    with pytest.raises(ValueError, match="integers from 0 to 34"):
        SPACE.decode(tokens)


def test_the_picture_has_a_box_for_every_operation_node_and_end():
    axes = Figure().subplots()
    SPACE.draw(Genotype.parse(f"{CELL} / {OTHER}"), axes)
    boxes = [patch for patch in axes.patches if type(patch).__name__ == "FancyBboxPatch"]
    arrows = [patch for patch in axes.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(boxes) == 2 * (2 + 8 + 4 + 1)
    assert len(arrows) == 2 * (8 + 8 + 4)
