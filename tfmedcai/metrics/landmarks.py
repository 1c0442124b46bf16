"""How well landmarks are found: distances, and shares of frames within so many px or parts of the instrument's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

QUOTED_PX = 20.0  # threshold at which CSL quotes its score


class Presence(NamedTuple):
    """How well it was told whether landmarks are there; NaN where nothing was found, or nothing is there."""

    precision: float
    recall: float


def localisation_errors(predicted: ArrayLike, true: ArrayLike) -> np.ndarray:
    """Measures distances in the image.

    Args:
        predicted: `(frames, landmarks, 2)` x and y in px; NaN for a landmark that was not found.
        true: the same; NaN for one that is not there, or that nobody marked.

    Returns:
        `(frames, landmarks)` float64 px: inf for a landmark that is there and was not found, NaN for one that is not
        there, which has no distance, whatever was predicted.

    Raises:
        ValueError: if the shapes differ or the last axis is not x and y.

    >>> localisation_errors([[[3.0, 4.0], [np.nan, np.nan]]], [[[0.0, 0.0], [1.0, 1.0]]]).tolist()
    [[5.0, inf]]
    """
    found, truth = np.asarray(predicted, float), np.asarray(true, float)
    if found.shape != truth.shape or found.ndim != 3 or found.shape[-1] != 2:
        raise ValueError(
            "`predicted` and `true` must both be (frames, landmarks, 2). "
            f"Received {found.shape} and {truth.shape}: check the number of landmarks."
        )
    distances = np.linalg.norm(found - truth, axis=-1)
    there = np.isfinite(truth).all(-1)
    return np.where(there, np.where(np.isfinite(distances), distances, np.inf), np.nan)


def threshold_scores(errors: ArrayLike, thresholds: Sequence[float] = (QUOTED_PX,)) -> np.ndarray:
    """Returns the share of the frames in which each landmark lies within a distance: the threshold score.

    Args:
        errors: `(frames, landmarks)` of `localisation_errors`; NaN is left out, inf is a miss.
        thresholds: distances T in px; several make the curve.

    Returns:
        `(thresholds, landmarks)` from 0 to 1; NaN for a landmark that is in no frame.

    Reference:
        CSL, section 3, figure 3.

    >>> threshold_scores([[5.0, np.nan], [30.0, np.nan]], [10, 40]).tolist()
    [[0.5, nan], [1.0, nan]]
    """
    distances = np.asarray(errors, float)
    counted = np.count_nonzero(~np.isnan(distances), axis=0)
    within = [np.count_nonzero(distances <= threshold, axis=0) for threshold in thresholds]
    return np.stack(within) / np.where(counted, counted, np.nan)


def all_within(errors: ArrayLike, threshold: float = QUOTED_PX) -> float:
    """Returns the share of the frames in which every landmark that is there lies within a distance.

    Args:
        errors: `(frames, landmarks)` of `localisation_errors`; frames without any landmark are left out.
        threshold: the distance in px.

    >>> all_within([[5.0, 30.0], [5.0, np.nan], [np.nan, np.nan]])
    0.5
    """
    distances = np.asarray(errors, float)
    there = ~np.isnan(distances)
    frames = np.any(there, axis=1)
    right = np.all((distances <= threshold) | ~there, axis=1)
    return float(np.count_nonzero(right & frames) / np.count_nonzero(frames)) if frames.any() else float("nan")


def box_sides(points: ArrayLike) -> np.ndarray:
    """Measures the instrument of each frame as the longer side of the box around its landmarks.

    Args:
        points: `(frames, landmarks, 2)` px; NaN is left out.

    Returns:
        `(frames,)` px; NaN with fewer than two landmarks. Where masks are known, the longer side of their box is the
        other reading of the KBB score's normaliser.

    >>> box_sides([[[0.0, 0.0], [30.0, 10.0], [np.nan, np.nan]]]).tolist()
    [30.0]
    """
    places = np.asarray(points, float)
    known = np.all(np.isfinite(places), axis=-1, keepdims=True)
    high = np.where(known, places, -np.inf).max(axis=1)
    low = np.where(known, places, np.inf).min(axis=1)
    return np.where(np.count_nonzero(known, axis=(1, 2)) > 1, (high - low).max(axis=-1), np.nan)


def relative_errors(errors: ArrayLike, sizes: ArrayLike) -> np.ndarray:
    """Measures distances in sizes of the instrument; their `threshold_scores` at some alphas, 0.15 say, are KBB scores.

    Args:
        errors: `(frames, landmarks)` of `localisation_errors`.
        sizes: `(frames,)` px, of `box_sides` say.

    Returns:
        `(frames, landmarks)`; NaN also in a frame whose size is NaN.

    Reference:
        CSL, section 3, after Rieke et al., 2015. Neither says how the size is measured: it is an argument here.

    >>> threshold_scores(relative_errors([[5.0], [5.0]], [100.0, 10.0]), [0.15]).tolist()
    [[0.5]]
    """
    return np.asarray(errors, float) / np.asarray(sizes, float)[:, np.newaxis]


def presence(predicted: ArrayLike, true: ArrayLike, annotated: ArrayLike | None = None) -> Presence:
    """Measures whether the landmarks that are there, and only those, were found at all.

    Args:
        predicted: `(frames, landmarks, 2)`; NaN for a landmark that was not found.
        true: the same; NaN for one that is not there.
        annotated: `(frames, landmarks)` bool, False where nobody looked; None for everywhere.

    Returns:
        Which part of the landmarks found is there, and which part of those that are there was found.

    >>> presence([[[1.0, 1.0], [2.0, 2.0]]], [[[9.0, 9.0], [np.nan, np.nan]]])
    Presence(precision=0.5, recall=1.0)
    """
    found, there = (np.isfinite(np.asarray(points, float)).all(-1) for points in (predicted, true))
    looked = np.ones_like(there) if annotated is None else np.asarray(annotated, bool)
    common, claimed, present = (int((mask & looked).sum()) for mask in (found & there, found, there))
    return Presence(common / claimed if claimed else float("nan"), common / present if present else float("nan"))
