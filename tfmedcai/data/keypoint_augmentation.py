"""Changes a frame, its mask and its joints together at random: parameters are drawn first, so each can be replayed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from tfmedcai.data.frames import UNKNOWN


class Draws(NamedTuple):
    """What happens to one frame.

    Attributes:
        scale: `()` float32, above 1 enlarges.
        angle: `()` float32 rad, from the x towards the y axis: clockwise on the screen.
        corner: `(2,)` float32 from 0 to 1, where in the enlarged frame the crop lies along x and y: 0 at its beginning.
        flip: `()` bool, left to right; before all else.
        gamma: `()` float32, exponent of the colours from 0 to 1.
        colour: `(3,)` float32, factor of red, green and blue.
    """

    scale: tf.Tensor
    angle: tf.Tensor
    corner: tf.Tensor
    flip: tf.Tensor
    gamma: tf.Tensor
    colour: tf.Tensor


@dataclass(frozen=True)
class KeypointAugmentation:
    """Ranges of random changes; the defaults are those of the paper.

    Raises:
        ValueError: if a range is impossible.

    Reference:
        Laina, Rieke et al., CSL, MICCAI 2017, section 3.

    >>> augmentation = KeypointAugmentation((48, 48))
    >>> frame, mask, joints = tf.zeros((48, 64, 3), tf.uint8), tf.zeros((48, 64), tf.uint8), tf.constant([[9.0, 7.0]])
    >>> [tuple(part.shape) for part in augmentation.apply(augmentation.draw((0, 7)), frame, mask, joints)]
    [(48, 48, 3), (48, 48), (1, 2)]
    """

    # Height and width that are cut out of the enlarged frame, in px.
    crop: tuple[int, int]
    # Most, either way, in deg.
    rotate_deg: float = 5.0
    # Factor, (least, most).
    scale: tuple[float, float] = (1.0, 1.2)
    # Exponent of the colours, (least, most).
    gamma: tuple[float, float] = (0.9, 1.1)
    # Factor of each colour, (least, most).
    colour: tuple[float, float] = (0.8, 1.2)
    # Whether half of the frames are flipped left to right.
    flip: bool = False
    # Pairs of places in the list of joints that change names in a mirror image: left and right instrument.
    swapped: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name in ("crop", "scale", "gamma", "colour"):  # settings files have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "swapped", tuple(map(tuple, self.swapped)))
        checks = {"crop": (len(self.crop) == 2 and min(self.crop) > 0, "height and width above 0 px")}
        checks["rotate_deg"] = (0 <= self.rotate_deg <= 180, "from 0 to 180 deg")
        for name in ("scale", "gamma", "colour"):
            limits = getattr(self, name)
            checks[name] = (len(limits) == 2 and 0 < limits[0] <= limits[1], "(least, most), above 0")
        places = [place for pair in self.swapped for place in pair]
        checks["swapped"] = (len(set(places)) == len(places) and min(places, default=0) >= 0, "pairs of places")
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)}.")

    def draw(self, seed: tf.Tensor | tuple[int, int]) -> Draws:
        """Draws the parameters of one frame.

        Args:
            seed: `(2,)` int; the same seed draws the same.

        Returns:
            The parameters, for `apply`.
        """
        unit = tf.random.stateless_uniform((9,), tf.cast(tf.convert_to_tensor(seed), tf.int32), alg="philox")
        return Draws(
            scale=_between(self.scale, unit[0]),
            angle=math.radians(self.rotate_deg) * (2 * unit[1] - 1),
            corner=unit[2:4],
            flip=tf.logical_and(self.flip, unit[4] < 0.5),
            gamma=_between(self.gamma, unit[5]),
            colour=_between(self.colour, unit[6:9]),
        )

    def apply(
        self, draws: Draws, frame: tf.Tensor, mask: tf.Tensor, joints: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Does what was drawn; made of TensorFlow operations only, for use in a data pipeline.

        Args:
            draws: of `draw`, by this object.
            frame: `(height, width, 3)` uint8 or float from 0 to 255.
            mask: `(height, width)` uint8 labels.
            joints: `(n, 2)` float32 x and y in px; NaN stays NaN.

        Returns:
            The frame `(*crop, 3)` float32 from 0 to 255, linear between pixels and 0 where nothing is known; the mask
            `(*crop)` uint8, of the nearest pixel and `UNKNOWN` there; the joints in px of the crop, where they may lie
            outside.

        Raises:
            ValueError: if shapes do not fit or a place in `swapped` is none.
        """
        if frame.shape.rank != 3 or frame.shape[-1] != 3 or mask.shape.rank != 2 or joints.shape.rank != 2:
            raise ValueError(
                "`frame`, `mask` and `joints` must be (height, width, 3), (height, width) and (n, 2). "
                f"Received {frame.shape}, {mask.shape} and {joints.shape}."
            )
        size = tf.cast(tf.shape(frame)[:2][::-1], tf.float32)
        rotation, corner = self._geometry(draws, size)
        change = self._to_source(draws, size, rotation, corner)
        moved = _warped(tf.cast(frame, tf.float32), change, self.crop, "BILINEAR", 0.0)
        labels = _warped(mask[..., tf.newaxis], change, self.crop, "NEAREST", UNKNOWN)[..., 0]
        colours = 255 * draws.colour * (moved / 255) ** draws.gamma
        return tf.clip_by_value(colours, 0.0, 255.0), labels, self._moved(draws, joints, size, rotation, corner)

    def _geometry(self, draws: Draws, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rotation `(2, 2)` and the corner of the crop in the enlarged frame in px."""
        cos, sin = tf.cos(draws.angle), tf.sin(draws.angle)
        slack = size * draws.scale - tf.constant(self.crop[::-1], tf.float32)
        return tf.stack([[cos, -sin], [sin, cos]]), draws.corner * slack

    def _to_source(self, draws: Draws, size: tf.Tensor, rotation: tf.Tensor, corner: tf.Tensor) -> tf.Tensor:
        """Returns the eight numbers that lead from a pixel of the crop to its place in the frame."""
        middle = size / 2
        back = tf.transpose(rotation)
        matrix = back / draws.scale
        offset = tf.linalg.matvec(back, (corner + 0.5) / draws.scale - middle) + middle - 0.5
        mirrored = tf.stack([size[0] - 1 - offset[0], offset[1]])
        matrix = tf.where(draws.flip, matrix * [[-1.0], [1.0]], matrix)
        offset = tf.where(draws.flip, mirrored, offset)
        rows = tf.concat([matrix, offset[:, tf.newaxis]], axis=1)
        return tf.concat([tf.reshape(rows, [6]), [0.0, 0.0]], axis=0)

    def _moved(
        self, draws: Draws, joints: tf.Tensor, size: tf.Tensor, rotation: tf.Tensor, corner: tf.Tensor
    ) -> tf.Tensor:
        mirrored = tf.stack([size[0] - 1 - joints[:, 0], joints[:, 1]], axis=1)
        flipped = tf.where(
            draws.flip, tf.gather(mirrored, tf.constant(self._mirror_order(int(joints.shape[0])), tf.int32)), joints
        )
        turned = tf.einsum("ij,nj->ni", rotation, flipped + 0.5 - size / 2) + size / 2
        return turned * draws.scale - corner - 0.5

    def _mirror_order(self, count: int) -> list[int]:
        order = list(range(count))
        for first, second in self.swapped:
            if max(first, second) >= count:
                raise ValueError(f"`swapped` must be places among {count} joints. Received {(first, second)}.")
            order[first], order[second] = second, first
        return order


def _between(limits: Sequence[float], unit: tf.Tensor) -> tf.Tensor:
    return limits[0] + (limits[1] - limits[0]) * unit


def _warped(image: tf.Tensor, change: tf.Tensor, size: tuple[int, int], interpolation: str, fill: float) -> tf.Tensor:
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=change[tf.newaxis],
        output_shape=tf.constant(size),
        fill_value=tf.constant(fill, tf.float32),
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )[0]
    return tf.ensure_shape(moved, [*size, image.shape[-1]])
