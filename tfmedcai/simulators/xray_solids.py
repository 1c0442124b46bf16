"""Path lengths of X-rays through simple solids: the line integrals of which simulated images are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.pose import rotation_matrix

Interval = tuple[tf.Tensor, tf.Tensor]

# A face that is seen edge-on would be a step between two pixels. Rays are taken to run at least this steeply against
# it (pixel size divided by thickness), which spreads the step over about one pixel.
_RAMP = 0.05


@dataclass(frozen=True)
class Rays:
    """The rays of a rectangle of pixels, seen from the frame of a solid.

    The point of a ray at parameter s is `start + s * direction` in camera coordinates, with s in mm of depth and s = 0
    in the plane through the origin of the solid: lengths stay small there, which keeps float32 exact to micrometres.

    Args:
        slopes_x: `(width,)` float, x per mm of depth.
        slopes_y: `(height, 1)` float, y per mm of depth.
        rotation: `(3, 3)` float, solid frame to camera frame.
        translation: `(3,)` float, mm, the origin of the solid in the camera frame.
    """

    slopes_x: tf.Tensor
    slopes_y: tf.Tensor
    rotation: tf.Tensor
    translation: tf.Tensor

    @classmethod
    def from_camera(cls, camera: Camera, pose: tf.Tensor, pixels: Sequence[tf.Tensor] | None = None) -> Rays:
        """Builds the rays of a camera.

        Args:
            camera: the `Camera`.
            pose: `(6,)` float, rotation vector in rad, translation in mm, solid frame to camera frame.
            pixels: `(width,)` and `(height,)` float, x and y in px; None takes all pixels.

        Returns:
            The `Rays`.
        """
        pixels = pixels or [tf.range(count, dtype=tf.float32) for count in camera.image_size[::-1]]
        slopes = [
            (pixel - centre) / focal_length
            for pixel, centre, focal_length in zip(
                pixels, camera.principal_point_px, camera.focal_length_px, strict=True
            )
        ]
        return cls(slopes[0], slopes[1][:, tf.newaxis], rotation_matrix(pose), pose[3:])

    def along(self, normal: tf.Tensor | tuple[float, float, float], offset: tf.Tensor | float = 0.0) -> Interval:
        """Measures the rays along a direction of the solid frame.

        Args:
            normal: `(3,)` float, a vector in the solid frame.
            offset: mm, subtracted from the first result.

        Returns:
            Two `(height, width)` float: component of the point at s = 0 in mm, and its change per mm of depth.
        """
        x, y, z = tf.unstack(tf.linalg.matvec(self.rotation, normal))
        right, down, depth = tf.unstack(self.translation)
        start_x = x * (depth * self.slopes_x - right) - offset
        start_y = y * (depth * self.slopes_y - down)
        return start_x + start_y, (x * self.slopes_x + z) + y * self.slopes_y

    def window(self, centre: tf.Tensor, size: int) -> tuple[Rays, tf.Tensor]:
        """Selects a square window around a point of the solid, shifted to lie inside the image.

        Args:
            centre: `(3,)` float, the point in mm in the solid frame.
            size: edge of the window in px; the image is taken whole along an edge that is shorter.

        Returns:
            The `Rays` of the window, and `(2,)` int32: row and column of its first pixel.
        """
        centre = tf.linalg.matvec(self.rotation, centre) + self.translation
        parts, corner = [], []
        for slopes, slope in ((self.slopes_y[:, 0], centre[1] / centre[2]), (self.slopes_x, centre[0] / centre[2])):
            count = slopes.shape[0]
            position = (slope - slopes[0]) / (slopes[1] - slopes[0])
            first = tf.clip_by_value(tf.cast(tf.round(position - size / 2), tf.int32), 0, max(count - size, 0))
            parts.append(tf.slice(slopes, [first], [min(size, count)]))
            corner.append(first)
        return Rays(parts[1], parts[0][:, tf.newaxis], self.rotation, self.translation), tf.stack(corner)

    def length_per_depth(self) -> tf.Tensor:
        """Computes the length in mm that a ray travels per mm of depth; returns `(height, width)` float."""
        return tf.sqrt((1.0 + self.slopes_x**2) + self.slopes_y**2)


def paste(patch: tf.Tensor, corner: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Puts a window back into an image of zeros.

    Args:
        patch: `(h, w)` float.
        corner: `(2,)` int32, row and column of its first pixel.
        image_size: (height, width) of the image in px.

    Returns:
        `(height, width)` float.
    """
    rest = np.array(image_size, np.int32) - np.array(patch.shape, np.int32) - corner
    return tf.ensure_shape(tf.pad(patch, tf.stack([corner, rest], axis=-1)), image_size)


def convex(rays: Rays, cylinder: tf.Tensor, faces: tf.Tensor) -> Interval:
    """Finds where rays enter and leave a piece of a cylinder parallel to the x axis of the solid frame.

    Args:
        rays: the `Rays`, none parallel to the axis.
        cylinder: `(3,)` float, mm: radius, y and z of the axis.
        faces: `(n, 4)` float: unit vector and limit in mm of the half-spaces `vector . point <= limit` that cut it.

    Returns:
        Two `(height, width)` float, ray parameters in mm; the first exceeds the second or equals it where a ray misses.
    """
    radius, offset_y, offset_z = tf.unstack(cylinder)
    (y, slope_y), (z, slope_z) = rays.along((0.0, 1.0, 0.0), offset_y), rays.along((0.0, 0.0, 1.0), offset_z)
    scale = 1.0 / (slope_y * slope_y + slope_z * slope_z)
    middle = (y * slope_y + z * slope_z) * -scale
    # The discriminant in this form has no difference of large numbers.
    half = tf.sqrt(tf.nn.relu(radius * radius - tf.square(y * slope_z - z * slope_y) * scale) * scale)
    enter, leave = middle - half, middle + half
    for face in tf.unstack(faces):
        start, slope = rays.along(face[:3], face[3])
        inwards = slope < 0.0
        crossing = -start / tf.where(inwards, tf.minimum(slope, -_RAMP), tf.maximum(slope, _RAMP))
        enter = tf.where(inwards, tf.maximum(enter, crossing), enter)
        leave = tf.where(inwards, leave, tf.minimum(leave, crossing))
    return enter, leave


def chord(interval: Interval) -> tf.Tensor:
    """Computes the depth in mm between entering and leaving, 0 where a ray misses; returns `(height, width)` float."""
    return tf.nn.relu(interval[1] - interval[0])


def sampled_chord(interval: Interval, rays: Rays, inside: Callable[..., tf.Tensor], samples: int) -> tf.Tensor:
    """Integrates a solid without a closed form along rays.

    Args:
        interval: where the rays enter and leave a simple solid around it.
        rays: the `Rays`.
        inside: function of x, y, z `(samples, height, width)` in mm in the solid frame; 0 to 1, how solid it is there.
        samples: how many points a ray is sampled at.

    Returns:
        `(height, width)` float, mm of depth inside the solid.
    """
    length = chord(interval)
    steps = (np.arange(samples, dtype=np.float32)[:, np.newaxis, np.newaxis] + 0.5) / samples
    depths = interval[0] + steps * length
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    points = [start + slope * depths for start, slope in map(rays.along, axes)]
    return length * tf.reduce_mean(inside(*points), axis=0)


def ellipsoid_coefficients(shapes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Prepares `ellipsoid_chords` for ellipsoids, and for cylinders, which are ellipsoids with an endless axis.

    Args:
        shapes: `(n, 3, 3)` float, 1/mm: maps an ellipsoid around its centre to the unit ball.
        centres: `(n, 3)` float, mm in the camera frame, z > 0.

    Returns:
        `(2, n, 6)` float32: numerators and denominators as polynomials of 1, x, y, x^2, x y, y^2 in the slopes x, y of
        a ray.
    """
    # Along a ray d through shape W around c, with a = |Wd|^2: chord = 2 sqrt(a - |Wd x Wc|^2) / a. Both squares are
    # quadratic in the two slopes, without a difference of large numbers.
    crossed = np.cross(np.swapaxes(shapes, 1, 2), np.einsum("nij,nj->ni", shapes, centres)[:, np.newaxis])
    gram_a = np.einsum("nki,nkj->nij", shapes, shapes)
    gram_b = gram_a - np.einsum("nik,njk->nij", crossed, crossed)
    grams = np.stack([gram_b, gram_a])
    places = [(2, 2), (0, 2), (1, 2), (0, 0), (0, 1), (1, 1)]
    twice = np.array([1.0, 2.0, 2.0, 1.0, 2.0, 1.0])
    return (np.stack([grams[..., i, j] for i, j in places], axis=-1) * twice).astype(np.float32)


def ellipsoid_chords(slopes_x: tf.Tensor, slopes_y: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
    """Computes path lengths through many ellipsoids.

    Args:
        slopes_x: `(width,)` float, x of the rays per mm of depth.
        slopes_y: `(height, 1)` float, y of the rays per mm of depth.
        coefficients: `(2, n, 6)` float, from `ellipsoid_coefficients`.

    Returns:
        `(n, height, width)` float, mm of depth.
    """
    products = slopes_x * slopes_y
    x, y = tf.broadcast_to(slopes_x, products.shape), tf.broadcast_to(slopes_y, products.shape)
    powers = tf.stack([tf.ones_like(x), x, y, x * x, products, y * y])
    numerator, denominator = tf.unstack(tf.tensordot(coefficients, powers, 1))
    return 2.0 * tf.sqrt(tf.nn.relu(numerator)) / denominator
