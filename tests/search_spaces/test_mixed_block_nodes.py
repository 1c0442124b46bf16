"""Mixed-block networks as values: text, validity, U-Net, repair."""

import pytest

from tfmedcai.search_spaces.mixed_block import MixedBlockSpace
from tfmedcai.search_spaces.mixed_block_nodes import STEPS, MixedBlock, Node, repaired, skip_sources, unet_nodes

UNET = "keep-vgg3 down-vgg3 down-vgg3 down-vgg3 down-vgg3 up-vgg3 up-vgg3+4 up-vgg3+3 up-vgg3+2 keep-vgg3+1"


def test_text_of_unet():
    unet = MixedBlock.unet()
    assert str(unet) == UNET
    assert MixedBlock.parse(UNET) == unet
    assert unet.levels == (0, 1, 2, 3, 4, 3, 2, 1, 0, 0)
    assert str(MixedBlock.unet(7)) == "keep-vgg3 down-vgg3 down-vgg3 up-vgg3 up-vgg3+2 keep-vgg3+1 keep-vgg3"
    assert MixedBlock.unet(10, depth=2).levels == (0, 1, 2, 1, 0, 0, 0, 0, 0, 0)
    for variant in ("mixed", "macro", "micro", "bilevel"):
        assert MixedBlockSpace(variant=variant).parse(UNET) == unet


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have nodes"),
        ("keep-vgg3 sideways-vgg3", "Received `sideways` at node 2"),
        ("keep-vgg3 down-vvg3", "Received `vvg` at node 2. Did you mean `vgg`?"),
        ("keep-vgg4", "must be odd. Received 4 px at node 1"),
        ("keep-vgg3 up-vgg3", "Node 2 does"),
        ("keep-vgg3 keep", "Received `keep` at node 2"),
        ("keep-vgg3 keep-vgg3+0", "Received `keep-vgg3+0` at node 2"),
        ("keep-vgg3 keep-vgg3+1", r"node 2 must come from one of [0] (0 is none)"),
        ("keep-vgg3 down-vgg3 keep-vgg3+1", r"node 3 must come from one of [0] (0 is none)"),
        ("keep-vgg3 down-vgg3 up-vgg3 keep-vgg3+2", r"node 4 must come from one of [0, 1] (0 is none)"),
    ],
)
def test_malformed_text(text, message):
    with pytest.raises(ValueError) as caught:
        MixedBlock.parse(text)
    assert message in str(caught.value)


def test_nodes_know_three_scalings():
    assert STEPS == {"down": 1, "keep": 0, "up": -1}
    with pytest.raises(ValueError, match="cannot be up"):
        MixedBlock((Node("up"),))


def test_hashable_and_equal_by_value():
    assert {MixedBlock.unet(), MixedBlock.parse(UNET)} == {MixedBlock.unet()}
    assert MixedBlock.unet().key == UNET
    assert MixedBlock.unet().space == "mixed_block"


def test_sources_of_a_skip_are_all_before_the_preceding_node():
    assert [skip_sources([0] * 5, number) for number in range(1, 6)] == [[], [], [1], [1, 2], [1, 2, 3]]
    assert skip_sources([0, 1, 1, 0, 1, 1], 6) == [2, 3]


def test_repair_returns_valid_nodes_as_they_are():
    for count in range(1, 12):
        assert repaired(unet_nodes(count), [5] * count) == unet_nodes(count)


def test_repair_keeps_levels_inside_and_drops_skips_that_no_longer_fit():
    nodes = [Node("down"), Node("down"), Node("up"), Node("keep", skip=1), Node("up", skip=2)]
    assert [node.scaling for node in repaired(nodes, [1] * 5)] == ["down", "keep", "up", "keep", "keep"]
    # Both sources lie one level deeper than what enters node 4 and node 5.
    assert [node.skip for node in repaired(nodes, [1] * 5)] == [0] * 5
    assert [node.skip for node in repaired(nodes, [5] * 5)] == [0, 0, 0, 1, 0]
