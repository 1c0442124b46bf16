"""The kernels of a volumetric segmentation network: 2D, 3D or pseudo-3D for every cell of its encoder and decoder."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from tfmedcai.registry import did_you_mean
from tfmedcai.search_spaces.space import SearchSpace, Value

if TYPE_CHECKING:
    import keras_tuner
    from matplotlib.axes import Axes

Kernel = Literal["2D", "3D", "P3D"]

KERNELS: tuple[Kernel, ...] = ("2D", "3D", "P3D")  # in the order of the digits of a code
STAGES = (3, 4, 6, 3)  # encoder cells at each resolution
CELLS, BLOCKS = sum(STAGES), 5
PLACES = (
    *(f"encoder_{stage}_{cell}" for stage, count in enumerate(STAGES, 1) for cell in range(1, count + 1)),
    *(f"decoder_{block}" for block in range(1, BLOCKS + 1)),
)
TIE = 9  # decimals to which sums of probabilities are compared, so that rounding decides nothing


@dataclass(frozen=True)
class VolumetricCode:
    """The kernels of 16 encoder cells and 5 decoder blocks.

    Args:
        encoder: 16 names out of `2D 3D P3D`, from the highest to the lowest resolution.
        decoder: 5 names, from the lowest to the highest resolution.

    Raises:
        ValueError: if a name is unknown or the number of names is another.

    Reference:
        V-NAS, sections 3.2, 3.3 and 4.2.

    >>> code = VolumetricCode.parse("[0 0 0, 0 0 0 1, 2 0 2 0 2 2, 0 0 0] [0 0 1 0 1]")
    >>> code.decoder
    ('2D', '2D', '3D', '2D', '3D')
    >>> print(VolumetricCode.uniform("P3D", "2D"))
    [2 2 2, 2 2 2 2, 2 2 2 2 2 2, 2 2 2] [0 0 0 0 0]
    """

    encoder: tuple[Kernel, ...]
    decoder: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        for kernel in (*self.encoder, *self.decoder):
            if kernel not in KERNELS:
                raise ValueError(
                    f"Kernels are {', '.join(KERNELS)}. Received `{kernel}`.{did_you_mean(str(kernel), KERNELS)}"
                )
        if (len(self.encoder), len(self.decoder)) != (CELLS, BLOCKS):
            raise ValueError(
                f"A code must have {CELLS} kernels for the encoder and {BLOCKS} for the decoder. "
                f"Received {len(self.encoder)} and {len(self.decoder)}."
            )

    @classmethod
    def uniform(cls, encoder: Kernel, decoder: Kernel) -> VolumetricCode:
        """Returns the manual setting with one kernel in the whole encoder and one in the whole decoder.

        Reference:
            V-NAS, section 5.
        """
        return cls((encoder,) * CELLS, (decoder,) * BLOCKS)

    @classmethod
    def from_digits(cls, digits: Sequence[int] | np.ndarray) -> VolumetricCode:
        """Returns the code of 21 digits, encoder first: 0 is 2D, 1 is 3D, 2 is P3D.

        Raises:
            ValueError: if there are not 21 or one is not 0, 1 or 2.
        """
        array = np.asarray(digits)
        if array.shape != (CELLS + BLOCKS,) or not np.isin(array, range(len(KERNELS))).all():
            raise ValueError(f"A code must have {CELLS + BLOCKS} digits out of 0, 1 and 2. Received {array.tolist()}.")
        kernels = tuple(KERNELS[int(digit)] for digit in array)
        return cls(kernels[:CELLS], kernels[CELLS:])

    @classmethod
    def from_probabilities(cls, folds: Sequence[np.ndarray]) -> VolumetricCode:
        """Decodes searches on several folds: adds their probabilities, then takes the likeliest kernel at each place.

        Args:
            folds: for each search `(21, 3)` probabilities of 2D, 3D and P3D, encoder first.

        Returns:
            The code; among equal sums the first kernel is taken.

        Raises:
            ValueError: if there is no fold, a shape is another, or a row does not add up to 1.

        Reference:
            V-NAS, section 4.1.

        >>> flat = np.full((21, 3), 1 / 3)
        >>> print(VolumetricCode.from_probabilities([flat, np.eye(3)[[2] * 16 + [1] * 5]]))
        [2 2 2, 2 2 2 2, 2 2 2 2 2 2, 2 2 2] [1 1 1 1 1]
        """
        wanted = (CELLS + BLOCKS, len(KERNELS))
        shapes = {np.shape(fold) for fold in folds}
        if shapes != {wanted}:
            raise ValueError(f"Each fold must have probabilities of shape {wanted}. Received {sorted(shapes)}.")
        stacked = np.asarray(folds, float)
        if stacked.min() < 0 or not np.allclose(stacked.sum(axis=-1), 1, atol=1e-4):
            raise ValueError(
                "Probabilities must not be negative and must add up to 1 at each place. "
                "Received others: apply the softmax to the architecture numbers first."
            )
        return cls.from_digits(stacked.sum(axis=0).round(TIE).argmax(axis=-1))

    @classmethod
    def parse(cls, text: str) -> VolumetricCode:
        """Reads the form in which the paper writes codes; the commas between stages may be left out.

        Args:
            text: for example "[0 0 0, 0 0 0 1, 2 0 2 0 2 2, 0 0 0] [0 0 1 0 1]".

        Returns:
            The code.

        Raises:
            ValueError: if brackets or digits are missing or wrong.
        """
        parts = re.fullmatch(r"\s*\[([^][]*)\](?:\s|and|/|,)*\[([^][]*)\]\s*", text)
        if parts is None:
            raise ValueError(
                f"A code has two pairs of brackets, for example `{cls.uniform('2D', '3D')}`. Received `{text.strip()}`."
            )
        encoder, decoder = parts.groups()
        stages = [_digits(stage) for stage in encoder.split(",")]
        lengths = tuple(len(stage) for stage in stages)
        if lengths not in (STAGES, (CELLS,)):
            raise ValueError(
                f"The encoder of a code must have {', '.join(map(str, STAGES))} digits in its stages. "
                f"Received {', '.join(map(str, lengths))} in `[{encoder}]`."
            )
        return cls.from_digits([*(digit for stage in stages for digit in stage), *_digits(decoder)])

    def __str__(self) -> str:
        digits = [str(digit) for digit in self.digits]
        ends = np.cumsum((0, *STAGES))
        stages = [" ".join(digits[start:end]) for start, end in itertools.pairwise(ends)]
        return f"[{', '.join(stages)}] [{' '.join(digits[CELLS:])}]"

    @property
    def digits(self) -> tuple[int, ...]:
        """The 21 digits, encoder first."""
        return tuple(KERNELS.index(kernel) for kernel in (*self.encoder, *self.decoder))

    @property
    def space(self) -> str:
        """Name of the space that reads the text back."""
        return VolumetricSpace.name

    @property
    def key(self) -> str:
        """The code as text: no two codes build one network."""
        return str(self)


def _digits(text: str) -> list[int]:
    words = text.split()
    wrong = [word for word in words if word not in ("0", "1", "2")]
    if wrong:
        raise ValueError(f"The digits of a code are 0 (2D), 1 (3D) and 2 (P3D). Received `{wrong[0]}`.")
    return [int(word) for word in words]


class VolumetricSpace(SearchSpace[VolumetricCode]):
    """All 3^21 = 10 460 353 203 codes. A token is a digit, encoder first.

    Reference:
        V-NAS, section 4.1.

    >>> VolumetricSpace().size
    10460353203
    """

    name = "volumetric"
    network = "volumetric_net"
    vocabulary_size = len(KERNELS)
    sequence_length = CELLS + BLOCKS
    size = vocabulary_size**sequence_length

    def sample(self, rng: np.random.Generator) -> VolumetricCode:
        """Draws every kernel uniformly."""
        return VolumetricCode.from_digits(rng.integers(self.vocabulary_size, size=self.sequence_length))

    def neighbours(self, architecture: VolumetricCode) -> list[VolumetricCode]:
        """Lists the 42 codes with one other kernel, place by place."""
        found = []
        for place, present in enumerate(architecture.digits):
            for digit in range(self.vocabulary_size):
                if digit != present:
                    digits = (*architecture.digits[:place], digit, *architecture.digits[place + 1 :])
                    found.append(VolumetricCode.from_digits(digits))
        return found

    def parse(self, text: str) -> VolumetricCode:
        """Reads a code as the paper writes it; see `VolumetricCode.parse`."""
        return VolumetricCode.parse(text)

    def declare(self, hp: keras_tuner.HyperParameters) -> VolumetricCode:
        """Declares one choice of kernel for every place: `encoder_1_1` to `encoder_4_3`, `decoder_1` to `decoder_5`."""
        kernels = [cast(Kernel, hp.Choice(place, list(KERNELS))) for place in PLACES]
        return VolumetricCode(tuple(kernels[:CELLS]), tuple(kernels[CELLS:]))

    def values(self, architecture: VolumetricCode) -> dict[str, Value]:
        """Gives the kernel of every place."""
        return dict(zip(PLACES, (*architecture.encoder, *architecture.decoder), strict=True))

    def encode(self, architecture: VolumetricCode) -> np.ndarray:
        """Writes a code as its `(21,)` int32 digits."""
        return np.array(architecture.digits, np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> VolumetricCode:
        """Reads 21 digits; see `VolumetricCode.from_digits`."""
        return VolumetricCode.from_digits(tokens)

    def discretise(self, mixtures: Mapping[str, np.ndarray]) -> VolumetricCode:
        """Takes the likeliest kernel at each place; see `VolumetricCode.from_probabilities`.

        Args:
            mixtures: "encoder" `(16, 3)` and "decoder" `(5, 3)`, the mixing weights of a supernet or their mean over
                searches.

        Returns:
            The code.
        """
        return VolumetricCode.from_probabilities([np.concatenate([mixtures["encoder"], mixtures["decoder"]])])

    def draw(self, architecture: VolumetricCode, axes: Axes) -> None:
        """Draws encoder and decoder as the two arms of a U, one coloured box a cell.

        Args:
            architecture: a code.
            axes: empty matplotlib axes.
        """
        # Imported here, since only a picture needs matplotlib.
        from tfmedcai.search_spaces.volumetric_drawing import draw_code

        draw_code(architecture, STAGES, axes)
