"""What a search needs from a set of architectures: a value with a canonical key, and a space that makes such values."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import keras_tuner
    from matplotlib.axes import Axes

Value = int | float | str | bool


class Architecture(Protocol):
    """A hashable, printable value; `str(architecture)` is read back by `SearchSpace.parse` of its space."""

    @property
    def key(self) -> str:
        """Canonical identity: two descriptions with equal keys are one architecture and train to the same score."""
        ...

    @property
    def space(self) -> str:
        """Name of the space that reads the text back."""
        ...


A = TypeVar("A", bound=Architecture)


class Relaxable(Protocol):
    """What a space has beside `SearchSpace` if a supernet is registered under its name."""

    def discretise(self, mixtures: Mapping[str, np.ndarray]) -> Architecture:
        """Returns the architecture nearest to the mixing weights of the supernet.

        Args:
            mixtures: by the name of an input of the supernet, `(choices, candidates)`, each row a probability
                distribution. Of equal weights the first counts.
        """
        ...


class SearchSpace(abc.ABC, Generic[A]):
    """A set of architectures that random, evolutionary, KerasTuner and latent-space searches can all walk.

    Attributes:
        name: name of the space, the `space` of its architectures.
        network: name of the network that is built from an architecture.
        vocabulary_size: number of tokens; a token is an integer in `[0, vocabulary_size)`.
        sequence_length: number of tokens that describe one architecture.
        stages: number of searches that a local search does one after the other, each over variables of its own.
    """

    name: str
    network: str
    vocabulary_size: int
    sequence_length: int
    stages: int = 1

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator) -> A:
        """Draws one architecture."""

    def start(self, rng: np.random.Generator) -> A:
        """Draws an architecture for a local search to begin with."""
        return self.sample(rng)

    @abc.abstractmethod
    def neighbours(self, architecture: A) -> list[A]:
        """Lists the architectures one edit away: distinct keys, in a fixed order, never the architecture itself."""

    def variables(self, architecture: A, stage: int = 0) -> list[str]:
        """Names what a local search may change, one at a time.

        Args:
            architecture: an architecture of this space.
            stage: number of the search, from 0, below `stages`.

        Returns:
            Distinct names in a fixed order.
        """
        return list(dict.fromkeys(self.changed(architecture, near) for near in self.neighbours(architecture)))

    def options(self, architecture: A, variable: str) -> list[A]:
        """Lists the architectures that differ in one variable: distinct keys, in a fixed order, never itself.

        Args:
            architecture: an architecture of this space.
            variable: any name; one that the architecture does not have gives no options.

        Returns:
            The architectures.
        """
        return [near for near in self.neighbours(architecture) if self.changed(architecture, near) == variable]

    def changed(self, architecture: A, neighbour: A) -> str:
        """Names the variable in which a neighbour differs: here the first declared name that has another value."""
        values, others = self.values(architecture), self.values(neighbour)
        return next(name for name in values if values[name] != others[name])

    @abc.abstractmethod
    def parse(self, text: str) -> A:
        """Reads the text form of an architecture.

        Raises:
            ValueError: if the text describes no architecture of this space.
        """

    @abc.abstractmethod
    def declare(self, hp: keras_tuner.HyperParameters) -> A:
        """Declares the space on `hp`, always all names, and returns the architecture of the present values."""

    @abc.abstractmethod
    def values(self, architecture: A) -> dict[str, Value]:
        """Gives a value for every declared name, from which `declare` makes the architecture again."""

    @abc.abstractmethod
    def encode(self, architecture: A) -> np.ndarray:
        """Writes an architecture as `(sequence_length,)` int32 tokens."""

    @abc.abstractmethod
    def decode(self, tokens: Sequence[int] | np.ndarray) -> A:
        """Reads tokens; every sequence of `sequence_length` tokens is a valid architecture.

        Raises:
            ValueError: if the number of tokens is wrong or one is outside `[0, vocabulary_size)`.
        """

    def checked_tokens(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns tokens as an array.

        Raises:
            ValueError: if the number of tokens is wrong or one is outside `[0, vocabulary_size)`.
        """
        array = np.asarray(tokens)
        if array.shape != (self.sequence_length,) or not np.isin(array, range(self.vocabulary_size)).all():
            raise ValueError(
                f"`tokens` must be ({self.sequence_length},) integers from 0 to {self.vocabulary_size - 1}. "
                f"Received {array.tolist()}."
            )
        return array

    @abc.abstractmethod
    def draw(self, architecture: A, axes: Axes) -> None:
        """Draws the architecture on matplotlib axes."""
