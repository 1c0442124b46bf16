"""Pictures of registrations: the edges of a rendered CT in colour over the X-ray image, still and moving."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import scipy.ndimage
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from tfmedcai.reports.frames import COLOURS
from tfmedcai.reports.style import styled

SIDE_PX = 512  # least side of what is drawn: smaller images are enlarged, so that edges are lines
BLUR_PX = 1.0  # of what edges are found in, before that; below it they are those of voxels
LEAST = 0.12  # edges are less steep than that part of the steepest


def overlay_edges(radiograph: np.ndarray, drr: np.ndarray, colour: str = COLOURS[1]) -> np.ndarray:
    """Draws the edges of a rendering over an X-ray image.

    Edges are where the blurred rendering is steepest: its Laplacian changes sign, and its slope is not small.

    Args:
        radiograph: `(rows, columns)` grey values; the brightest and darkest thousandth of the pixels is cut off.
        drr: `(rows, columns)` of the rendered CT, in any unit.
        colour: of the edges.

    Returns:
        `(rows, columns, 3)` uint8, both sides times the least whole number that makes 512 px of the shorter.

    Raises:
        ValueError: if the images are not of one size.

    >>> overlay_edges(np.zeros((256, 300)), np.zeros((256, 300))).shape
    (512, 600, 3)
    """
    radiograph, drr = (np.asarray(image, np.float32) for image in (radiograph, drr))
    if radiograph.shape != drr.shape or radiograph.ndim != 2 or not radiograph.size:
        raise ValueError(
            "`radiograph` and `drr` must be two images (rows, columns) of one size. "
            f"Received {radiograph.shape} and {drr.shape}."
        )
    times = max(-(-SIDE_PX // min(drr.shape)), 1)
    radiograph, drr = (
        np.asarray(scipy.ndimage.zoom(x, times, mode="nearest", grid_mode=True)) for x in (radiograph, drr)
    )
    low, high = np.quantile(radiograph, [0.001, 0.999])
    grey = np.clip((radiograph - low) / (high - low or 1.0), 0.0, 1.0)
    picture = np.stack(3 * [(255 * grey).astype(np.uint8)], axis=-1)
    picture[_edges(drr, BLUR_PX * max(times, 2))] = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    return picture


def _edges(image: np.ndarray, blur: float) -> np.ndarray:
    slope = scipy.ndimage.gaussian_gradient_magnitude(image, blur)
    above = scipy.ndimage.gaussian_laplace(image, blur) > 0
    # On both sides of the change: a line of 2 px is seen in a small picture as well.
    changes = scipy.ndimage.binary_dilation(above) & scipy.ndimage.binary_dilation(~above)
    return changes & (slope > max(LEAST * slope.max(), np.finfo(np.float32).tiny))


@styled
def overlay_figure(radiograph: np.ndarray, drrs: Mapping[str, np.ndarray]) -> Figure:
    """Draws an X-ray image, and beside it the edges of renderings over it.

    Args:
        radiograph: `(rows, columns)` grey values.
        drrs: what it is ("start", "found: 1.2 mm") -> `(rows, columns)` of the CT rendered in that pose.

    Returns:
        The figure.

    Raises:
        ValueError: as `overlay_edges`.
    """
    renderings = {"X-ray image": np.zeros_like(radiograph)} | dict(drrs)
    pictures = {name: overlay_edges(radiograph, drr) for name, drr in renderings.items()}
    height, width, _ = pictures["X-ray image"].shape
    size = 3.2 * len(pictures), 0.3 + 3.2 * height / width
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    for number, (name, picture) in enumerate(pictures.items(), start=1):
        axes = figure.add_subplot(1, len(pictures), number)
        axes.imshow(picture)
        axes.set_title(name)
        axes.set_axis_off()
    return figure


def course_frames(
    radiograph: np.ndarray, drrs: Iterable[np.ndarray], labels: Iterable[str] | None = None
) -> Iterator[np.ndarray]:
    """Draws a registration step by step, for `data.video.write_video`.

    Args:
        radiograph: `(rows, columns)` grey values.
        drrs: the CT rendered in the pose of each step, each `(rows, columns)`.
        labels: what stands in each picture's corner; None for the number of the step.

    Yields:
        `(rows, columns, 3)` uint8, see `overlay_edges`.

    Raises:
        ValueError: as `overlay_edges`, or if there are not as many labels.
    """
    given = map("step {}".format, itertools.count()) if labels is None else labels
    for drr, label in zip(drrs, given, strict=labels is not None):
        picture = Image.fromarray(overlay_edges(radiograph, drr))
        size = min(picture.size) / 24
        text = {"fill": "white", "stroke_width": 2, "stroke_fill": "black", "font": ImageFont.load_default(size)}
        ImageDraw.Draw(picture).text((size / 2, size / 2), label, **text)
        yield np.asarray(picture)
