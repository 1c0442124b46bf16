"""A mixed-block network as a value: its cells, what they mean, their text form, how they are repaired, and U-Net."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from tfmedcai.registry import did_you_mean

SPACE = "mixed_block"
STEPS = {"down": 1, "keep": 0, "up": -1}  # scaling of a cell -> step of the level
BLOCKS = ("vgg", "residual", "dense", "inception")
NO_SKIP = 0
FORM = re.compile(r"(?P<scaling>[a-z]+)-(?P<block>[a-z]+)(?P<kernel>\d+)(\+(?P<skip>[1-9]\d*))?")


class Node(NamedTuple):
    """One cell of the network; the names in brackets are those of the paper.

    Attributes:
        scaling: "down" halves the resolution and doubles the channels, "up" does the opposite, "keep" neither (a).
        block: family of the block, out of `BLOCKS` (b).
        kernel: edge of the convolution kernels in px, odd (c).
        skip: number, from 1, of an earlier node whose output is concatenated to the input, or 0 for none (d).
    """

    scaling: str = "keep"
    block: str = "vgg"
    kernel: int = 3
    skip: int = NO_SKIP


def levels_of(nodes: Sequence[Node]) -> tuple[int, ...]:
    """Returns for every node how often the resolution of the image is halved in its output.

    >>> levels_of([Node(), Node("down"), Node("up")])
    (0, 1, 0)
    """
    level, result = 0, []
    for node in nodes:
        level += STEPS[node.scaling]
        result.append(level)
    return tuple(result)


def skip_sources(levels: Sequence[int], number: int) -> list[int]:
    """Lists the nodes that may feed a skip into a node: those of the resolution of the output before it.

    Args:
        levels: levels of all nodes.
        number: number of the node that takes the skip, from 1.

    Returns:
        Numbers, from 1, of nodes before the preceding one, whose output enters anyway.

    Reference:
        MB-NAS, section 2.1.

    >>> skip_sources([0, 0, 1, 0, 0], 5)
    [1, 2]
    """
    return [source for source in range(1, number - 1) if levels[source - 1] == levels[number - 2]]


def repaired(nodes: Sequence[Node], limits: Sequence[int]) -> tuple[Node, ...]:
    """Makes nodes valid with the least change, from the first to the last.

    A level outside the space becomes the nearest one inside; then every skip whose source has another resolution than
    the input of its node is removed.

    Args:
        nodes: any nodes.
        limits: for every node the deepest level that it may have; one less at most than that of the node before.

    Returns:
        Nodes of the same number; valid ones are returned as they are.

    >>> repaired([Node("up"), Node("down"), Node("keep", skip=1)], limits=[5, 5, 5])[::2]
    (Node(scaling='keep', block='vgg', kernel=3, skip=0), Node(scaling='keep', block='vgg', kernel=3, skip=0))
    """
    names = {step: scaling for scaling, step in STEPS.items()}
    last, rescaled = 0, []
    for node, limit in zip(nodes, limits, strict=True):
        level = min(max(last + STEPS[node.scaling], 0), limit)
        rescaled.append(node._replace(scaling=names[level - last]))
        last = level
    heights = levels_of(rescaled)
    return tuple(
        node if node.skip in skip_sources(heights, number) else node._replace(skip=NO_SKIP)
        for number, node in enumerate(rescaled, start=1)
    )


def unet_nodes(count: int, depth: int = 5) -> tuple[Node, ...]:
    """Returns the topology of U-Net with VGG blocks: down, up with a skip at every resolution, rest without scaling.

    Since a skip is concatenated before the scaling of its node, the skip at full resolution enters the node behind the
    last upscaling one, which takes one node more than usual.

    Args:
        count: number of nodes.
        depth: most halvings; fewer where there are not two nodes for each, and two more.

    >>> levels_of(unet_nodes(10)), [node.skip for node in unet_nodes(10)]
    ((0, 1, 2, 3, 4, 3, 2, 1, 0, 0), [0, 0, 0, 0, 0, 0, 4, 3, 2, 1])
    """
    depth = max(min(depth, (count - 2) // 2), 0)
    scalings = ["keep"] + ["down"] * depth + ["up"] * depth + ["keep"] * count
    nodes = [Node(scaling) for scaling in scalings[:count]]
    for source in range(1, depth + 1):
        nodes[2 * depth + 2 - source] = nodes[2 * depth + 2 - source]._replace(skip=source)
    return tuple(nodes)


@dataclass(frozen=True)
class MixedBlock:
    """A chain of cells with skips between equal resolutions.

    Args:
        nodes: the cells, in order.

    Raises:
        ValueError: if there is no node, a word is unknown, a kernel is even, a node lies above the resolution of the
            image, or a skip comes from a node that has another resolution or does not come before the preceding one.

    Reference:
        MB-NAS, section 2.1.

    >>> MixedBlock.parse("keep-vgg3 down-residual5 up-dense7 keep-inception3+1").levels
    (0, 1, 0, 0)
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("A mixed-block network must have nodes, for example `keep-vgg3 down-vgg3`. Received none.")
        for number, node in enumerate(self.nodes, start=1):
            self._check(number, node)

    def _check(self, number: int, node: Node) -> None:
        for word, known in ((node.scaling, STEPS), (node.block, BLOCKS)):
            if word not in known:
                raise ValueError(
                    f"A node is made of {', '.join(known)}. Received `{word}` at node {number}."
                    f"{did_you_mean(word, known)}"
                )
        if node.kernel % 2 != 1 or node.kernel < 1:
            raise ValueError(f"The kernel of a node must be odd. Received {node.kernel} px at node {number}.")
        heights = levels_of(self.nodes[:number])
        if heights[-1] < 0:
            raise ValueError(f"No node may lie above the resolution of the image. Node {number} does: it cannot be up.")
        sources = [NO_SKIP, *skip_sources(heights, number)]
        if node.skip not in sources:
            raise ValueError(
                f"The skip of node {number} must come from one of {sources} (0 is none), which have the resolution of "
                f"its input. Received {node.skip}."
            )

    @classmethod
    def parse(cls, text: str) -> MixedBlock:
        """Reads nodes separated by spaces: scaling, block and kernel, and `+` with the source of a skip.

        Returns:
            The architecture.

        Raises:
            ValueError: if a word has another form, or the nodes are not valid.
        """
        nodes = []
        for number, word in enumerate(text.split(), start=1):
            found = FORM.fullmatch(word)
            if found is None:
                raise ValueError(
                    "A node must be written as `down-vgg3`, or as `keep-vgg3+1` with a skip from node 1. "
                    f"Received `{word}` at node {number}."
                )
            parts = found.groupdict()
            nodes.append(Node(parts["scaling"], parts["block"], int(parts["kernel"]), int(parts["skip"] or NO_SKIP)))
        return cls(tuple(nodes))

    @classmethod
    def unet(cls, nodes: int = 10, depth: int = 5) -> MixedBlock:
        """Returns the U-Net with 3x3 VGG blocks; see `unet_nodes`.

        >>> str(MixedBlock.unet(nodes=4))
        'keep-vgg3 down-vgg3 up-vgg3 keep-vgg3+1'
        """
        return cls(unet_nodes(nodes, depth))

    def __str__(self) -> str:
        return " ".join(
            f"{node.scaling}-{node.block}{node.kernel}" + (f"+{node.skip}" if node.skip else "") for node in self.nodes
        )

    @property
    def key(self) -> str:
        """The text: two different descriptions are two different networks."""
        return str(self)

    @property
    def space(self) -> str:
        """Name of the space that reads the text back."""
        return SPACE

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """How often the resolution of the image is halved in the output of each node."""
        return levels_of(self.nodes)
