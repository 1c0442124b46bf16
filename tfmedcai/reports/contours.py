"""Draws a slice of a volume with the outlines of true and predicted structures."""

import numpy as np
from matplotlib.figure import Figure

from tfmedcai.reports.overlay import PREDICTION, TRUTH
from tfmedcai.reports.style import empty_axes, styled


@styled
def contours(
    image: np.ndarray, truth: np.ndarray | None, predicted: np.ndarray, aspect: float = 1.0, title: str = ""
) -> Figure:
    """Draws outlines on one slice, the way a radiologist sees it: front of the patient up, right side on the left.

    Args:
        image: `(x, y)` grey values; x to the patient's right, y to the front.
        truth: `(x, y)` classes, 0 is background; None where unknown.
        predicted: `(x, y)` classes.
        aspect: size of a voxel along y over that along x.
        title: one line above the picture.

    Returns:
        The figure.

    Raises:
        ValueError: if the shapes differ.
    """
    shapes = {np.shape(array) for array in (image, truth, predicted) if array is not None}
    if len(shapes) != 1 or len(np.shape(image)) != 2:
        raise ValueError(f"`image`, `truth` and `predicted` must be one slice (x, y). Received {sorted(shapes)}.")
    figure, axes = empty_axes(3.6, 4.1)
    # Rows of a picture run down, x to the right: the front comes up, and the patient's right side to the left.
    shown = np.asarray(image, float).T[::-1, ::-1]
    low, high = np.quantile(shown, [0.01, 0.99])
    axes.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear", aspect=aspect)
    for classes, colour, line, name in ((truth, TRUTH, "-", "truth"), (predicted, PREDICTION, "--", "prediction")):
        if classes is None:
            continue
        for number in np.unique(classes[classes > 0]):
            mask = (np.asarray(classes) == number).T[::-1, ::-1]
            axes.contour(mask, [0.5], colors=colour, linestyles=line, linewidths=1.2)
        axes.plot([], [], color=colour, linestyle=line, label=name)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, fontsize=8.5)
    return figure
