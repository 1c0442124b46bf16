"""Virtual landmarks: six points on an instrument that carry its image pose, and back."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import tensorflow as tf

_SCREW = ((0.0, 0.0), (1.5, 0.0), (3.0, 0.0), (-1.5, 0.0), (0.0, 1.5), (0.0, -1.5))
_TOOL = ((0.0, 0.0), (1.5, 0.0), (-3.0, 0.0), (-1.5, 0.0), (0.0, 1.5), (0.0, -1.5))

# Instrument name -> (6, 2) mm: along the forward axis, and across it in the image plane.
LANDMARKS_MM = MappingProxyType(
    {
        "screw": np.array(_SCREW, np.float32),
        "guide_wire": np.array(_TOOL, np.float32),
        "drill": np.array(_TOOL, np.float32),
        "robot": np.array(_TOOL, np.float32),
    }
)
for _table in LANDMARKS_MM.values():
    _table.setflags(write=False)


def project_landmarks(image_pose: tf.Tensor, landmarks_mm: np.ndarray) -> tf.Tensor:
    """Places the virtual landmarks of an instrument in the image.

    Args:
        image_pose: `(batch, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px.
        landmarks_mm: `(n, 2)` float, a table of `LANDMARKS_MM`.

    Returns:
        `(batch, n, 2)` float: x, y in px, in the frame of the image pose.

    Reference:
        Kuegler et al., i3PosNet, IJCARS 2020.

    >>> project_landmarks([[100.0, 50.0, 0.0, 0.0, 0.15]], LANDMARKS_MM["screw"])[0, 1].numpy().round(3).tolist()
    [110.0, 50.0]
    """
    image_pose = tf.convert_to_tensor(image_pose)
    x, y, angle, tilt, resolution = tf.unstack(image_pose[:, :, tf.newaxis], axis=1)
    along, across = tf.unstack(tf.cast(landmarks_mm, image_pose.dtype), axis=-1)
    along = along * tf.cos(tilt)
    landmark_x = x + (along * tf.cos(angle) + across * tf.sin(angle)) / resolution
    landmark_y = y + (across * tf.cos(angle) - along * tf.sin(angle)) / resolution
    return tf.stack([landmark_x, landmark_y], axis=-1)


def pose_from_landmarks(points: tf.Tensor, landmarks_mm: np.ndarray) -> tf.Tensor:
    """Reconstructs the image pose from virtual landmarks (the POSE operation).

    One line is fitted by total least squares to the landmarks on the forward axis, another to those across. They cross
    at the origin; the first gives the angle, the distances of the lateral landmarks give the resolution, and those of
    the landmarks on the axis, foreshortened, the tilt.

    Args:
        points: `(batch, n, 2)` float: x, y in px.
        landmarks_mm: `(n, 2)` float, the table of `LANDMARKS_MM` that the points belong to.

    Returns:
        `(batch, 5)` float in the frame of the points: x px, y px, angle rad in [-pi/2, pi/2], tilt rad in [0, pi/2]
        (its sign is not observable; 0 where noise makes the axis longer than it is), resolution mm/px.

    Raises:
        ValueError: if `points` does not hold one point a landmark.

    Reference:
        Kuegler et al., i3PosNet, IJCARS 2020; total least squares in place of its regression of y on x, which breaks
        down for a vertical line.

    >>> image_pose = [[100.0, 50.0, 0.25, 0.5, 0.125]]
    >>> points = project_landmarks(image_pose, LANDMARKS_MM["screw"])
    >>> pose_from_landmarks(points, LANDMARKS_MM["screw"]).numpy().round(3).tolist()
    [[100.0, 50.0, 0.25, 0.5, 0.125]]
    """
    points = tf.convert_to_tensor(points)
    table = np.asarray(landmarks_mm)
    if points.shape.rank != 3 or not points.shape[1:].is_compatible_with(table.shape):
        raise ValueError(
            f"`points` must have shape (batch, {len(table)}, 2) in px, one point a landmark. "
            f"Received shape {points.shape}."
        )
    on_axis, lateral = table[:, 1] == 0, table[:, 0] == 0
    axis_point, axis_direction = _fit_line(tf.boolean_mask(points, on_axis, axis=1))
    lateral_point, lateral_direction = _fit_line(tf.boolean_mask(points, lateral, axis=1))
    origin = _intersection(lateral_point, lateral_direction, axis_point, axis_direction)

    distance = tf.norm(points - origin[:, tf.newaxis], axis=-1)
    reach = tf.cast(np.abs(table).max(axis=1), points.dtype)
    off_origin = reach > 0
    pixels_a_mm = tf.math.divide_no_nan(distance, reach)
    resolution = tf.reduce_mean(
        tf.math.reciprocal_no_nan(tf.boolean_mask(pixels_a_mm, lateral & off_origin, axis=1)), axis=1
    )
    foreshortening = resolution * tf.reduce_mean(tf.boolean_mask(pixels_a_mm, on_axis & off_origin, axis=1), axis=1)
    tilt = tf.acos(tf.minimum(foreshortening, 1.0))
    angle = tf.atan2(0.0 - axis_direction[:, 1], axis_direction[:, 0])
    return tf.stack([origin[:, 0], origin[:, 1], angle, tilt, resolution], axis=-1)


def _fit_line(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Fits lines to (batch, n, 2) points; returns centroids and unit directions with x >= 0, both (batch, 2)."""
    centroid = tf.reduce_mean(points, axis=1)
    x, y = tf.unstack(points - centroid[:, tf.newaxis], axis=-1)
    # The major axis of a 2 x 2 scatter matrix in closed form.
    angle = 0.5 * tf.atan2(2 * tf.reduce_sum(x * y, axis=1), tf.reduce_sum(x * x - y * y, axis=1))
    return centroid, tf.stack([tf.cos(angle), tf.sin(angle)], axis=-1)


def _intersection(point: tf.Tensor, direction: tf.Tensor, other: tf.Tensor, other_direction: tf.Tensor) -> tf.Tensor:
    """Intersects lines, all (batch, 2); for parallel lines the answer is `point`."""
    along = tf.math.divide_no_nan(_cross(other - point, other_direction), _cross(direction, other_direction))
    return point + along[:, tf.newaxis] * direction


def _cross(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
