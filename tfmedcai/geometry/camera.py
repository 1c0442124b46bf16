"""The perspective camera of a C-arm: X-ray source, detector, and pixels."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at the X-ray source, looking along +z at the detector.

    The camera frame is in mm: x right, y down in the image, z from the source towards the detector. Pixel centres lie
    at integer coordinates, so the image spans [-0.5, width - 0.5] x [-0.5, height - 0.5].

    Args:
        focal_length_px: distance from the source to the detector in detector pixels.
        principal_point_px: (x, y) in px, where the central ray meets the detector.
        source_detector_mm: distance from the source to the detector in mm.
        image_size: (height, width) in px.

    >>> camera = Camera.from_c_arm(source_detector_mm=1000.0, pixel_mm=0.25, image_size=(512, 512))
    >>> camera.project([[10.0, 0.0, 500.0]]).numpy().tolist()
    [[335.5, 255.5]]
    >>> camera.resolution_at(500.0)
    0.125
    """

    focal_length_px: float
    principal_point_px: tuple[float, float]
    source_detector_mm: float
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.focal_length_px, self.source_detector_mm, *self.image_size) <= 0:
            raise ValueError(
                "`focal_length_px` (px), `source_detector_mm` (mm) and `image_size` (px) must be positive. "
                f"Received {self.focal_length_px}, {self.source_detector_mm} and {self.image_size}."
            )

    @classmethod
    def from_c_arm(
        cls, source_detector_mm: float = 1000.0, pixel_mm: float = 0.25, image_size: tuple[int, int] = (512, 512)
    ) -> Camera:
        """Builds the camera of a C-arm whose central ray meets the middle of the detector.

        Args:
            source_detector_mm: distance from the source to the detector in mm.
            pixel_mm: edge of a detector pixel in mm.
            image_size: (height, width) in px.

        Returns:
            The `Camera`.

        Raises:
            ValueError: if a length is not positive.
        """
        if pixel_mm <= 0:
            raise ValueError(f"`pixel_mm` must be positive. Received {pixel_mm}.")
        height, width = image_size
        centre = ((width - 1) / 2, (height - 1) / 2)
        return cls(source_detector_mm / pixel_mm, centre, source_detector_mm, (height, width))

    def project(self, points: tf.Tensor) -> tf.Tensor:
        """Projects points onto the detector.

        Args:
            points: `(..., 3)` float, mm in the camera frame, in front of the source (z > 0).

        Returns:
            `(..., 2)` float: x, y in px.
        """
        across, depth = tf.split(tf.convert_to_tensor(points), [2, 1], axis=-1)
        return self.focal_length_px * across / depth + tf.constant(self.principal_point_px, depth.dtype)

    def unproject(self, points: tf.Tensor, depth_mm: tf.Tensor | float) -> tf.Tensor:
        """Finds the points of the camera frame that are seen at given pixels; inverse of `project`.

        Args:
            points: `(..., 2)` float: x, y in px.
            depth_mm: `(...)` float or a number: z in mm in the camera frame.

        Returns:
            `(..., 3)` float, mm in the camera frame.
        """
        points = tf.convert_to_tensor(points)
        depth = tf.broadcast_to(tf.cast(depth_mm, points.dtype), tf.shape(points)[:-1])[..., tf.newaxis]
        centre = tf.constant(self.principal_point_px, points.dtype)
        return tf.concat([(points - centre) / self.focal_length_px * depth, depth], axis=-1)

    def resolution_at(self, depth_mm: tf.Tensor | float) -> tf.Tensor | float:
        """Says how many mm one pixel shows at a depth.

        Args:
            depth_mm: float or tensor, z in mm in the camera frame.

        Returns:
            The same shape, mm/px.
        """
        return depth_mm / self.focal_length_px

    def rays(self) -> tf.Tensor:
        """Computes the direction in which each pixel looks.

        Returns:
            `(height, width, 3)` float32, directions in the camera frame with z = 1: the point of a ray at depth z mm is
            z times its direction.
        """
        height, width = self.image_size
        x, y = tf.meshgrid(tf.range(width, dtype=tf.float32), tf.range(height, dtype=tf.float32))
        return self.unproject(tf.stack([x, y], axis=-1), 1.0)
