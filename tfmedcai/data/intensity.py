"""Brings the grey values of volumes to a common scale."""

from __future__ import annotations

import numpy as np


def clip(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Cuts values off, a window of Hounsfield units, say.

    Args:
        array: any shape.
        low: smallest value that is kept.
        high: largest value that is kept.

    Returns:
        float32, of the same shape.

    Raises:
        ValueError: if `low` is not below `high`.

    >>> clip(np.array([-1024, 40, 900]), -100, 240).tolist()
    [-100.0, 40.0, 240.0]
    """
    if not low < high:
        raise ValueError(f"`low` must be below `high`. Received {low} and {high}.")
    return np.clip(array.astype(np.float32), np.float32(low), np.float32(high))


def z_score(array: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Shifts and scales each channel to mean 0 and standard deviation 1 inside a mask; outside of it all becomes 0.

    Args:
        array: `(x, y, z)` or `(x, y, z, channels)`.
        mask: `(x, y, z)` bool; None takes everything. `foreground(array)` is for images that hold one value around
            the patient.

    Returns:
        float32, of the same shape. A channel that is the same everywhere becomes 0.

    Raises:
        ValueError: if the mask has another shape.

    Reference:
        MB-NAS, section 2.2; V-NAS, section 4.2.

    >>> z_score(np.array([[[0, 4, 8]]]), np.array([[[False, True, True]]])).tolist()
    [[[0.0, -1.0, 1.0]]]
    """
    if mask is not None and mask.shape != array.shape[:3]:
        raise ValueError(f"`mask` must have the grid of the volume, {array.shape[:3]}. Received {mask.shape}.")
    scored = array.astype(np.float32)
    for channel in [scored] if scored.ndim == 3 else np.moveaxis(scored, -1, 0):
        inside = channel if mask is None else channel[mask]
        mean, deviation = (inside.mean(dtype=np.float64), inside.std(dtype=np.float64)) if inside.size else (0.0, 0.0)
        channel -= np.float32(mean)
        channel /= np.float32(deviation if deviation > 1e-6 * max(1.0, abs(mean)) else np.inf)
        if mask is not None:
            channel[~mask] = 0.0
    return scored


def foreground(array: np.ndarray) -> np.ndarray:
    """Returns where any channel differs from what it is in the corners, by more than a hundredth of its range.

    Args:
        array: `(x, y, z)` or `(x, y, z, channels)`.

    Returns:
        `(x, y, z)` bool.

    >>> foreground(np.pad(np.ones((1, 1, 1)), 1, constant_values=-3.0)).sum()
    np.int64(1)
    """
    channels = array[..., np.newaxis] if array.ndim == 3 else array
    found = np.zeros(channels.shape[:3], bool)
    for channel in np.moveaxis(channels, -1, 0):
        corners = channel[np.ix_(*([0, -1],) * 3)]
        found |= np.abs(channel - np.float32(np.median(corners))) > 0.01 * np.float32(np.ptp(channel))
    return found
