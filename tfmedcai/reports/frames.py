"""Pictures of tracked frames: masks as a tint, joints as crosses, for videos and for the report."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from tfmedcai.reports.overlay import TRUTH
from tfmedcai.reports.style import empty_axes, styled

TINTS = ((0, 190, 255), (255, 170, 0), (190, 90, 255), (120, 220, 60))  # of classes 1, 2, ..., then from the start
COLOURS = ("#ff2d20", "#ffd60a", "#00e5ff", "#ff5cf4", "#ffffff", "#ff9500")  # of joints, then from the start
STRENGTH = 0.35  # of the tint


def marked(
    frame: np.ndarray, joints: np.ndarray, mask: np.ndarray | None = None, true: np.ndarray | None = None
) -> np.ndarray:
    """Draws joints and mask into a frame; fast enough for video.

    Args:
        frame: `(height, width, 3)` uint8.
        joints: `(n, 2)` x and y in px, a cross each in a colour of its own; NaN is left out.
        mask: `(height, width)` classes, 0 is background and 255 unknown.
        true: `(n, 2)` true joints, a green circle each.

    Returns:
        `(height, width, 3)` uint8.

    Raises:
        ValueError: if the frame is no colour picture, or the mask has another size.

    >>> marked(np.zeros((48, 64, 3), np.uint8), np.array([[10.0, 20.0]])).max()
    np.uint8(255)
    """
    if frame.ndim != 3 or frame.shape[-1] != 3 or (mask is not None and mask.shape != frame.shape[:2]):
        raise ValueError(
            "`frame` must be (height, width, 3) and `mask` (height, width). "
            f"Received {frame.shape} and {None if mask is None else mask.shape}."
        )
    picture = Image.fromarray(frame if mask is None else _tinted(frame, mask))
    draw = ImageDraw.Draw(picture)
    size = max(3.0, frame.shape[0] / 60)
    for place in () if true is None else true[np.isfinite(true).all(-1)]:
        draw.ellipse([*(place - size), *(place + size)], outline=TRUTH, width=round(size / 3))
    for number, (x, y) in enumerate(joints):
        if np.isfinite(x) and np.isfinite(y):
            for line in ([(x - size, y), (x + size, y)], [(x, y - size), (x, y + size)]):
                draw.line(line, fill="black", width=round(size / 3) + 2)
                draw.line(line, fill=COLOURS[number % len(COLOURS)], width=round(size / 3))
    return np.asarray(picture)


def _tinted(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    result = frame.copy()
    for number in np.unique(mask[(mask > 0) & (mask < 255)]):
        chosen = mask == number
        tint = np.array(TINTS[(number - 1) % len(TINTS)])
        result[chosen] = ((1 - STRENGTH) * frame[chosen] + STRENGTH * tint).astype(np.uint8)
    return result


@styled
def frame_figure(case: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draws one case of an evaluation.

    Args:
        case: "image", "predicted", "true" and, where there is one, "mask", as `marked` takes them.
        title: one line above the picture.

    Returns:
        The figure.
    """
    figure, axes = empty_axes(4.8, 4.0)
    axes.imshow(marked(case["image"], case["predicted"], case.get("mask"), case["true"]))
    axes.set(xticks=[], yticks=[], title=title)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure
