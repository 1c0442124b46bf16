"""How well a CT was registered to an X-ray image: errors of the pose, of points in space and on the detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.geodesic import geodesic_loss
from tfmedcai.geometry.rigid import compose, inverse, rotated

NORMALISER_MM = 149.25  # as many mm count as 1 rad: half the depth of the volumes that ProST was published with
SUCCESS_MM = 10.0  # published limit of the mean target registration error


def registration_errors(
    found: ArrayLike, truth: ArrayLike, points_mm: ArrayLike, camera: Camera, normaliser_mm: float = NORMALISER_MM
) -> dict[str, np.ndarray]:
    """Measures poses of a C-arm against true ones.

    What is left between both is the pose of the found C-arm in the frame of the true one (x right, y down, z from the
    source to the detector, 0 at the isocentre); found 5 mm too far along x, it is 5 mm.

    Args:
        found: `(n, 6)` float: rotation vector in rad, translation in mm. A pose with NaN or inf has failed.
        truth: `(n, 6)` float, the same, finite.
        points_mm: `(m, 3)` float of all cases or `(n, m, 3)` of each: mm in the frame of the volume, of bone say.
        camera: of the C-arm, with `source_isocentre_mm`.
        normaliser_mm: as many mm count as 1 rad in the geodesic.

    Returns:
        `(n,)` float64 under each name, all at least 0 but for the first six; inf throughout where `found` has failed.

        "rotation_x_deg", "rotation_y_deg", "rotation_z_deg", "translation_x_mm", "translation_y_mm",
        "translation_z_mm": what is left along each degree of freedom, with its sign; the rotation as a vector, whose
        length is the whole angle. z is the turn in the image, and the depth.
        "rotation_deg", "translation_mm", "in_plane_mm", "depth_mm": the whole turn and shift, and the parts of the
        shift along the detector and across.
        "geodesic": distance in SE(3), rad.
        "mean_tre_mm": mean distance of the points from where they belong, in the frame of the C-arm.
        "mean_projection_mm": the same of their images, in mm on the detector; inf if one comes behind the source.
        "mean_reprojection_mm": mean distance of the true points from the rays of the found ones, in mm in the patient.

    Raises:
        ValueError: if shapes do not fit, the truth or a point is not finite, or the camera has no isocentre.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, section III-D; van de Kraats et al., IEEE TMI 24(9), 2005, for the
        errors of projection and reprojection.

    >>> camera = Camera.from_c_arm(1000.0, 1.0, (64, 64), source_isocentre_mm=500.0)
    >>> errors = registration_errors([[0, 0, 0, 3, 4, 0]], np.zeros((1, 6)), [[0, 0, 0]], camera)
    >>> {name: round(float(errors[name][0]), 3) for name in ("translation_y_mm", "mean_tre_mm", "mean_projection_mm")}
    {'translation_y_mm': 4.0, 'mean_tre_mm': 5.0, 'mean_projection_mm': 10.0}
    """
    found, truth, points = (np.asarray(x, np.float64) for x in (found, truth, points_mm))
    _check(found, truth, points, camera)
    failed = np.logical_not(np.isfinite(found).all(axis=1))
    kept = np.where(failed[:, np.newaxis], truth, found)
    left = compose(inverse(truth), kept).numpy()
    turn, shift = np.degrees(left[:, :3]), left[:, 3:]
    axes = {f"rotation_{axis}_deg": turn[:, i] for i, axis in enumerate("xyz")}
    axes |= {f"translation_{axis}_mm": shift[:, i] for i, axis in enumerate("xyz")}
    whole = {
        "rotation_deg": np.linalg.norm(turn, axis=1),
        "translation_mm": np.linalg.norm(shift, axis=1),
        "in_plane_mm": np.linalg.norm(shift[:, :2], axis=1),
        "depth_mm": np.abs(shift[:, 2]),
        "geodesic": np.sqrt(geodesic_loss(kept, truth, normaliser_mm)),
    }
    errors = axes | whole | _errors_of_points(kept, truth, points, camera)
    return {name: np.where(failed, np.inf, values) for name, values in errors.items()}


def _check(found: np.ndarray, truth: np.ndarray, points: np.ndarray, camera: Camera) -> None:
    if found.shape != truth.shape or found.ndim != 2 or found.shape[1] != 6:
        raise ValueError(
            "`found` and `truth` must both have shape (n, 6): rotation vector in rad, translation in mm. "
            f"Received shapes {found.shape} and {truth.shape}."
        )
    if points.shape[-1:] != (3,) or points.shape[:-2] not in ((), (len(truth),)) or points.ndim < 2 or not points.size:
        raise ValueError(
            f"`points_mm` must have shape (m, 3) or ({len(truth)}, m, 3), with a point at least. "
            f"Received shape {points.shape}."
        )
    for name, values in (("truth", truth), ("points_mm", points)):
        if not np.isfinite(values).all():
            raise ValueError(f"`{name}` must be finite. Received {np.sum(~np.isfinite(values))} numbers that are not.")
    if camera.source_isocentre_mm is None:
        raise ValueError("`camera` must say its `source_isocentre_mm`. Received None.")


def _errors_of_points(
    found: np.ndarray, truth: np.ndarray, points: np.ndarray, camera: Camera
) -> dict[str, np.ndarray]:
    from_source = [_seen_from_source(poses, points, camera) for poses in (found, truth)]
    there, right = from_source
    distances = np.linalg.norm(there - right, axis=-1)
    # A point on the source's plane, or behind it, has no image.
    before = np.all([places[..., 2] > 0 for places in from_source], axis=0)
    images = [camera.project(np.where(before[..., np.newaxis], places, 1.0)).numpy() for places in from_source]
    on_detector = np.linalg.norm((images[0] - images[1]) * camera.pixel_mm, axis=-1)
    rays = there / np.linalg.norm(there, axis=-1, keepdims=True)
    off_rays = np.linalg.norm(np.cross(rays, right), axis=-1)
    return {
        "mean_tre_mm": distances.mean(axis=1),
        "mean_projection_mm": np.where(before, on_detector, np.inf).mean(axis=1),
        "mean_reprojection_mm": np.where(before, off_rays, np.inf).mean(axis=1),
    }


def _seen_from_source(poses: np.ndarray, points: np.ndarray, camera: Camera) -> np.ndarray:
    """Returns points of the volume in the camera frame of each pose, (n, m, 3) mm."""
    back = inverse(poses).numpy()[:, np.newaxis]
    return rotated(back[..., :3], points).numpy() + back[..., 3:] + (0, 0, camera.source_isocentre_mm)


def success_rate(values_mm: ArrayLike, limit_mm: float = SUCCESS_MM) -> dict[str, float | int]:
    """Counts registrations whose error is below a limit.

    Args:
        values_mm: `(n,)` errors in mm, the mean target registration error say; inf and NaN are failures.
        limit_mm: what a success must be less than.

    Returns:
        "rate" from 0 to 1, "low" and "high" of its 95 % confidence interval (Wilson's), "successes" and "count".

    Raises:
        ValueError: if there is no value.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, section III-D.

    >>> found = success_rate([1.0, 2.0, 10.0, float("nan")])
    >>> found["rate"], round(found["low"], 2), round(found["high"], 2)
    (0.5, 0.15, 0.85)
    """
    values = _some(values_mm)
    successes = int(np.count_nonzero(values < limit_mm))
    interval = scipy.stats.binomtest(successes, len(values)).proportion_ci(method="wilson")
    return {
        "rate": successes / len(values),
        "low": float(interval.low),
        "high": float(interval.high),
        "successes": successes,
        "count": len(values),
    }


def percentiles(values: ArrayLike, shares: Sequence[float] = (50, 75, 95)) -> dict[str, float]:
    """Finds the least values that so many of the cases do not exceed, however far off the others are.

    Args:
        values: `(n,)` one error a case; inf and NaN are failures, larger than all others.
        shares: in per cent.

    Returns:
        "p50", "p75" and so on: one of the values each, inf where as many have failed.

    Raises:
        ValueError: if there is no value.

    >>> percentiles([1.0, 2.0, 3.0, float("nan")])
    {'p50': 2.0, 'p75': 3.0, 'p95': inf}
    """
    known = np.nan_to_num(_some(values), nan=np.inf, posinf=np.inf)
    found = np.percentile(known, shares, method="inverted_cdf")
    return {f"p{share:g}": float(value) for share, value in zip(shares, found, strict=True)}


def _some(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"There must be one value a case, (n,), of 1 case or more. Received shape {values.shape}.")
    return values
