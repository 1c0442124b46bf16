"""What a task gives to a search by relaxation: a network with mixing weights and two streams of batches, kept apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmedcai.data.folds import split
from tfmedcai.tasks.fitting import Arrays, training_batches


@dataclass(frozen=True)
class Stream:
    """Endless batches (x, y), the same whenever they are begun.

    Attributes:
        batches: makes the batches from an epoch on, which depend on it and a seed alone.
        steps: batches in an epoch.
    """

    batches: Callable[[int], tf.data.Dataset]
    steps: int

    def from_step(self, step: int) -> tf.data.Dataset:
        """Returns the batches from a step on, counted from the first epoch."""
        return self.batches(step // self.steps).skip(step % self.steps)


@dataclass(frozen=True)
class Relaxed:
    """A relaxed problem.

    Attributes:
        build: makes the untrained network, of the sample and the mixing weights; called after seeding.
        loss: what is descended, as for `keras.Model.compile`.
        weights: batches that the weights learn from.
        architecture: batches that the architecture parameters learn from, of other subjects or images.
    """

    build: Callable[[], keras.Model]
    loss: Any
    weights: Stream
    architecture: Stream


def stream(data: Arrays, batch_size: int, seed: int) -> Stream:
    """Streams samples in memory, in an order of its own for each epoch."""
    return Stream(lambda epoch: training_batches(data, batch_size, seed, epoch), -(-len(data) // batch_size))


def halves(data: Arrays, copies: int, share: float, seed: int) -> tuple[Arrays, Arrays]:
    """Splits samples into those of the weights and those of the architecture, by image.

    Args:
        data: samples, the augmented copies of an image one after the other.
        copies: samples of one image.
        share: part of the images that goes to the weights.
        seed: seed of the split.

    Raises:
        ValueError: if there are too few images for two parts.
    """
    first, second, _ = split(len(data) // copies, (share, 1 - share, 0.0), seed)
    places = [(index[:, None] * copies + np.arange(copies)).ravel() for index in (first, second)]
    one, other = (Arrays(data.inputs[place], data.targets[place]) for place in places)
    return one, other
