"""Mixed-block networks: topology and cells of an encoder-decoder searched together, one block family for each node."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from tfmedcai.search_spaces.mixed_block_count import count_topologies, count_walks, level_limits
from tfmedcai.search_spaces.mixed_block_nodes import (
    BLOCKS,
    NO_SKIP,
    SPACE,
    STEPS,
    MixedBlock,
    Node,
    levels_of,
    repaired,
    skip_sources,
    unet_nodes,
)
from tfmedcai.search_spaces.space import SearchSpace, Value

if TYPE_CHECKING:
    import keras_tuner
    from matplotlib.axes import Axes

Variant = Literal["mixed", "macro", "micro", "bilevel"]

# Variant -> what is searched in each stage; the rest is U-Net with plain VGG blocks (MB-NAS, section 2.4).
STAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "mixed": (Node._fields,),
    "macro": (("scaling", "skip"),),
    "micro": (("block", "kernel"),),
    "bilevel": (("scaling", "skip"), ("kernel",)),
}


class MixedBlockSpace(SearchSpace[MixedBlock]):
    """All mixed-block networks of some number of nodes, or a part of them.

    Every free variable of every node is one hyper-parameter and one token, named `scaling_1`, `block_1`, `kernel_1` (a,
    b and c of the paper) up to the last node and `skip_3` (d) from the third node on. A token is the number of the
    choice, modulo the number of choices. Values that do not fit together are repaired: levels are kept inside, and a
    skip whose source has another resolution is removed.

    Args:
        nodes: number of nodes.
        deepest: most halvings of the resolution.
        full_resolution: whether the last node must have the resolution of the image; otherwise the network ends with
            upsampling.
        blocks: block families to choose from.
        kernel_sizes: edges of the kernels to choose from, in px; the paper does not say which.
        variant: "mixed" searches all variables together, "macro" topology only, "micro" cells only, in the topology of
            U-Net, "bilevel" topology first, kernels afterwards. Where blocks or kernels are not searched, they are VGG
            and 3 px.

    Raises:
        ValueError: if a number is out of range, or a choice or variant is unknown, missing or doubled.

    Reference:
        MB-NAS, sections 2.1 and 2.4.

    >>> MixedBlockSpace(variant="macro").count()
    19082544
    >>> MixedBlockSpace(nodes=4).decode([0] * MixedBlockSpace(nodes=4).sequence_length).levels
    (1, 2, 3, 4)
    """

    name = SPACE
    network = "mixed_block_net"

    def __init__(
        self,
        nodes: int = 10,
        deepest: int = 5,
        full_resolution: bool = False,
        blocks: Sequence[str] = BLOCKS,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        variant: Variant = "mixed",
    ) -> None:
        _check_settings(nodes, deepest, variant)
        _check_choices("blocks", blocks, BLOCKS)
        _check_choices("kernel_sizes", kernel_sizes, range(1, 100, 2))
        self.kinds, self.limits = STAGES[variant], level_limits(nodes, deepest, full_resolution)
        self.stages = len(self.kinds)
        if self.stages > 1 and Node().kernel not in kernel_sizes:
            raise ValueError(
                f"`kernel_sizes` must hold 3, with which the topology is searched. Received {kernel_sizes}."
            )
        self.plain = MixedBlock((Node(),) * nodes if self._frees("scaling") else unet_nodes(nodes, deepest))
        self.choices: dict[str, Sequence[Value]] = {}  # name of a variable -> its choices
        for number in range(1, nodes + 1):
            choices = {"scaling": tuple(STEPS), "block": tuple(blocks), "kernel": tuple(kernel_sizes)}
            choices |= {"skip": range(number - 1)} if number > 2 else {}
            self.choices |= {f"{kind}_{number}": values for kind, values in choices.items() if self._frees(kind)}
        self.sequence_length = len(self.choices)
        self.vocabulary_size = max(map(len, self.choices.values()))

    def _frees(self, kind: str) -> bool:
        return any(kind in kinds for kinds in self.kinds)

    def _made(self, values: Mapping[str, Value], base: MixedBlock) -> MixedBlock:
        nodes = list(base.nodes)
        for name, value in values.items():
            kind, number = _split(name)
            nodes[number - 1] = nodes[number - 1]._replace(**{kind: value})
        return MixedBlock(repaired(nodes, self.limits))

    def count(self) -> int:
        """Returns the exact number of architectures of this space.

        The paper states 1.14e18 for 10 nodes without saying which kernels and resolutions that takes.

        >>> f"{MixedBlockSpace().count():.2e}"
        '1.18e+18'
        """
        cells = math.prod(
            len(choices) for name, choices in self.choices.items() if name.startswith(("block", "kernel"))
        )
        return cells * (count_topologies(self.limits) if self._frees("scaling") else 1)

    def sample(self, rng: np.random.Generator) -> MixedBlock:
        """Draws the levels uniformly from all valid courses, then every block, kernel and skip uniformly.

        Args:
            rng: source of randomness.

        Returns:
            An architecture.
        """
        return self._draw(rng, [kind for kinds in self.kinds for kind in kinds])

    def start(self, rng: np.random.Generator) -> MixedBlock:
        """Draws what the first stage searches; the rest is plain.

        Args:
            rng: source of randomness.

        Returns:
            An architecture.
        """
        return self._draw(rng, self.kinds[0])

    def _draw(self, rng: np.random.Generator, kinds: Iterable[str]) -> MixedBlock:
        steps = self._draw_scalings(rng) if "scaling" in kinds else [node.scaling for node in self.plain.nodes]
        levels = levels_of([Node(step) for step in steps])
        nodes = []
        for number, node in enumerate(self.plain.nodes, start=1):
            drawn = {"scaling": steps[number - 1]}
            for kind in ("block", "kernel"):
                if kind in kinds:
                    drawn[kind] = _one_of(rng, self.choices[f"{kind}_{number}"])
            if "skip" in kinds:
                drawn["skip"] = _one_of(rng, [NO_SKIP, *skip_sources(levels, number)])
            nodes.append(node._replace(**drawn))
        return MixedBlock(tuple(nodes))

    def _draw_scalings(self, rng: np.random.Generator) -> list[str]:
        limits, level, scalings = self.limits, 0, []
        for place, limit in enumerate(limits):
            inside = [scaling for scaling, step in STEPS.items() if 0 <= level + step <= limit]
            ways = [count_walks(level + STEPS[scaling], limits[place + 1 :]) for scaling in inside]
            chosen = inside[int(np.searchsorted(np.cumsum(ways), rng.integers(sum(ways)), side="right"))]
            scalings.append(chosen)
            level += STEPS[chosen]
        return scalings

    def neighbours(self, architecture: MixedBlock) -> list[MixedBlock]:
        """Lists the architectures that one changed variable makes, repaired where the rest no longer fits.

        Args:
            architecture: an architecture of this space.

        Returns:
            Distinct architectures in a fixed order.
        """
        return self._changed_to(architecture, ((name, value) for name in self.choices for value in self.choices[name]))

    def variables(self, architecture: MixedBlock, stage: int = 0) -> list[str]:
        """Names the variables of a stage: in "bilevel" those of the topology, then the kernels.

        Args:
            architecture: an architecture of this space.
            stage: number of the stage, from 0.

        Returns:
            Distinct names in a fixed order.
        """
        return [name for name in self.choices if _split(name)[0] in self.kinds[stage]]

    def options(self, architecture: MixedBlock, variable: str) -> list[MixedBlock]:
        """Lists the architectures with the other values of one variable, repaired where the rest no longer fits.

        Another scaling moves all levels behind it, so that the scalings of the other nodes stay what they are.

        Args:
            architecture: an architecture of this space.
            variable: one of `variables`.

        Returns:
            Distinct architectures in a fixed order.
        """
        return self._changed_to(architecture, ((variable, value) for value in self.choices.get(variable, ())))

    def _changed_to(self, architecture: MixedBlock, changes: Iterable[tuple[str, Value]]) -> list[MixedBlock]:
        found = {near.key: near for name, value in changes for near in [self._made({name: value}, architecture)]}
        found.pop(architecture.key, None)
        return list(found.values())

    def parse(self, text: str) -> MixedBlock:
        """Reads an architecture of this space.

        Args:
            text: see `MixedBlock.parse`.

        Returns:
            The architecture.

        Raises:
            ValueError: if the text is malformed, or is an architecture of a larger space.

        >>> MixedBlockSpace(nodes=2, variant="macro").parse("keep-vgg3 down-dense3")
        Traceback (most recent call last):
        ...
        ValueError: Node 2 of this space must have block `vgg`. Received `dense`.
        """
        architecture = MixedBlock.parse(text)
        if len(architecture.nodes) != len(self.plain.nodes):
            raise ValueError(
                f"An architecture of this space has {len(self.plain.nodes)} nodes. Received {len(architecture.nodes)}: "
                "set `nodes` to that."
            )
        for number, (level, limit) in enumerate(zip(architecture.levels, self.limits, strict=True), start=1):
            if level > limit:
                raise ValueError(
                    f"Node {number} of this space may halve the resolution {limit} times at most. Received {level}."
                )
        for number, (node, plain) in enumerate(zip(architecture.nodes, self.plain.nodes, strict=True), start=1):
            for kind, value in node._asdict().items():
                # The class has checked free scalings and skips, also of the first nodes, which have no choice.
                known = self.choices.get(f"{kind}_{number}", [getattr(plain, kind)])
                if value not in known:
                    known = " or ".join(f"`{choice}`" for choice in known)
                    raise ValueError(f"Node {number} of this space must have {kind} {known}. Received `{value}`.")
        return architecture

    def declare(self, hp: keras_tuner.HyperParameters) -> MixedBlock:
        """Declares all free variables, always active, so that any oracle can search.

        Args:
            hp: where to declare; its present values, repaired, make the architecture.

        Returns:
            The architecture of the present values.
        """
        values = {
            # No order but that of kernel sizes means anything to an oracle that models the score.
            name: cast(Value, hp.Choice(name, list(choices), ordered=name.startswith("kernel")))
            for name, choices in self.choices.items()
        }
        return self._made(values, self.plain)

    def values(self, architecture: MixedBlock) -> dict[str, Value]:
        """Gives the values of `declare`.

        Args:
            architecture: an architecture of this space.

        Returns:
            A value for every declared name.
        """
        split = {name: _split(name) for name in self.choices}
        return {name: getattr(architecture.nodes[number - 1], kind) for name, (kind, number) in split.items()}

    def encode(self, architecture: MixedBlock) -> np.ndarray:
        """Writes an architecture as the numbers of its choices.

        Args:
            architecture: an architecture of this space.

        Returns:
            `(sequence_length,)` int32.
        """
        values = self.values(architecture)
        return np.array([self.choices[name].index(value) for name, value in values.items()], np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> MixedBlock:
        """Reads numbers of choices, each modulo the number of choices, repaired where they do not fit together.

        Args:
            tokens: `(sequence_length,)` integers from 0, below `vocabulary_size`.

        Returns:
            The architecture.

        Raises:
            ValueError: if the shape is another or a token is out of range.
        """
        pairs = zip(self.choices.items(), self.checked_tokens(tokens), strict=True)
        return self._made({name: choices[int(token) % len(choices)] for (name, choices), token in pairs}, self.plain)

    def draw(self, architecture: MixedBlock, axes: Axes) -> None:
        """Draws the nodes from left to right, a row for each resolution, with the skips between them.

        Args:
            architecture: a mixed-block network.
            axes: empty matplotlib axes.
        """
        # Imported here, since only a picture needs matplotlib.
        from tfmedcai.search_spaces.mixed_block_drawing import draw_network

        draw_network(architecture.nodes, axes)


def _split(name: str) -> tuple[str, int]:
    kind, number = name.split("_")
    return kind, int(number)


def _one_of(rng: np.random.Generator, choices: Sequence[Value]) -> Value:
    return choices[int(rng.integers(len(choices)))]


def _check_settings(nodes: int, deepest: int, variant: str) -> None:
    if nodes < 1 or deepest < 0:
        raise ValueError(
            f"`nodes` must be at least 1 and `deepest` at least 0 halvings. Received {nodes} and {deepest}."
        )
    if variant not in STAGES:
        raise ValueError(f"`variant` must be one of {', '.join(STAGES)}. Received `{variant}`.")


def _check_choices(name: str, choices: Sequence[Value], known: Iterable[Value]) -> None:
    choices = tuple(choices)
    if not choices or len(set(choices)) < len(choices) or not set(choices) <= set(known):
        what = "odd numbers below 100" if name == "kernel_sizes" else f"some of {', '.join(map(str, known))}"
        raise ValueError(f"`{name}` must be {what}, each once. Received {choices}.")
