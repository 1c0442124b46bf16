"""Errors of image poses, in mm in the image plane and in degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def pose_errors(predicted: ArrayLike, true: ArrayLike) -> dict[str, np.ndarray]:
    """Measures predicted image poses against true ones; depth does not count.

    Args:
        predicted: `(n, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px. Tilt and resolution are ignored.
        true: `(n, 5)` float, likewise; its resolution turns px into mm.

    Returns:
        "position_error_mm": `(n,)` float, mm, distance of the origins in the image plane.
        "angle_error_deg": `(n,)` float, deg in [0, 180], absolute error of the forward angle.

    Raises:
        ValueError: if the shapes are not both (n, 5).

    Reference:
        AutoSNAP, section 3.5.

    >>> errors = pose_errors([[103.0, 54.0, 3.0, 0.0, 0.1]], [[100.0, 50.0, -3.0, 0.0, 0.2]])
    >>> float(errors["position_error_mm"][0]), round(float(errors["angle_error_deg"][0]), 2)
    (1.0, 16.23)
    """
    predicted, true = np.asarray(predicted, float), np.asarray(true, float)
    if predicted.shape != true.shape or predicted.ndim != 2 or predicted.shape[1] != 5:
        raise ValueError(
            "`predicted` and `true` must both have shape (n, 5): x px, y px, angle rad, tilt rad, resolution mm/px. "
            f"Received shapes {predicted.shape} and {true.shape}."
        )
    position = np.linalg.norm(predicted[:, :2] - true[:, :2], axis=1) * true[:, 4]
    return {"position_error_mm": position, "angle_error_deg": _angle_between(predicted[:, 2], true[:, 2], period=360)}


def axis_errors(predicted: ArrayLike, polyline: ArrayLike, resolution: float) -> dict[str, float]:
    """Measures the axis of a predicted image pose against the annotated centre line of a long instrument.

    Both errors hold for the whole polyline, each part counting by its length: for a bent wire give the part that
    belongs to the pose.

    Args:
        predicted: `(5,)` float: x px, y px, angle rad, tilt rad, resolution mm/px, in the image of the annotation.
        polyline: `(m, 2)` float: x, y in px, along the instrument.
        resolution: mm/px at the instrument.

    Returns:
        "distance_mm": mean distance of the polyline from the predicted axis, mm.
        "angle_deg": angle between the predicted axis and the straight line fitted to the polyline by total least
            squares, deg in [0, 90]: a line has no direction.

    Raises:
        ValueError: if the polyline has another shape or no length.

    >>> axis_errors([0.0, 0.0, 0.0, 0.0, 0.1], [[10.0, 5.0], [30.0, 5.0]], resolution=0.2)
    {'distance_mm': 1.0, 'angle_deg': 0.0}
    """
    x, y, angle = np.asarray(predicted, float)[:3]
    points = _along_polyline(np.asarray(polyline, float))
    across = np.array([np.sin(angle), np.cos(angle)])
    distance = np.abs((points - (x, y)) @ across).mean() * resolution
    direction = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    fitted = np.arctan2(-direction[1], direction[0])
    return {"distance_mm": float(distance), "angle_deg": float(_angle_between(angle, fitted, period=180))}


def _angle_between(first: ArrayLike, second: ArrayLike, period: float) -> np.ndarray:
    """The smallest angle between directions given in rad, modulo a period in deg."""
    difference = np.degrees(np.subtract(first, second)) % period
    return np.minimum(difference, period - difference)


def _along_polyline(polyline: np.ndarray, count: int = 1000) -> np.ndarray:
    """Places points at equal distances along a polyline, (count, 2)."""
    if polyline.ndim != 2 or polyline.shape[1] != 2:
        raise ValueError(f"`polyline` must have shape (m, 2): x, y in px. Received shape {polyline.shape}.")
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(polyline, axis=0), axis=1))])
    if not length[-1] > 0:
        raise ValueError("`polyline` must have at least two different points in px. Received a polyline of no length.")
    at = (np.arange(count) + 0.5) / count * length[-1]
    return np.stack([np.interp(at, length, polyline[:, 0]), np.interp(at, length, polyline[:, 1])], axis=1)
