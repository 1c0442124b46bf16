"""What a task gives to a search by relaxation: a network with mixing weights and two sources of batches, kept apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from tfmedcai.data.folds import split
from tfmedcai.tasks.fitting import Arrays, Source


@dataclass(frozen=True)
class Relaxed:
    """A relaxed problem.

    Attributes:
        build: makes the untrained network, of the sample and the mixing weights; called after seeding.
        weights: what the weights learn from; its loss is what both descend.
        architecture: what the architecture parameters learn from, of other subjects or images.
    """

    build: Callable[[], keras.Model]
    weights: Source
    architecture: Source


def halves(data: Arrays, copies: int, share: float, seed: int) -> tuple[Arrays, Arrays]:
    """Splits samples into those of the weights and those of the architecture, by image.

    Args:
        data: samples, the augmented copies of an image one after the other.
        copies: samples of one image.
        share: part of the images that goes to the weights.
        seed: seed of the split.

    Returns:
        The samples of the weights, and those of the architecture.

    Raises:
        ValueError: if there are too few images for two parts.
    """
    first, second, _ = split(len(data) // copies, (share, 1 - share, 0.0), seed)
    places = [(index[:, None] * copies + np.arange(copies)).ravel() for index in (first, second)]
    one, other = (Arrays(data.inputs[place], data.targets[place]) for place in places)
    return one, other
