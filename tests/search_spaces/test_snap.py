"""Text, tokens, hyper-parameters, neighbours and keys of SNAPs."""

import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance import check_search_space
from tests.search_spaces.snap_reference import block_parameters
from tfmedcai.search_spaces.snap import Snap, SnapSpace
from tfmedcai.search_spaces.snap_graph import SYMBOLS, underflows

programs = st.lists(st.sampled_from(SYMBOLS), max_size=12).map(tuple)


@pytest.mark.parametrize("space", [SnapSpace(), SnapSpace(underflow="reject"), SnapSpace(max_length=3)])
def test_is_a_search_space(space):
    check_search_space(space)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("(empty)", "merge(0,1)"),
        ("merge", "merge(0,1)"),
        ("merge merge", "merge(0,1)"),
        ("conv3x3", "conv3x3(1) merge(0,2)"),
        ("switch conv3x3", "conv3x3(0) merge(1,2)"),
        ("branch conv3x3 merge", "conv3x3(1) merge(1,2) merge(0,3)"),
        ("branch conv3x3 switch conv3x3", "conv3x3(1) conv3x3(1) merge(0,2,3)"),
        ("branch maxpool3x3 switch maxpool3x3", "maxpool3x3(1) merge(0,2,2)"),
        ("branch", "merge(0,1,1)"),
        ("branch merge", "merge(1,1) merge(0,2)"),
        ("merge branch", "merge(0,1) merge(2,2)"),
    ],
)
def test_key_by_hand(text, key):
    assert Snap.parse(text).key == key


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("(empty)", 1248),
        ("conv3x3", 6480),
        ("branch conv3x3 merge", 7728),
        ("merge merge", 1248),
        ("switch conv1x1 merge dws3x3", 2712),
        ("branch dws3x3 switch conv3x3 merge maxpool3x3", 8568),
    ],
)
def test_parameters_of_published_rules(text, parameters):
    assert block_parameters(Snap.parse(text), filters=24) == parameters


@settings(deadline=None)
@given(programs, st.data())
def test_symbols_without_effect_keep_the_key(symbols, data):
    place = data.draw(st.integers(0, len(symbols)))
    head, tail = symbols[:place], symbols[place:]
    size = 2
    for symbol in head:
        size = max(1, size + {"branch": 1, "merge": -1}.get(symbol, 0))
    nothing = [("switch", "switch")] if size > 1 else [("switch",), ("merge",), ("switch", "merge", "switch")]
    if tail[:1] == ("merge",) and size > 1:
        nothing.append(("switch",))
    if head[-1:] == ("branch",):
        nothing.append(("switch",))
    inserted = data.draw(st.sampled_from(nothing))
    assert Snap(head + inserted + tail).key == Snap(symbols).key


@settings(deadline=None)
@given(programs, programs)
def test_other_sizes_have_other_keys(one, other):
    a, b = Snap(one), Snap(other)
    if block_parameters(a, 24) != block_parameters(b, 24) or block_parameters(a, 7) != block_parameters(b, 7):
        assert a.key != b.key


def test_explicit_merges_are_not_one_wide_merge():
    assert Snap.parse("branch merge merge").key != Snap.parse("branch").key


@settings(deadline=None)
@given(programs)
def test_text_and_tokens_are_read_back(symbols):
    space = SnapSpace()
    assert space.parse(str(Snap(symbols))) == Snap(symbols)
    assert space.decode(space.encode(Snap(symbols))) == Snap(symbols)


def test_tokens():
    space = SnapSpace(max_length=5)
    assert space.encode(Snap.parse("conv1x1 switch merge")).tolist() == [1, 8, 7, 0, 0]
    assert str(space.decode([2, 0, 3, 4, 5])) == "conv3x3"
    assert str(space.decode([0] * 5)) == "(empty)"
    assert str(space.decode([1, 2, 3, 4, 5])) == "conv1x1 conv3x3 dw3x3 dws3x3 maxpool3x3"


@pytest.mark.parametrize("tokens", [[1, 2, 3], [9, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [0.5, 0, 0, 0, 0]])
def test_wrong_tokens(tokens):
    with pytest.raises(ValueError, match=r"`tokens` must be \(5,\) integers from 0 to 8. Received"):
        SnapSpace(max_length=5).decode(tokens)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("branch conv3x4 merge", "Received `conv3x4` at place 2. Did you mean `conv3x3`?"),
        ("branch, merge", "Received `branch,` at place 1. Did you mean `branch`?"),
        ("conv1x1 banana", "Received `banana` at place 2."),
        ("  ", "or be `(empty)`. Got none."),
        ("branch (empty)", "Received `(empty)` at place 2."),
        (" ".join(["branch"] * 13), "at most 12 symbols. Received 13"),
    ],
)
def test_malformed_text(text, message):
    with pytest.raises(ValueError) as caught:
        SnapSpace().parse(text)
    assert message in str(caught.value)


def test_rejected_underflow():
    space = SnapSpace(underflow="reject")
    with pytest.raises(ValueError, match=r"`switch` at place 3 needs two tensors on the stack, one is there"):
        space.parse("merge conv1x1 switch")
    assert str(space.decode([7, 8, 2, 7, 6, 8, 0, 0, 0, 0, 0, 0])) == "merge conv3x3 branch switch"
    rng = np.random.default_rng(0)
    assert not any(underflows(space.sample(rng).symbols) for _ in range(300))
    assert not any(underflows(snap.symbols) for snap in space.neighbours(space.parse("merge conv1x1 branch switch")))


def test_samples_are_uniform():
    rng = np.random.default_rng(0)
    samples = [SnapSpace().sample(rng).symbols for _ in range(6000)]
    lengths = np.bincount([len(symbols) for symbols in samples], minlength=13)
    assert lengths[0] == 0
    assert (abs(lengths[1:] - 500) < 5 * np.sqrt(500)).all()
    counts = np.array([sum(symbols.count(name) for symbols in samples) for name in SYMBOLS])
    assert (abs(counts - counts.mean()) < 5 * np.sqrt(counts.mean())).all()


def test_neighbours_are_the_single_edits():
    space = SnapSpace(max_length=2)
    keys = {snap.key for snap in space.neighbours(space.parse("conv1x1 switch"))}
    edits = [("conv1x1",), ("switch",), ("switch", "conv1x1")]
    edits += [("conv1x1", symbol) for symbol in SYMBOLS] + [(symbol, "switch") for symbol in SYMBOLS]
    assert keys == {Snap(edit).key for edit in edits} - {Snap.parse("conv1x1 switch").key}
    longer = SnapSpace(max_length=3).neighbours(space.parse("conv1x1 switch"))
    assert Snap.parse("conv1x1 dw3x3 switch").key in {snap.key for snap in longer}


def test_hyper_parameters():
    space = SnapSpace(max_length=4)
    values = {"length": 2, "symbol_1": "branch", "symbol_2": "dw3x3", "symbol_3": "conv1x1", "symbol_4": "conv1x1"}
    assert space.values(space.parse("branch dw3x3")) == values
    hp = keras_tuner.HyperParameters()
    hp.values = {**values, "symbol_4": "merge"}
    assert str(space.declare(hp)) == "branch dw3x3"
    assert space.values(Snap(()))["symbol_1"] == "merge"
    hp.values = {"length": 3, "symbol_1": "merge", "symbol_2": "switch", "symbol_3": "dw3x3", "symbol_4": "merge"}
    assert str(SnapSpace(max_length=4, underflow="reject").declare(hp)) == "merge dw3x3"


@pytest.mark.parametrize(("arguments", "message"), [({"max_length": 0}, "max_length"), ({"underflow": "x"}, "reject")])
def test_wrong_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        SnapSpace(**arguments)


def test_unknown_symbol():
    with pytest.raises(ValueError, match="Received `conv5x5` at place 1"):
        Snap(("conv5x5",))
