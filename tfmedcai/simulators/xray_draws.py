"""Random parameters of one simulated image: the same numbers for the same key, whatever was drawn before."""

from __future__ import annotations

import numpy as np


class Draws:
    """Hands out random numbers one by one from a counter-based generator.

    Args:
        key: integers from 0; the n-th number depends on them and on n only.

    >>> Draws(3, 14).uniform(0.0, 1.0) == Draws(3, 14).uniform(0.0, 1.0)
    True
    """

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draws a number uniformly from [low, high)."""
        return low + (high - low) * self._generator.random()

    def vector(self, count: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Draws `(count,)` numbers uniformly from [low, high).

        Args:
            count: of numbers.
            low: least number.
            high: not reached.

        Returns:
            `(count,)` float64.
        """
        return low + (high - low) * self._generator.random(count)

    def log_uniform(self, low: float, high: float) -> float:
        """Draws a positive number whose logarithm is uniform in [log low, log high)."""
        return low * (high / low) ** self._generator.random()

    def chance(self, probability: float) -> bool:
        """Draws True with the given probability."""
        return self._generator.random() < probability

    def around(self, nominal: float, low: float, high: float, strength: float) -> float:
        """Draws uniformly from [low, high) shrunk towards `nominal`: strength 0 gives `nominal`, 1 the whole range.

        Args:
            nominal: what strength 0 gives.
            low: least number at strength 1.
            high: not reached at strength 1.
            strength: from 0 to 1.

        Returns:
            The number.
        """
        return nominal + strength * (self.uniform(low, high) - nominal)

    def angle(self) -> float:
        """Draws an angle in rad uniformly from the full circle."""
        return self.uniform(-np.pi, np.pi)
