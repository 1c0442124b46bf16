"""Patches around an instrument: where they lie, what they show, how their landmarks are normalised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from tfmedcai.geometry.frame import PatchFrame, turn, wrap_angle
from tfmedcai.geometry.landmarks import LANDMARKS_MM
from tfmedcai.geometry.resample import INTERPOLATIONS, resample

# Where the origin lies in its patch: px right of and below the middle, on the side away from the instrument's body.
CENTER_OFFSET_PX = MappingProxyType({"screw": (-10, 0), "guide_wire": (10, 0), "drill": (10, 0), "robot": (10, 0)})


@dataclass(frozen=True)
class PatchGeometry:
    """Size and normalisation of the patches of an instrument.

    Args:
        instrument: a name of `LANDMARKS_MM`.
        height: px, even.
        width: px, even.
        max_displacement_mm: largest distance of a rough position from the true one, for the normalisation boxes.
        min_resolution: smallest mm/px that occurs, for the normalisation boxes.
        interpolation: "cubic" (Catmull-Rom; the published code uses the cubic B-spline of scipy) or "linear".

    Reference:
        Kuegler et al., i3PosNet, IJCARS 2020.

    >>> PatchGeometry("screw").boxes[0].tolist()
    [10.0, 61.0, -2.0, 49.0]
    """

    instrument: str = "screw"
    height: int = 48
    width: int = 92
    max_displacement_mm: float = 2.5
    min_resolution: float = 0.1
    interpolation: str = "cubic"

    def __post_init__(self) -> None:
        if self.instrument not in LANDMARKS_MM:
            raise ValueError(f"`instrument` must be one of {sorted(LANDMARKS_MM)}. Received {self.instrument!r}.")
        if self.height % 2 or self.width % 2 or min(self.height, self.width) < 2:
            raise ValueError(f"`height` and `width` must be even, in px. Received {self.height} and {self.width}.")
        if self.min_resolution <= 0:
            raise ValueError(f"`min_resolution` must be positive, in mm/px. Received {self.min_resolution}.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"`interpolation` must be one of {INTERPOLATIONS}. Received {self.interpolation!r}.")

    @property
    def landmarks_mm(self) -> np.ndarray:
        """`(6, 2)` float32, mm: the virtual landmarks of the instrument."""
        return LANDMARKS_MM[self.instrument]

    @property
    def center_offset_px(self) -> tuple[int, int]:
        """(x, y) px: where the origin is expected, from the middle of the patch."""
        return CENTER_OFFSET_PX[self.instrument]

    @property
    def boxes(self) -> np.ndarray:
        """`(6, 4)` float32, px in the patch: left, right, top, bottom of the box of each landmark.

        Where the landmark can be if the rough position is off by up to `max_displacement_mm` and the angle by up to
        90 deg. As published, the vertical reach is that of the landmark mirrored at the axis; kept, because networks
        trained with these boxes need them.
        """
        along, across = (self.landmarks_mm.astype(float) / self.min_resolution).T
        half = self.max_displacement_mm / self.min_resolution + 0.5
        x = (self.width - 1) / 2 + self.center_offset_px[0]
        y = (self.height - 1) / 2 + self.center_offset_px[1]
        left, right = np.minimum(along, 0) - abs(across), np.maximum(along, 0) + abs(across)
        top, bottom = np.minimum(-across, 0) - abs(along), np.maximum(-across, 0) + abs(along)
        boxes = [x - half + left, x + half + right, y - half + top, y + half + bottom]
        return np.stack(boxes, axis=1).astype(np.float32)


def patch_frame(
    image_pose: tf.Tensor,
    geometry: PatchGeometry,
    rotation: tf.Tensor | float = 0.0,
    displacement_mm: tf.Tensor | float = 0.0,
) -> PatchFrame:
    """Places the patch of each pose: its forward axis along +x, its origin `center_offset_px` from the middle.

    The published code cuts a large window around the origin, rotates it about its middle, and cuts the patch at whole
    pixels of that. The three steps are one rigid map, in which the size of the window (any even one) cancels out.

    Args:
        image_pose: `(batch, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px.
        geometry: the `PatchGeometry`.
        rotation: `(batch,)` float or a number, rad: angle of the forward axis in the patch, for augmentation.
        displacement_mm: `(batch, 2)` float or a number, mm: how far the patch moves along its own axes, for
            augmentation.

    Returns:
        The `PatchFrame`.
    """
    image_pose = tf.cast(image_pose, tf.float32)
    angle = image_pose[:, 2] - tf.cast(rotation, tf.float32)
    image_pivot = tf.round(image_pose[:, :2]) - 0.5
    origin = turn((image_pose[:, :2] - image_pivot)[:, tf.newaxis], -angle)[:, 0]
    origin += tf.cast(displacement_mm, tf.float32) / image_pose[:, 4:]
    corner = origin - tf.constant(geometry.center_offset_px, tf.float32)
    corner = tf.round(corner - tf.constant([geometry.width / 2, geometry.height / 2])) + 0.5
    return PatchFrame(angle, -corner, image_pivot)


def crop(
    images: tf.Tensor,
    image_pose: tf.Tensor,
    geometry: PatchGeometry,
    rotation: tf.Tensor | float = 0.0,
    displacement_mm: tf.Tensor | float = 0.0,
) -> tuple[tf.Tensor, PatchFrame]:
    """Cuts aligned patches out of images (the CROP operation), each with one resampling of the image.

    What lies outside the image repeats its border. See `inside_image` for poses whose origin is outside, for which a
    patch shows little or nothing.

    Args:
        images: `(batch, height, width)` of any integer or float type; with a batch of one, all poses refer to it.
        image_pose: `(batch, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px.
        geometry: the `PatchGeometry`.
        rotation: as in `patch_frame`.
        displacement_mm: as in `patch_frame`.

    Returns:
        patches: `(batch, geometry.height, geometry.width, 1)` float32, each scaled to [0, 1]; 0 if it is constant.
        frame: the `PatchFrame`.

    Raises:
        ValueError: if `images` or `image_pose` has another shape.

    >>> images = tf.reshape(tf.range(300 * 400), (1, 300, 400))
    >>> patches, frame = crop(images, [[200.25, 150.125, 0.0, 0.0, 0.15]], PatchGeometry("screw"))
    >>> patches.shape, frame.to_patch([[[200.25, 150.125]]]).numpy().tolist()
    (TensorShape([1, 48, 92, 1]), [[[35.25, 23.125]]])
    """
    image_pose = tf.cast(image_pose, tf.float32)
    if image_pose.shape.rank != 2 or image_pose.shape[1] not in (5, None):
        raise ValueError(
            "`image_pose` must have shape (batch, 5): x px, y px, angle rad, tilt rad, resolution mm/px. "
            f"Received shape {image_pose.shape}."
        )
    frame = patch_frame(image_pose, geometry, rotation, displacement_mm)
    x, y = np.meshgrid(np.arange(geometry.width), np.arange(geometry.height))
    grid = tf.constant(np.stack([x, y], axis=-1).reshape(1, -1, 2), tf.float32)
    patches = resample(images, frame.to_image(grid), geometry.interpolation)
    low = tf.reduce_min(patches, axis=1, keepdims=True)
    high = tf.reduce_max(patches, axis=1, keepdims=True)
    # Interpolation leaves rounding errors on a constant patch, which must not be blown up to a picture.
    constant = high - low <= 2e-6 * tf.maximum(tf.abs(low), tf.abs(high))
    patches = tf.where(constant, 0.0, tf.math.divide_no_nan(patches - low, high - low))
    return tf.reshape(patches, (-1, geometry.height, geometry.width, 1)), frame


def normalise(points: tf.Tensor, geometry: PatchGeometry) -> tf.Tensor:
    """Turns landmarks into the targets of a network.

    Args:
        points: `(batch, 6, 2)` float, px in the patch.
        geometry: the `PatchGeometry`.

    Returns:
        `(batch, 12)` float32: x, y of each landmark, [-1, 1] within its box.
    """
    middle, half = _box_scale(geometry)
    normalised = (tf.cast(points, tf.float32) - middle) / half
    return tf.reshape(normalised, (-1, 2 * len(geometry.landmarks_mm)))


def unnormalise(outputs: tf.Tensor, geometry: PatchGeometry) -> tf.Tensor:
    """Turns the outputs of a network into landmarks; inverse of `normalise`.

    Args:
        outputs: `(batch, 12)` float.
        geometry: the `PatchGeometry`.

    Returns:
        `(batch, 6, 2)` float32, px in the patch.
    """
    middle, half = _box_scale(geometry)
    points = tf.reshape(tf.cast(outputs, tf.float32), (-1, len(geometry.landmarks_mm), 2))
    return points * half + middle


def inside_image(image_pose: tf.Tensor, image_size: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Says whose origin lies in the image.

    Args:
        image_pose: `(batch, 5)` float: x px, y px, ...
        image_size: (height, width) in px, numbers or a tensor.

    Returns:
        `(batch,)` bool; False also where a position is not a number.

    >>> inside_image([[5.0, 5.0, 0.0, 0.0, 0.15], [5.0, 10.0, 0.0, 0.0, 0.15]], (10, 20)).numpy().tolist()
    [True, False]
    """
    position = tf.cast(image_pose, tf.float32)[:, :2]
    limit = tf.cast(tf.reverse(tf.convert_to_tensor(image_size), [0]), tf.float32) - 0.5
    return tf.reduce_all((position >= -0.5) & (position <= limit), axis=-1)


def disturb(image_pose: tf.Tensor, rotation: tf.Tensor, displacement_mm: tf.Tensor) -> tf.Tensor:
    """Makes a rough pose out of a true one.

    The patch of the rough pose is that of `crop(images, image_pose, geometry, rotation, displacement_mm)`, moved by up
    to a pixel along each axis because each is placed on whole pixels about its own origin.

    Args:
        image_pose: `(batch, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px.
        rotation: `(batch,)` float, rad: the rough angle is so much smaller; the instrument appears turned by so much,
            counter-clockwise, in the rough pose's patch.
        displacement_mm: `(batch, 2)` float, mm: displacement of the position along the axes of the rough pose's patch.

    Returns:
        `(batch, 5)` float32, with tilt and resolution unchanged.

    >>> rough = disturb([[100.0, 50.0, 0.5, 0.0, 0.125]], [0.5], [[1.0, 0.5]])
    >>> rough.numpy().tolist()
    [[108.0, 54.0, 0.0, 0.0, 0.125]]
    """
    image_pose = tf.cast(image_pose, tf.float32)
    angle = image_pose[:, 2] - tf.cast(rotation, tf.float32)
    displacement_px = tf.cast(displacement_mm, tf.float32) / image_pose[:, 4:]
    position = image_pose[:, :2] + turn(displacement_px[:, tf.newaxis], angle)[:, 0]
    return tf.concat([position, wrap_angle(angle)[:, tf.newaxis], image_pose[:, 3:]], axis=-1)


def sample_disturbance(
    seed: tf.Tensor | tuple[int, int],
    count: int | tf.Tensor,
    *,
    rotation_std: float = math.radians(10.0),
    clip_std: float | None = 3.0,
    max_displacement_mm: float = 2.5,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws errors of angle and position.

    Args:
        seed: two integers; the same seed gives the same errors.
        count: how many.
        rotation_std: rad, standard deviation of the normal distribution of the rotation.
        clip_std: rotations are clipped at so many standard deviations, as for start poses; None leaves them as they
            are, as for the static augmentation of training images.
        max_displacement_mm: the length of a displacement is uniform in [0, this], its direction uniform.

    Returns:
        rotation: `(count,)` float32, rad.
        displacement_mm: `(count, 2)` float32, mm.

    Reference:
        Kuegler et al., i3PosNet, IJCARS 2020; AutoSNAP, section 3.1.

    >>> rotation, displacement_mm = sample_disturbance((1, 2), 1000)
    >>> bool(abs(rotation).numpy().max() < 0.53), bool(tf.norm(displacement_mm, axis=1).numpy().max() <= 2.5)
    (True, True)
    """
    angle_seed, radius_seed, direction_seed = tf.unstack(tf.random.split(seed, 3))
    shape = tf.reshape(count, [1])
    rotation = tf.random.stateless_normal(shape, angle_seed)
    if clip_std is not None:
        rotation = tf.clip_by_value(rotation, -clip_std, clip_std)
    radius = tf.random.stateless_uniform(shape, radius_seed, maxval=max_displacement_mm)
    direction = tf.random.stateless_uniform(shape, direction_seed, maxval=2 * math.pi)
    displacement = radius[:, tf.newaxis] * tf.stack([tf.cos(direction), tf.sin(direction)], axis=-1)
    return rotation_std * rotation, displacement


def _box_scale(geometry: PatchGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Middle and half size of the boxes, both (6, 2)."""
    low, high = geometry.boxes[:, 0::2], geometry.boxes[:, 1::2]
    return (low + high) / 2, (high - low) / 2
