"""Changes X-ray images drastically and at random, to make networks robust: parameters are drawn first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from tfmedcai.simulators.random_fields import normal, uniform


class Draws(NamedTuple):
    """What happens to the images of a batch, in this order; `most` is the largest number of boxes.

    Attributes:
        invert: `(batch,)` bool.
        noise: `(batch,)` float32, standard deviation by the range of the image; 0 for none.
        gamma: `(batch,)` float32, exponent of the image from 0 to 1; 1 for none.
        boxes: `(batch,)` int32, how many boxes are corrupted.
        sides: `(batch, most, 2)` float32, along rows and columns, parts of the image.
        corners: `(batch, most, 2)` float32 from 0 to 1: where a box lies, 0 at the first row and column.
        noise_seed: `(2,)` int32.
    """

    invert: tf.Tensor
    noise: tf.Tensor
    gamma: tf.Tensor
    boxes: tf.Tensor
    sides: tf.Tensor
    corners: tf.Tensor
    noise_seed: tf.Tensor


@dataclass(frozen=True)
class DomainRandomisation:
    """Ranges of the changes; the defaults are those of the paper.

    Raises:
        ValueError: if a range is impossible.

    Reference:
        Gao et al., ProST, IEEE Transactions on Medical Imaging 43, 2024, section II-D. It leaves the boxes open: their
        numbers are those of its code.

    >>> randomisation = DomainRandomisation()
    >>> randomisation.apply(randomisation.draw((0, 7), batch=2), tf.zeros((2, 32, 32, 1))).shape
    TensorShape([2, 32, 32, 1])
    """

    # Of each of the four changes.
    probability: float = 0.5
    # Standard deviation by the range of the image, (least, most); the paper's code has (0.005, 0.01).
    noise: tuple[float, float] = (0.005, 0.1)
    # Exponent, (least, most).
    gamma: tuple[float, float] = (0.7, 1.3)
    # How many boxes are corrupted, (least, most).
    boxes: tuple[int, int] = (1, 5)
    # Mean and standard deviation of a side of a box, part of the image.
    box_side: float = 0.15
    # Standard deviation of the noise in a box by the range of its values.
    box_noise: float = 0.2

    def __post_init__(self) -> None:
        for name in ("noise", "gamma", "boxes"):  # settings files have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        checks = {
            "probability": (0 <= self.probability <= 1, "from 0 to 1"),
            "noise": (len(self.noise) == 2 and 0 <= self.noise[0] <= self.noise[-1], "(least, most), 0 or more"),
            "gamma": (len(self.gamma) == 2 and 0 < self.gamma[0] <= self.gamma[-1], "(least, most), above 0"),
            "boxes": (len(self.boxes) == 2 and 0 < self.boxes[0] <= self.boxes[-1], "(least, most), above 0"),
            "box_side": (0 < self.box_side <= 1, "above 0 and at most 1"),
            "box_noise": (self.box_noise >= 0, "0 or more"),
        }
        for name, (valid, expected) in checks.items():
            if not valid:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)}.")

    def draw(self, seed: tf.Tensor | tuple[int, int], batch: int = 1) -> Draws:
        """Draws the parameters of a batch, those of each image by themselves.

        Args:
            seed: `(2,)` int; the same seed draws the same.
            batch: how many images.

        Returns:
            The parameters.
        """
        seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
        least, most = self.boxes
        unit = uniform((batch, 7 + 4 * most), seed)
        happens = tf.transpose(unit[:, :4] < self.probability)
        chosen, sides, corners = tf.split(unit[:, 4:], (3, 2 * most, 2 * most), axis=1)
        count = least + tf.cast((most - least + 1) * chosen[:, 2], tf.int32)
        return Draws(
            invert=happens[0],
            noise=tf.where(happens[1], _between(self.noise, chosen[:, 0]), 0.0),
            gamma=tf.where(happens[2], _between(self.gamma, chosen[:, 1]), 1.0),
            boxes=tf.where(happens[3], count, 0),
            sides=self._sides(tf.reshape(sides, (batch, most, 2))),
            corners=tf.reshape(corners, (batch, most, 2)),
            noise_seed=tf.random.split(seed, 2, alg="philox")[1],
        )

    def _sides(self, unit: tf.Tensor) -> tf.Tensor:
        """Draws from the normal distribution between 0 and 1, by its inverse."""
        limits = [0.5 * math.erfc((1.0 - limit / self.box_side) / math.sqrt(2.0)) for limit in (0.0, 1.0)]
        side = self.box_side * (1.0 + tf.math.ndtri(_between(limits, unit)))
        return tf.clip_by_value(side, 0.0, 1.0)

    def apply(self, draws: Draws, image: tf.Tensor) -> tf.Tensor:
        """Does what was drawn; made of TensorFlow operations only, fit for XLA.

        Args:
            draws: of `draw`, by this object, for as many images.
            image: `(batch, rows, columns, 1)` or, for a batch of one, `(rows, columns)` float32, as a rule from 0 to 1.

        Returns:
            Of the same shape. Noise leads a little out of the range; an inverted image begins at 0.

        Raises:
            ValueError: if the shape does not fit.
        """
        if image.shape.rank not in (2, 4) or (image.shape.rank == 4 and image.shape[-1] != 1):
            raise ValueError(
                f"`image` must be (batch, rows, columns, 1) or (rows, columns). Received shape {image.shape}."
            )
        changed = image[tf.newaxis] if image.shape.rank == 2 else image[..., 0]
        most = draws.sides.shape[1]
        fields = normal(tf.concat([[1 + most], tf.shape(changed)], axis=0), draws.noise_seed)
        changed = tf.where(_of_image(draws.invert), _limits(changed)[1] - changed, changed)
        low, high = _limits(changed)
        changed += _of_image(draws.noise) * (high - low) * fields[0]
        low, high = _limits(changed)
        unit = tf.math.divide_no_nan(changed - low, high - low)
        changed = low + (high - low) * unit ** _of_image(draws.gamma)
        for number in range(most):
            inside = _box(tf.shape(changed)[1:], draws.sides[:, number], draws.corners[:, number])
            low, high = _limits(changed, inside)
            strength = tf.where(_of_image(number < draws.boxes), self.box_noise * (high - low), 0.0)
            changed += tf.where(inside, strength * fields[1 + number], 0.0)
        return tf.reshape(changed, tf.shape(image))

    def __call__(self, image: tf.Tensor, seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
        """Draws and applies; as `apply`."""
        return self.apply(self.draw(seed, 1 if image.shape.rank == 2 else image.shape[0]), image)


def _between(limits: Sequence[float], unit: tf.Tensor) -> tf.Tensor:
    return limits[0] + (limits[1] - limits[0]) * unit


def _of_image(values: tf.Tensor) -> tf.Tensor:
    return values[:, tf.newaxis, tf.newaxis]


def _limits(images: tf.Tensor, inside: tf.Tensor | bool = True) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the smallest and largest value of each image in a region, `(batch, 1, 1)`."""
    low = tf.reduce_min(tf.where(inside, images, images.dtype.max), axis=(1, 2), keepdims=True)
    return low, tf.reduce_max(tf.where(inside, images, images.dtype.min), axis=(1, 2), keepdims=True)


def _box(size: tf.Tensor, sides: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
    """Returns `(batch, rows, columns)` bool, at least one pixel of each image."""
    whole = tf.cast(size, tf.float32)
    lengths = tf.clip_by_value(tf.round(sides * whole), 1.0, whole)
    first = tf.floor(corners * (whole - lengths + 1.0))
    last = first + lengths
    rows, columns = (
        (places >= first[:, axis, tf.newaxis]) & (places < last[:, axis, tf.newaxis])
        for axis, places in enumerate((tf.range(whole[0]), tf.range(whole[1])))
    )
    return rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
