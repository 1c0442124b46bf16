"""Changes image and label together at random: parameters are drawn first, so that each change can be replayed."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf


class Draws(NamedTuple):
    """What happens to one sample; `axes` is 2 or 3.

    Attributes:
        scale: `()` float32, above 1 enlarges.
        shift: `(axes,)` float32, part of the size by which the content moves.
        angles: `(1,)` or `(3,)` float32, rad: in the plane, or about the first, second and third axis in this order.
        flips: `(axes,)` bool.
        quarter_turns: `()` int32 from 0 to 3, from the first axis towards the second; before the flips.
        contrast: `()` float32, factor around the mean of each channel.
        brightness: `()` float32, what is added.
        noise: `()` float32, standard deviation.
        noise_seed: `(2,)` int32.
    """

    scale: tf.Tensor
    shift: tf.Tensor
    angles: tf.Tensor
    flips: tf.Tensor
    quarter_turns: tf.Tensor
    contrast: tf.Tensor
    brightness: tf.Tensor
    noise: tf.Tensor
    noise_seed: tf.Tensor


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes, the same for images and volumes; the defaults change nothing.

    Raises:
        ValueError: if a range is impossible.

    Reference:
        MB-NAS, section 2.3 (scaling, shifting, rotating, flipping, brightness); V-NAS, section 4.2 (quarter turns and
        flips).

    >>> augmentation = Augmentation(scale=(0.9, 1.1), rotate_deg=(15.0,), flip=(True, False))
    >>> image, label = tf.ones((32, 32, 1)), tf.ones((32, 32), tf.uint8)
    >>> draws = augmentation.draw(axes=2, seed=(0, 7))
    >>> [tuple(part.shape) for part in augmentation.apply(draws, image, label)]
    [(32, 32, 1), (32, 32)]
    """

    # Factor, (least, most).
    scale: tuple[float, float] = (1.0, 1.0)
    # Most that the content moves along an axis, either way, as a part of the size.
    shift: float = 0.0
    # Most, either way, in deg: one number for images, three for volumes: about the first, second and third axis.
    rotate_deg: tuple[float, ...] = (0.0,)
    # Axes that are flipped in half of the samples.
    flip: tuple[bool, ...] = ()
    # Turn by 0, 90, 180 or 270 deg in the plane of the first two axes.
    quarter_turns: bool = False
    # Factor around the mean, (least, most).
    contrast: tuple[float, float] = (1.0, 1.0)
    # Most that is added, either way; 1 is one standard deviation of a normalised image.
    brightness: float = 0.0
    # Largest standard deviation of noise.
    noise: float = 0.0
    # Relative size of voxels along the axes, so that a rotation is one in the patient; () for equal sizes.
    spacing: tuple[float, ...] = ()
    # Value of the image where nothing is known after the change; the label is 0 there.
    outside: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "rotate_deg", "flip", "contrast", "spacing"):  # settings files have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        checks = {
            "scale": (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[-1], "(least, most), above 0"),
            "shift": (0 <= self.shift < 1, "from 0 to 1, a part of the size"),
            "rotate_deg": (len(self.rotate_deg) in (1, 3) and min(self.rotate_deg) >= 0, "1 or 3 angles from 0 deg"),
            "contrast": (len(self.contrast) == 2 and 0 <= self.contrast[0] <= self.contrast[-1], "(least, most)"),
            "brightness": (self.brightness >= 0, "0 or more"),
            "noise": (self.noise >= 0, "0 or more"),
            "spacing": (all(step > 0 for step in self.spacing), "above 0"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)}.")

    @property
    def resamples(self) -> bool:
        """Whether image values are interpolated; flips and quarter turns alone move voxels as they are."""
        return self.scale != (1.0, 1.0) or self.shift > 0 or any(self.rotate_deg)

    def draw(self, axes: int, seed: tf.Tensor | tuple[int, int]) -> Draws:
        """Draws the parameters of one sample.

        Args:
            axes: 2 for images, 3 for volumes.
            seed: `(2,)` int; the same seed draws the same.

        Returns:
            The parameters.

        Raises:
            ValueError: if the settings are for another number of axes.
        """
        turns = 1 if axes == 2 else 3
        limits = self.rotate_deg if any(self.rotate_deg) else (0.0,) * turns
        flip = self.flip or (False,) * axes
        if len(limits) != turns or len(flip) != axes or len(self.spacing) not in (0, axes):
            raise ValueError(
                f"`rotate_deg`, `flip` and `spacing` must be for {axes} axes: {turns}, {axes} and {axes} values. "
                f"Received {self.rotate_deg}, {self.flip} and {self.spacing}."
            )
        seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
        unit = tf.random.stateless_uniform((5 + 2 * axes + turns,), seed, alg="philox")
        scale, contrast, brightness, noise, quarter, shift, flipped, angles = tf.split(
            unit, (1, 1, 1, 1, 1, axes, axes, turns)
        )
        radians = tf.constant([math.radians(limit) for limit in limits])
        return Draws(
            scale=_between(self.scale, scale[0]),
            shift=self.shift * (2 * shift - 1),
            angles=radians * (2 * angles - 1),
            flips=tf.logical_and(flip, flipped < 0.5),
            quarter_turns=tf.cast(4 * quarter[0], tf.int32) if self.quarter_turns else tf.constant(0),
            contrast=_between(self.contrast, contrast[0]),
            brightness=self.brightness * (2 * brightness[0] - 1),
            noise=self.noise * noise[0],
            noise_seed=tf.random.split(seed, 2, alg="philox")[1],
        )

    def apply(self, draws: Draws, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Does what was drawn; made of TensorFlow operations only, for use in a data pipeline.

        Args:
            draws: of `draw`, by this object.
            image: `(x, y, channels)` or `(x, y, z, channels)` float32, of static shape.
            label: `(x, y)` or `(x, y, z)` integers.

        Returns:
            Both in their shapes and types; the image interpolated linearly, the label by the nearest voxel, at the
            same places.

        Raises:
            ValueError: if the shapes do not fit, or if quarter turns are asked for of what is not square.
        """
        size = tuple(label.shape)
        if None in size or tuple(image.shape[:-1]) != size or len(size) not in (2, 3):
            raise ValueError(
                "`image` and `label` must have static shapes, (x, y, channels) and (x, y) or with z as well. "
                f"Received {image.shape} and {label.shape}."
            )
        if self.quarter_turns and size[0] != size[1]:
            raise ValueError(f"Quarter turns need as many voxels along the first as the second axis. Received {size}.")
        if self.resamples:
            steps = tf.constant(self.spacing or (1.0,) * len(size))
            image, label = _resample(image, label, draws, steps, tf.constant(self.outside))
        elif self.quarter_turns or any(self.flip):
            image, label = _move(image, label, draws.flips, draws.quarter_turns)
        if self.contrast != (1.0, 1.0) or self.brightness:
            mean = tf.reduce_mean(image, axis=range(len(size)), keepdims=True)
            image = image * draws.contrast + (mean * (1 - draws.contrast) + draws.brightness)
        if self.noise:
            image += draws.noise * tf.random.stateless_normal(image.shape, draws.noise_seed, alg="philox")
        return image, label

    def __call__(self, image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws and applies; as `apply`."""
        return self.apply(self.draw(len(label.shape), seed), image, label)


def _between(limits: tuple[float, float], unit: tf.Tensor) -> tf.Tensor:
    return limits[0] + (limits[1] - limits[0]) * unit


def _to_source(draws: Draws, size: tuple[int, ...], steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Composes all changes of place into one map from a voxel of the result to its place in the input."""
    axes = len(size)
    rotation = tf.eye(axes)
    planes = [(0, 1)] if axes == 2 else [(1, 2), (2, 0), (0, 1)]
    for angle, (first, second) in zip(tf.unstack(draws.angles), planes, strict=True):
        rotation = _plane_rotation(axes, first, second, tf.cos(angle), tf.sin(angle)) @ rotation
    # What is turned by an angle is found by turning back.
    matrix = tf.transpose(rotation) / draws.scale
    matrix = matrix * steps[tf.newaxis, :] / steps[:, tf.newaxis]
    quarter = tf.cast(draws.quarter_turns, tf.float32) * (math.pi / 2)
    turn = _plane_rotation(axes, 0, 1, tf.round(tf.cos(quarter)), -tf.round(tf.sin(quarter)))
    matrix = matrix @ turn * tf.where(draws.flips, -1.0, 1.0)[tf.newaxis, :]
    sizes = tf.constant(size, tf.float32)
    middle = (sizes - 1) / 2
    moved = middle + draws.shift * sizes
    return matrix, middle - tf.linalg.matvec(matrix, moved)


def _plane_rotation(axes: int, first: int, second: int, cos: tf.Tensor, sin: tf.Tensor) -> tf.Tensor:
    places = [(first, first), (second, second), (first, second), (second, first)]
    change = tf.scatter_nd(places, tf.stack([cos - 1, cos - 1, -sin, sin]), (axes, axes))
    return tf.eye(axes) + change


# XLA makes one loop of what would be a hundred walks through memory: four times as fast on one core.
@tf.function(jit_compile=True, autograph=False, reduce_retracing=False)
def _resample(
    image: tf.Tensor, label: tf.Tensor, draws: Draws, steps: tf.Tensor, outside: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads image (linear) and label (nearest) where the voxels of the result come from."""
    size: tuple[int, ...] = tuple(map(int, label.shape))
    matrix, offset = _to_source(draws, size, steps)
    places = [
        tf.reshape(tf.range(count, dtype=tf.float32), [-1 if k == axis else 1 for k in range(len(size))])
        for axis, count in enumerate(size)
    ]
    first, nearest, weights, insides = 0, 0, [], []
    for row, count in enumerate(size):
        at = sum((matrix[row, axis] * place for axis, place in enumerate(places)), offset[row])
        insides += [at >= -0.5, at < count - 0.5]
        at = tf.clip_by_value(at, 0.0, count - 1.0)
        low = tf.minimum(tf.floor(at), max(count - 2.0, 0.0))
        weights.append((at - low)[..., tf.newaxis])
        first = first * count + tf.cast(low, tf.int32)
        nearest = nearest * count + tf.cast(tf.round(at), tf.int32)
    values = tf.reshape(image, (-1, image.shape[-1]))

    def between(axis: int, corner: int) -> tf.Tensor:
        if axis == len(size):
            return tf.gather(values, first + corner)
        here = between(axis + 1, corner)
        step = math.prod(size[axis + 1 :]) if size[axis] > 1 else 0
        return here + weights[axis] * (between(axis + 1, corner + step) - here)

    inside = functools.reduce(tf.logical_and, insides)
    moved = tf.where(inside[..., tf.newaxis], between(0, 0), outside)
    labels = tf.gather(tf.reshape(label, [-1]), nearest)
    return moved, tf.where(inside, labels, tf.zeros_like(labels))


@tf.function(jit_compile=True, autograph=False, reduce_retracing=False)
def _move(
    image: tf.Tensor, label: tf.Tensor, flips: tf.Tensor, quarter_turns: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns by quarters, then flips, without changing a value; each combination is a loop of its own."""
    axes = len(label.shape)
    # A quarter turn is a transposition and a flip, a half turn two flips.
    turned = [tf.logical_or(quarter_turns == 1, quarter_turns == 2), quarter_turns >= 2]
    reverse = [tf.math.logical_xor(flips[axis], turned[axis]) if axis < 2 else flips[axis] for axis in range(axes)]
    bits = tf.cast(tf.stack([*reverse, quarter_turns % 2 == 1]), tf.int32)
    code = tf.reduce_sum(bits * [1 << bit for bit in range(axes + 1)])

    def variant(transpose: bool, *reverse: bool) -> tuple[tf.Tensor, tf.Tensor]:
        places = [axis for axis, flag in enumerate(reverse) if flag]
        order = [1, 0, *range(2, axes + 1)] if transpose else range(axes + 1)
        pair = tf.transpose(image, order), tf.transpose(label, order[:axes])
        return tf.reverse(pair[0], places), tf.reverse(pair[1], places)

    flags = itertools.product((False, True), repeat=axes + 1)  # the last varies first, as bit 0 does
    branches = [lambda flags=flag: variant(flags[0], *reversed(flags[1:])) for flag in flags]
    return tf.switch_case(code, branches)
