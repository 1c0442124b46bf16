"""Decoders of CSL as a search space: width, kernel and skip of every doubling, and what the heatmaps see."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from tfmedcai.search_spaces.space import SearchSpace, Value

if TYPE_CHECKING:
    import keras_tuner
    from matplotlib.axes import Axes

STAGES = 4
CONCATENATED, APART = "concatenated", "apart"
FORM = re.compile(r"(?P<width>\d+)%k(?P<kernel>\d+)(?P<skip>\+skip)?")
EXAMPLE = "100%k5+skip 100%k5+skip 100%k5+skip 100%k5+skip concatenated"


class Stage(NamedTuple):
    """One doubling of the resolution.

    Attributes:
        width: channels, in percent of the published number.
        kernel: edge of the kernel on the enlarged map in px, odd.
        skip: whether the map of the encoder at the new resolution is added.
    """

    width: int = 100
    kernel: int = 5
    skip: bool = True

    def __str__(self) -> str:
        return f"{self.width}%k{self.kernel}{'+skip' if self.skip else ''}"


@dataclass(frozen=True)
class CslDecoder:
    """The way from the last map of the encoder to classes and heatmaps at half of the image's resolution.

    Args:
        stages: four doublings, from the smallest map to the largest.
        concatenated: whether the heatmaps see the logits of the classes, beside the last map.

    Raises:
        ValueError: if there are not four stages or a number is impossible.

    Reference:
        Laina, Rieke et al., Concurrent segmentation and localization, MICCAI 2017, section 2.2.

    >>> str(CslDecoder())
    '100%k5+skip 100%k5+skip 100%k5+skip 100%k5+skip concatenated'
    """

    stages: tuple[Stage, ...] = (Stage(),) * STAGES
    concatenated: bool = True

    def __post_init__(self) -> None:
        if len(self.stages) != STAGES:
            raise ValueError(f"A decoder must have {STAGES} stages, `{EXAMPLE}`, say. Received {len(self.stages)}.")
        for number, stage in enumerate(self.stages, start=1):
            if stage.width < 1 or stage.kernel < 3 or stage.kernel % 2 == 0:
                raise ValueError(
                    f"Stage {number} must have a width above 0 and an odd kernel from 3. Received {stage}."
                )

    @classmethod
    def parse(cls, text: str) -> CslDecoder:
        """Returns the decoder of a text: four stages and how the heatmaps are made.

        Raises:
            ValueError: if the text has another form.
        """
        *words, last = text.split() or [""]
        found = [FORM.fullmatch(word) for word in words]
        if last not in (CONCATENATED, APART) or None in found:
            raise ValueError(
                f"A decoder must be written as `{EXAMPLE}`, the last word `{APART}` or that. Got `{text}`."
            )
        stages = (Stage(int(m["width"]), int(m["kernel"]), m["skip"] is not None) for m in found if m is not None)
        return cls(tuple(stages), last == CONCATENATED)

    def __str__(self) -> str:
        return " ".join([*map(str, self.stages), CONCATENATED if self.concatenated else APART])

    @property
    def key(self) -> str:
        """The text itself: no two decoders are one."""
        return str(self)

    @property
    def space(self) -> str:
        """Name of the space that reads the text back."""
        return CslDecoderSpace.name


class CslDecoderSpace(SearchSpace[CslDecoder]):
    """All decoders out of some widths and kernels.

    `width_1`, `kernel_1`, `skip_1` to `skip_4` and `concatenated` are one hyper-parameter and one token each; a token
    is the number of the choice, modulo the number of choices.

    Args:
        widths: channels of a stage to choose from, in percent of the published number.
        kernel_sizes: edges of the unpooled convolutions to choose from, in px.

    Raises:
        ValueError: if a choice is impossible, missing or doubled.

    >>> space = CslDecoderSpace()
    >>> space.count()
    41472
    >>> str(space.decode([0] * space.sequence_length))
    '50%k3 50%k3 50%k3 50%k3 apart'
    """

    name = "csl_decoder"
    network = "csl_net"

    def __init__(self, widths: Sequence[int] = (50, 100, 200), kernel_sizes: Sequence[int] = (3, 5)) -> None:
        for name, choices in (("widths", widths), ("kernel_sizes", kernel_sizes)):
            if not choices or len(set(choices)) < len(choices):
                raise ValueError(f"`{name}` must be one or more numbers, each once. Received {tuple(choices)}.")
        kinds: dict[str, Sequence[Value]] = {
            "width": tuple(widths), "kernel": tuple(kernel_sizes), "skip": (False, True)
        }  # fmt: skip
        self.choices = {f"{kind}_{place}": kinds[kind] for place in range(1, STAGES + 1) for kind in kinds}
        self.choices |= {"concatenated": (False, True)}
        self.sequence_length = len(self.choices)
        self.vocabulary_size = max(map(len, self.choices.values()))
        for width in widths:
            CslDecoder((Stage(width, max(kernel_sizes)),) * STAGES)

    def _made(self, values: Mapping[str, Value], base: CslDecoder) -> CslDecoder:
        stages, concatenated = list(base.stages), base.concatenated
        for name, value in values.items():
            kind, _, place = name.partition("_")
            if place:
                stages[int(place) - 1] = stages[int(place) - 1]._replace(**{kind: value})
            else:
                concatenated = cast(bool, value)
        return replace(base, stages=tuple(stages), concatenated=concatenated)

    def count(self) -> int:
        """Counts the decoders of this space."""
        return math.prod(map(len, self.choices.values()))

    def sample(self, rng: np.random.Generator) -> CslDecoder:
        """Draws every choice uniformly."""
        return self.decode([int(rng.integers(len(choices))) for choices in self.choices.values()])

    def neighbours(self, architecture: CslDecoder) -> list[CslDecoder]:
        """Lists the decoders that one other choice makes."""
        return [near for name in self.choices for near in self.options(architecture, name)]

    def variables(self, architecture: CslDecoder, stage: int = 0) -> list[str]:
        """Names all choices."""
        return list(self.choices)

    def options(self, architecture: CslDecoder, variable: str) -> list[CslDecoder]:
        """Lists the decoders with the other values of one choice."""
        made: Iterable[CslDecoder] = (
            self._made({variable: value}, architecture) for value in self.choices.get(variable, ())
        )
        return [near for near in made if near != architecture]

    def parse(self, text: str) -> CslDecoder:
        """Returns the decoder of a text, if it is of this space.

        Raises:
            ValueError: if the text has another form or a value that this space does not offer.

        >>> CslDecoderSpace(widths=[100]).parse("50%k5 100%k5 100%k5 100%k5 apart")
        Traceback (most recent call last):
        ...
        ValueError: `width_1` of this space must be 100. Received 50.
        """
        architecture = CslDecoder.parse(text)
        for name, value in self.values(architecture).items():
            if value not in self.choices[name]:
                known = " or ".join(map(str, self.choices[name]))
                raise ValueError(f"`{name}` of this space must be {known}. Received {value}.")
        return architecture

    def declare(self, hp: keras_tuner.HyperParameters) -> CslDecoder:
        """Declares all choices, always active, and returns the decoder of their present values."""
        made: dict[str, Any] = {
            name: hp.Choice(name, list(choices), ordered=True) if len({*choices} - {True, False}) else hp.Boolean(name)
            for name, choices in self.choices.items()
        }
        return self._made(made, CslDecoder())

    def values(self, architecture: CslDecoder) -> dict[str, Value]:
        """Gives the values of `declare`."""
        values: dict[str, Value] = {
            f"{kind}_{place}": value
            for place, stage in enumerate(architecture.stages, start=1)
            for kind, value in stage._asdict().items()
        }
        return values | {"concatenated": architecture.concatenated}

    def encode(self, architecture: CslDecoder) -> np.ndarray:
        """Writes a decoder as the numbers of its choices, `(sequence_length,)` int32."""
        values = self.values(architecture)
        return np.array([choices.index(values[name]) for name, choices in self.choices.items()], np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> CslDecoder:
        """Returns the decoder of `(sequence_length,)` numbers of choices, each modulo the number of choices.

        Raises:
            ValueError: if the shape is another or a token is out of range.
        """
        pairs = zip(self.choices.items(), self.checked_tokens(tokens), strict=True)
        return self._made({name: choices[int(token) % len(choices)] for (name, choices), token in pairs}, CslDecoder())

    def draw(self, architecture: CslDecoder, axes: Axes) -> None:
        """Draws the doublings from left to right, with the skips that enter them.

        Args:
            architecture: a decoder.
            axes: empty matplotlib axes.
        """
        # Imported here, since only a picture needs matplotlib.
        from tfmedcai.search_spaces.csl_decoder_drawing import draw_decoder

        draw_decoder(architecture.stages, architecture.concatenated, axes)
