"""The space of mixed-block networks: membership, count, repair, neighbours, variants, samples."""

import itertools

import keras_tuner
import numpy as np
import pytest

from tests.conformance import check_search_space
from tfmedcai.search_spaces.mixed_block import STAGES, MixedBlockSpace
from tfmedcai.search_spaces.mixed_block_nodes import BLOCKS, MixedBlock

UNET = "keep-vgg3 down-vgg3 down-vgg3 down-vgg3 down-vgg3 up-vgg3 up-vgg3+4 up-vgg3+3 up-vgg3+2 keep-vgg3+1"


def every(space):
    """All architectures of a small space, one by one, without its own counting or repair."""
    found = set()
    for values in itertools.product(*space.choices.values()):
        nodes = list(space.plain.nodes)
        for name, value in zip(space.choices, values, strict=True):
            kind, number = name.split("_")
            nodes[int(number) - 1] = nodes[int(number) - 1]._replace(**{kind: value})
        try:
            found.add(space.parse(str(MixedBlock(tuple(nodes)))))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("variant", STAGES)
def test_is_a_search_space(variant):
    check_search_space(MixedBlockSpace(variant=variant), count=15)


@pytest.mark.parametrize(
    "settings",
    [
        {"nodes": 5, "variant": "macro"},
        {"nodes": 5, "variant": "macro", "deepest": 1},
        {"nodes": 5, "variant": "macro", "deepest": 1, "full_resolution": True},
        {"nodes": 3, "blocks": ("vgg", "dense"), "kernel_sizes": (3, 5)},
        {"nodes": 4, "blocks": ("dense",), "kernel_sizes": (1, 3), "full_resolution": True},
        {"nodes": 4, "variant": "micro", "blocks": ("vgg", "dense", "residual"), "kernel_sizes": (5, 7)},
        {"nodes": 4, "variant": "bilevel", "kernel_sizes": (3, 5)},
        {"nodes": 3, "deepest": 0, "blocks": ("vgg",), "kernel_sizes": (3,)},
    ],
)
def test_count_agrees_with_enumeration(settings):
    space = MixedBlockSpace(**settings)
    everything = every(space)
    assert space.count() == len(everything)
    rng = np.random.default_rng(0)
    assert {space.sample(rng) for _ in range(50)} <= everything
    reached = [near for architecture in list(everything)[:20] for near in space.neighbours(architecture)]
    assert set(reached) <= everything


def test_size_of_the_paper():
    # The paper does not say how it counts: (3 scalings x 4 blocks x 4 kernels)^8 x 8! rounds to its number; so nearly
    # does the default space.
    assert f"{48**8 * 40320:.3g}" == "1.14e+18"
    assert MixedBlockSpace().count() == 1_181_540_827_168_505_856
    assert MixedBlockSpace(variant="micro").count() == 12**10
    assert MixedBlockSpace(variant="bilevel").count() == MixedBlockSpace(variant="macro").count() * 3**10


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        ({}, "keep-vgg3 keep-vgg3", "has 3 nodes. Received 2"),
        ({}, "keep-vgg3 keep-vgg9 keep-vgg3", "Node 2 of this space must have kernel `3` or `5` or `7`. Received `9`"),
        ({"deepest": 1}, "down-vgg3 down-vgg3 up-vgg3", "Node 2 of this space may halve the resolution 1 times"),
        ({"full_resolution": True}, "keep-vgg3 down-vgg3 keep-vgg3", "Node 3 of this space may halve the resolution 0"),
        ({"variant": "macro"}, "keep-dense3 keep-vgg3 keep-vgg3", "Node 1 of this space must have block `vgg`"),
        ({"variant": "micro"}, "keep-vgg3 down-vgg3 up-vgg3", "Node 2 of this space must have scaling `keep`"),
        ({"variant": "micro"}, "keep-vgg3 keep-vgg3 keep-vgg3+1", "Node 3 of this space must have skip `0`"),
    ],
)
def test_architectures_of_other_spaces(settings, text, message):
    with pytest.raises(ValueError) as caught:
        MixedBlockSpace(nodes=3, **settings).parse(text)
    assert message in str(caught.value)


def test_another_scaling_moves_what_follows_and_repairs_the_skips():
    space = MixedBlockSpace(nodes=6, variant="macro")
    options = space.options(space.parse("keep-vgg3 down-vgg3 keep-vgg3 up-vgg3+2 keep-vgg3+1 keep-vgg3+4"), "scaling_2")
    # Without the way down there is no way up: node 4 stays at full resolution, where all skips still fit.
    assert [str(option) for option in options] == [
        "keep-vgg3 keep-vgg3 keep-vgg3 keep-vgg3+2 keep-vgg3+1 keep-vgg3+4",
    ]
    (deeper,) = space.options(space.parse("down-vgg3 down-vgg3 up-vgg3 keep-vgg3+1 keep-vgg3 keep-vgg3"), "scaling_3")[
        :1
    ]
    # Node 3 lies deeper now, so that the output of node 1 no longer fits into node 4.
    assert str(deeper) == "down-vgg3 down-vgg3 down-vgg3 keep-vgg3 keep-vgg3 keep-vgg3"


def test_depth_is_kept_by_repair():
    space = MixedBlockSpace(nodes=4, deepest=1, variant="macro", full_resolution=True)
    (near,) = space.options(space.parse("keep-vgg3 down-vgg3 up-vgg3 keep-vgg3+1"), "scaling_1")
    assert near.levels == (1, 1, 0, 0)
    hp = keras_tuner.HyperParameters()
    hp.values = {f"scaling_{number}": "down" for number in range(1, 5)}
    assert space.declare(hp).levels == (1, 1, 1, 0)


def test_options_are_the_other_values():
    space = MixedBlockSpace()
    unet = MixedBlock.unet()
    assert [near.nodes[4].block for near in space.options(unet, "block_5")] == list(BLOCKS[1:])
    assert [near.nodes[4].kernel for near in space.options(unet, "kernel_5")] == [5, 7]
    assert [near.nodes[9].skip for near in space.options(unet, "skip_10")] == [0]
    assert [near.nodes[9].scaling for near in space.options(unet, "scaling_10")] == ["down"]
    assert len(space.variables(unet)) == 38


def test_stages_of_bilevel_begin_with_the_topology():
    space = MixedBlockSpace(variant="bilevel")
    unet = MixedBlock.unet()
    kinds = [{name.split("_")[0] for name in space.variables(unet, stage)} for stage in range(space.stages)]
    assert kinds == [{"scaling", "skip"}, {"kernel"}]
    rng = np.random.default_rng(0)
    starts = [space.start(rng) for _ in range(20)]
    assert {(node.block, node.kernel) for start in starts for node in start.nodes} == {("vgg", 3)}
    assert len({start.levels for start in starts}) > 10
    assert {node.kernel for node in space.sample(rng).nodes} == {3, 5, 7}


def test_levels_are_drawn_uniformly():
    space = MixedBlockSpace(nodes=3, deepest=2, variant="macro", full_resolution=True)
    rng = np.random.default_rng(0)
    counts = {}
    for _ in range(4000):
        levels = space.sample(rng).levels
        counts[levels] = counts.get(levels, 0) + 1
    assert sorted(counts) == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]
    assert all(abs(count - 1000) < 5 * np.sqrt(1000) for count in counts.values())


def test_hyper_parameters():
    space = MixedBlockSpace(nodes=3)
    values = space.values(space.parse("keep-dense5 keep-vgg3 down-residual7+1"))
    assert values == {
        "scaling_1": "keep", "block_1": "dense", "kernel_1": 5,
        "scaling_2": "keep", "block_2": "vgg", "kernel_2": 3,
        "scaling_3": "down", "block_3": "residual", "kernel_3": 7, "skip_3": 1,
    }  # fmt: skip
    hp = keras_tuner.HyperParameters()
    hp.values = {**values, "scaling_1": "up", "scaling_2": "down"}
    assert str(space.declare(hp)) == "keep-dense5 down-vgg3 down-residual7"


def test_tokens():
    space = MixedBlockSpace(nodes=3)
    architecture = space.parse("keep-dense5 keep-vgg3 down-residual7+1")
    assert space.encode(architecture).tolist() == [1, 2, 1, 1, 0, 0, 0, 1, 2, 1]
    assert space.decode([1, 2, 1, 1, 0, 0, 3, 1, 2, 3]) == architecture
    with pytest.raises(ValueError, match=r"`tokens` must be \(10,\) integers from 0 to 3. Received"):
        space.decode([4] * 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nodes": 0}, "`nodes` must be at least 1"),
        ({"deepest": -1}, "`deepest` at least 0"),
        ({"variant": "micros"}, "`variant` must be one of mixed, macro, micro, bilevel. Received `micros`"),
        ({"blocks": ()}, "`blocks` must be some of vgg, residual, dense, inception, each once"),
        ({"blocks": ("vgg", "vgg")}, "each once"),
        ({"kernel_sizes": (3, 4)}, "`kernel_sizes` must be odd numbers"),
        ({"variant": "bilevel", "kernel_sizes": (5, 7)}, "`kernel_sizes` must hold 3"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MixedBlockSpace(**settings)
