"""The picture of one pose estimate: red is the prediction, green the truth, dotted grey the start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tfmedcai.reports.style import empty_axes, styled

PREDICTION, TRUTH, START = "#ff2d20", "#22c950", "#d4d8de"
SHADOW = [withStroke(linewidth=2.4, foreground="black", alpha=0.6)]


@dataclass(frozen=True)
class Marks:
    """What else to draw on the image, and how."""

    predicted: np.ndarray | None = None  # landmarks (n, 2), px of the image
    true: np.ndarray | None = None  # landmarks (n, 2), px of the image
    wire: np.ndarray | None = None  # annotated course of the instrument (n, 2), px of the image
    window_mm: float = 10.0  # least side of the part of the image that is shown; grows until it holds all poses
    axis_mm: tuple[float, float] = (-1.5, 4.5)  # ends of the drawn axis along the instrument


NO_MARKS = Marks()


@styled
def overlay(
    image: np.ndarray,
    true: Sequence[float] | np.ndarray | None,
    predicted: Sequence[float] | np.ndarray,
    start: Sequence[float] | np.ndarray | None = None,
    marks: Marks = NO_MARKS,
    title: str = "",
) -> Figure:
    """Draws a pose estimate on its image, zoomed to the instrument, with a scale bar in mm.

    Args:
        image: `(height, width)` grey values.
        true: image pose `(5,)`: x px, y px, forward angle rad, tilt rad, resolution mm/px; None where unknown.
        predicted: image pose `(5,)`.
        start: image pose `(5,)` that the estimate began with; None leaves it out.
        marks: landmarks, an annotated wire, the size of the window.
        title: one line above the picture.

    Returns:
        The figure; `figure.savefig("overlay.png", dpi=150)` writes it.

    Raises:
        ValueError: if `image` is not a single grey image or a pose does not have 5 numbers.

    >>> overlay(np.zeros((64, 64)), None, [32, 32, 0, 0, 0.25], title="case 1").axes[0].get_title()
    'case 1'
    """
    image = _grey(image)
    poses = {
        name: None if pose is None else _pose(name, pose)
        for name, pose in (("start", start), ("true", true), ("predicted", predicted))
    }
    figure, axes = empty_axes(3.6, 4.1)
    left, right, top, bottom = window([p for p in poses.values() if p is not None], marks.window_mm, image.shape)
    _show(axes, image, (left, right, top, bottom))
    _draw_poses(axes, poses, marks)
    _scale_bar(axes, poses, (left, right, top, bottom))
    axes.set_title(title, fontsize=10)
    if axes.get_legend_handles_labels()[0]:  # nothing to explain where no pose could be drawn
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=3, fontsize=8.5, handlelength=1.6)
    return figure


def window(poses: Sequence[np.ndarray], window_mm: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Chooses the part of the image to show: a square around all poses that lie in the image.

    Args:
        poses: image poses, each `(5,)`.
        window_mm: least side in mm, at the resolution of the first pose.
        shape: `(height, width)` of the image in px.

    Returns:
        left, right, top, bottom in px.

    >>> window([np.array([50.0, 40.0, 0.0, 0.0, 0.5])], 10.0, (100, 100))
    (40.0, 60.0, 30.0, 50.0)
    """
    height, width = shape[:2]
    usable = [p for p in poses if np.all(np.isfinite(p[:2]))]
    inside = [p for p in usable if -1 <= p[0] <= width and -1 <= p[1] <= height]
    if not inside:
        return (-0.5, width - 0.5, -0.5, height - 0.5)
    xy = np.asarray([p[:2] for p in inside])
    resolution = next((p[4] for p in inside if np.isfinite(p[4]) and p[4] > 0), 1.0)
    low, high = xy.min(0), xy.max(0)
    side = max(window_mm / resolution, 1.5 * float((high - low).max()))
    half = min(side, float(max(height, width))) / 2
    (x, y) = (low + high) / 2
    return (float(x - half), float(x + half), float(y - half), float(y + half))


def _grey(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image, float)
    if values.ndim != 2:
        raise ValueError(
            f"`image` must have shape (height, width). Received shape {values.shape}. Give one grey image at a time."
        )
    return values


def _pose(name: str, pose: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(pose, float)
    if values.shape != (5,):
        raise ValueError(
            f"`{name}` must be an image pose of shape (5,): x px, y px, angle rad, tilt rad, resolution mm/px. "
            f"Received shape {values.shape}. Give one pose at a time."
        )
    return values


def _show(axes: Axes, image: np.ndarray, box: tuple[float, float, float, float]) -> None:
    left, right, top, bottom = box
    rows = slice(max(int(top), 0), max(math.ceil(bottom), 1))
    columns = slice(max(int(left), 0), max(math.ceil(right), 1))
    part = image[rows, columns]
    part = part[np.isfinite(part)]
    low, high = np.quantile(part, [0.002, 0.998]) if part.size else (0.0, 1.0)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear")
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], facecolor="black")
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _draw_poses(axes: Axes, poses: dict[str, np.ndarray | None], marks: Marks) -> None:
    if marks.wire is not None:
        axes.plot(*np.asarray(marks.wire, float).T, color=TRUTH, linewidth=1.4, label="annotated wire")
    # Light dots on a thin dark line show on metal as well as on the bright background.
    _axis_line(axes, poses["start"], marks, {"color": "black", "linewidth": 0.8, "alpha": 0.7})
    _axis_line(axes, poses["start"], marks, {"color": START, "linestyle": ":", "linewidth": 2.2, "label": "start"})
    _axis_line(axes, poses["true"], marks, {"color": TRUTH, "linestyle": "-", "linewidth": 1.6, "label": "truth"})
    red = {"color": PREDICTION, "linestyle": "--", "linewidth": 1.6, "label": "prediction"}
    _axis_line(axes, poses["predicted"], marks, red)
    if marks.true is not None:
        axes.plot(*np.asarray(marks.true, float).T, "o", mfc="none", mec=TRUTH, markersize=7, mew=1.4)
    if marks.predicted is not None:
        axes.plot(*np.asarray(marks.predicted, float).T, "x", color=PREDICTION, markersize=6, mew=1.6)


def _axis_line(axes: Axes, pose: np.ndarray | None, marks: Marks, line: dict) -> None:
    """Draws the instrument's axis and origin; the angle turns counter-clockwise on the screen, where y points down."""
    if pose is None or not np.all(np.isfinite(pose)) or pose[4] <= 0:
        return
    x, y, angle, tilt, resolution = pose
    reach = np.asarray(marks.axis_mm) * math.cos(tilt) / resolution
    axes.plot(x + reach * math.cos(angle), y - reach * math.sin(angle), **line)
    axes.plot(x, y, ".", color=line["color"], markersize=6)


def _scale_bar(axes: Axes, poses: dict[str, np.ndarray | None], box: tuple[float, float, float, float]) -> None:
    left, right, top, bottom = box
    known = [poses[name] for name in ("true", "predicted", "start")]
    resolution = next((p[4] for p in known if p is not None and np.isfinite(p[4]) and p[4] > 0), None)
    if resolution is None:
        return
    length = bar_length((right - left) * resolution)
    x, y = left + 0.05 * (right - left), bottom - 0.06 * (bottom - top)
    for width, colour in ((5.0, "black"), (3.0, "white")):
        axes.plot([x, x + length / resolution], [y, y], linewidth=width, color=colour, solid_capstyle="butt")
    text = {"ha": "center", "va": "bottom", "color": "white", "path_effects": SHADOW}
    axes.text(x + length / resolution / 2, y - 0.02 * (bottom - top), f"{length:g} mm", **text)


def bar_length(extent_mm: float) -> float:
    """Returns a round length in mm, at most 30 % of the extent of the picture.

    >>> bar_length(14.0), bar_length(100.0)
    (2.0, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(0.3 * extent_mm))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= 0.3 * extent_mm + 1e-12)
