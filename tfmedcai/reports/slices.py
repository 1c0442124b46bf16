"""Slices of a volume with the outlines of true and predicted structures, to be gone through with a slider."""

import numpy as np
from PIL import Image, ImageColor

from tfmedcai.reports.document import Stack
from tfmedcai.reports.overlay import PREDICTION, TRUTH

SIDE = 384  # px of the longer side, at which an outline of 2 px is thin
DASH = 5  # px of a dash, and of the gap after it
MARGIN = 0.06  # slices beyond the structures that are shown as well, as a part of those with structures


def slices_to_show(truth: np.ndarray, predicted: np.ndarray, most: int) -> np.ndarray:
    """Chooses slices of a volume: evenly over those that have structures and a little beyond, the fullest among them.

    Args:
        truth: `(x, y, z)` classes, 0 is background.
        predicted: `(x, y, z)` classes.
        most: how many at most.

    Returns:
        `(n,)` int, rising.

    >>> label = np.zeros((2, 2, 9), int)
    >>> label[:, :, 3:6] = 1
    >>> slices_to_show(label, label, 5).tolist()
    [2, 3, 4, 5, 6]
    """
    used = np.flatnonzero(((truth > 0) | (predicted > 0)).any(axis=(0, 1)))
    first, last = (used[0], used[-1]) if len(used) else (0, truth.shape[2] - 1)
    beyond = max(1, round(MARGIN * (last - first)))
    low, high = max(0, first - beyond), min(truth.shape[2] - 1, last + beyond)
    chosen = np.unique(np.linspace(low, high, min(most, high - low + 1)).round().astype(int))
    fullest = int(np.argmax((truth > 0).sum(axis=(0, 1))))
    chosen[np.argmin(np.abs(chosen - fullest))] = fullest
    return chosen


def grey_levels(image: np.ndarray) -> np.ndarray:
    """Returns grey values of any scale as uint8, all but the darkest and brightest hundredth told apart.

    Returns:
        uint8, of the same shape.

    >>> grey_levels(np.linspace(-1, 1, 5)).tolist()
    [0, 62, 127, 192, 255]
    """
    values = np.asarray(image, np.float32)
    low, high = np.quantile(values, [0.01, 0.99])
    return np.clip(255 * (values - low) / max(high - low, 1e-6), 0, 255).astype(np.uint8)


def outlined(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, aspect: float = 1.0) -> np.ndarray:
    """Draws outlines on one slice, the way a radiologist sees it: front of the patient up, right side on the left.

    Args:
        image: `(x, y)` uint8 grey values; x to the patient's right, y to the front.
        truth: `(x, y)` classes, 0 is background.
        predicted: `(x, y)` classes.
        aspect: size of a voxel along y over that along x.

    Returns:
        `(height, width, 3)` uint8: the truth in green, the prediction dashed in red.

    Raises:
        ValueError: if the shapes differ.
    """
    shapes = {np.shape(array) for array in (image, truth, predicted)}
    if len(shapes) != 1 or len(np.shape(image)) != 2:
        raise ValueError(f"`image`, `truth` and `predicted` must be one slice (x, y). Received {sorted(shapes)}.")
    across, along = image.shape[0], image.shape[1] * aspect
    size = round(across * SIDE / max(across, along)), round(along * SIDE / max(across, along))
    picture = np.asarray(_seen(image).resize(size, Image.Resampling.BICUBIC).convert("RGB")).copy()
    rows, columns = np.indices(picture.shape[:2])
    dashes = (rows + columns) // DASH % 2 == 0
    for classes, colour, shown in ((truth, TRUTH, True), (predicted, PREDICTION, dashes)):
        drawn = _edges(np.asarray(_seen(classes).resize(size, Image.Resampling.NEAREST)))
        picture[drawn & shown] = ImageColor.getrgb(colour)
    return picture


def _seen(slice_: np.ndarray) -> Image.Image:
    # Rows of a picture run down, x to the right: the front comes up, and the patient's right side to the left.
    return Image.fromarray(np.ascontiguousarray(slice_.astype(np.uint8).T[::-1, ::-1]))


def _edges(classes: np.ndarray) -> np.ndarray:
    """Marks the pixels on both sides of every border between classes."""
    edges = np.zeros(classes.shape, bool)
    down, right = classes[1:] != classes[:-1], classes[:, 1:] != classes[:, :-1]
    for part, border in ((edges[1:], down), (edges[:-1], down), (edges[:, 1:], right), (edges[:, :-1], right)):
        part |= border
    return edges


def slice_stack(volumes: dict[str, np.ndarray], numbers: np.ndarray, aspect: float, title: str) -> Stack:
    """Returns the drawn slices of a case as a stack that begins with the one that has most of the true structures.

    Args:
        volumes: "image" uint8, "truth" and "predicted" classes, each `(x, y, n)`.
        numbers: `(n,)` numbers of the slices in their volume.
        aspect: size of a voxel along y over that along x.
        title: what the case is, and how good the prediction.

    Returns:
        The stack.
    """
    slices = (np.moveaxis(volumes[name], 2, 0) for name in ("image", "truth", "predicted"))
    images = [outlined(image, truth, predicted, aspect) for image, truth, predicted in zip(*slices, strict=True)]
    return Stack(
        images,
        [f"{number}" for number in numbers],
        f"{title}. Green: truth; dashed red: prediction. Seen from the feet, the front up.",
        f"{title}: outlines of truth and prediction in slice",
        start=int(np.argmax((volumes["truth"] > 0).sum(axis=(0, 1)))),
    )
