"""The perspective camera of a C-arm: X-ray source, detector, and pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import tensorflow as tf


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at the X-ray source, looking along +z at the detector.

    The camera frame is in mm: x right, y down in the image, z from the source towards the detector. Pixel centres lie
    at integer coordinates, so the image spans [-0.5, width - 0.5] x [-0.5, height - 0.5].

    Args:
        source_detector_mm: distance from the source to the detector in mm.
        pixel_mm: (along x, along y), pitch of the detector's pixels in mm.
        principal_point_px: (x, y) in px, where the central ray meets the detector, which may be outside the image.
        image_size: (height, width) in px.
        source_isocentre_mm: distance from the source to the point that the C-arm turns about in mm; None if not known.
        mirrored: whether the image is shown with its left on the right, as a view from behind that is to look like one
            from the front (AP for PA); x of the camera frame then points to the left.

    Raises:
        ValueError: if a length is not positive, a number not finite, or the isocentre not before the detector.

    >>> camera = Camera.from_c_arm(source_detector_mm=1000.0, pixel_mm=0.25, image_size=(512, 512))
    >>> camera.project([[10.0, 0.0, 500.0]]).numpy().tolist()
    [[335.5, 255.5]]
    >>> camera.resolution_at(500.0)
    0.125
    """

    source_detector_mm: float
    pixel_mm: tuple[float, float]
    principal_point_px: tuple[float, float]
    image_size: tuple[int, int]
    source_isocentre_mm: float | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        lengths = self.source_detector_mm, *self.pixel_mm, *self.image_size
        if not all(0 < length < math.inf for length in lengths):
            raise ValueError(
                "`source_detector_mm` (mm), `pixel_mm` (mm) and `image_size` (px) must be positive. "
                f"Received {self.source_detector_mm}, {self.pixel_mm} and {self.image_size}."
            )
        if not all(map(math.isfinite, self.principal_point_px)):
            raise ValueError(f"`principal_point_px` must be finite. Received {self.principal_point_px}.")
        if self.source_isocentre_mm is not None and not 0 < self.source_isocentre_mm < self.source_detector_mm:
            raise ValueError(
                f"`source_isocentre_mm` must lie between 0 and source_detector_mm={self.source_detector_mm}. "
                f"Received {self.source_isocentre_mm}."
            )

    @classmethod
    def from_c_arm(
        cls,
        source_detector_mm: float = 1000.0,
        pixel_mm: float | tuple[float, float] = 0.25,
        image_size: tuple[int, int] = (512, 512),
        principal_point_px: tuple[float, float] | None = None,
        source_isocentre_mm: float | None = None,
        mirrored: bool = False,
    ) -> Camera:
        """Builds the camera of a C-arm from what its makers say of it.

        Args:
            source_detector_mm: distance from the source to the detector in mm.
            pixel_mm: pitch of the detector's pixels in mm, one for both axes or (along x, along y).
            image_size: (height, width) in px.
            principal_point_px: (x, y) in px, where the central ray meets the detector; None for the middle.
            source_isocentre_mm: as in `Camera`.
            mirrored: as in `Camera`.

        Returns:
            The `Camera`.

        Raises:
            ValueError: as `Camera`.
        """
        height, width = image_size
        pitch = (pixel_mm, pixel_mm) if isinstance(pixel_mm, int | float) else pixel_mm
        centre = ((width - 1) / 2, (height - 1) / 2) if principal_point_px is None else principal_point_px
        return cls(source_detector_mm, tuple(pitch), tuple(centre), (height, width), source_isocentre_mm, mirrored)

    @property
    def focal_length_px(self) -> tuple[float, float]:
        """(x, y): distance from the source to the detector in its pixels; that along x is negative if mirrored."""
        x, y = (self.source_detector_mm / pitch for pitch in self.pixel_mm)
        return (-x if self.mirrored else x), y

    def resized(self, image_size: tuple[int, int]) -> Camera:
        """Says what the camera is once its images have another size.

        Args:
            image_size: (height, width) in px that the whole image is shrunk or enlarged to.

        Returns:
            The `Camera` with the same view.

        >>> NOMINAL_C_ARM.resized((192, 192)).pixel_mm
        (1.552, 1.552)
        """
        height, width = image_size
        ratios = self.image_size[1] / width, self.image_size[0] / height
        pitch = tuple(pitch * ratio for pitch, ratio in zip(self.pixel_mm, ratios, strict=True))
        # The edge of the image, half a pixel from the centre of its first, is what stays in its place.
        point = tuple((x + 0.5) / ratio - 0.5 for x, ratio in zip(self.principal_point_px, ratios, strict=True))
        return replace(self, pixel_mm=pitch, principal_point_px=point, image_size=(height, width))

    def project(self, points: tf.Tensor) -> tf.Tensor:
        """Projects points onto the detector.

        Args:
            points: `(..., 3)` float, mm in the camera frame, in front of the source (z > 0).

        Returns:
            `(..., 2)` float: x, y in px.
        """
        across, depth = tf.split(tf.convert_to_tensor(points), [2, 1], axis=-1)
        focal_length = tf.constant(self.focal_length_px, depth.dtype)
        return focal_length * across / depth + tf.constant(self.principal_point_px, depth.dtype)

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
        focal_length = tf.constant(self.focal_length_px, points.dtype)
        return tf.concat([(points - centre) / focal_length * depth, depth], axis=-1)

    def resolution_at(self, depth_mm: tf.Tensor | float) -> tf.Tensor | float:
        """Says how many mm one pixel shows at a depth.

        Args:
            depth_mm: float or tensor, z in mm in the camera frame.

        Returns:
            The same shape, mm/px.

        Raises:
            ValueError: if there is not one answer for both axes: pixels are not square, or the image is mirrored.
        """
        return depth_mm / self._one_focal_length()

    def depth_at(self, resolution: tf.Tensor | float) -> tf.Tensor | float:
        """Says at which depth one pixel shows so many mm; inverse of `resolution_at`.

        Args:
            resolution: float or tensor, mm/px.

        Returns:
            The same shape, z in mm in the camera frame.

        Raises:
            ValueError: as `resolution_at`.
        """
        return resolution * self._one_focal_length()

    def _one_focal_length(self) -> float:
        x, y = self.focal_length_px
        if x != y:
            raise ValueError(
                "`pixel_mm` must be square, and the image not mirrored, for a pose in the image. "
                f"Received {self.pixel_mm}, mirrored={self.mirrored}: resample or flip the images before."
            )
        return x

    def rays(self, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Computes the direction in which each pixel looks.

        Args:
            dtype: of the result.

        Returns:
            `(height, width, 3)` float, directions in the camera frame with z = 1: the point of a ray at depth z mm is
            z times its direction.
        """
        height, width = self.image_size
        x, y = tf.meshgrid(tf.range(width, dtype=dtype), tf.range(height, dtype=dtype))
        return self.unproject(tf.stack([x, y], axis=-1), 1.0)


# The detector of a mobile C-arm with a flat panel; the isocentre is where the registrations of ProST put it.
NOMINAL_C_ARM = Camera.from_c_arm(1020.0, 0.194, (1536, 1536), source_isocentre_mm=800.0)
