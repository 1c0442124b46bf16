"""A rounded box with a label that grows and shrinks with it, as the drawings of architectures use it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

INK = "#222222"


def draw_box(axes: Axes, corner: tuple[float, float], size: tuple[float, float], colour: str) -> None:
    """Draws a rounded box.

    Args:
        axes: where to draw.
        corner: x and y of the lower left corner.
        size: width and height.
        colour: of the face.
    """
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=colour, edgecolor=INK, linewidth=0.8))


def draw_label(axes: Axes, label: str, centre: tuple[float, float], size: float) -> None:
    """Draws a line of text as a path, so that its letters keep their size against all that is drawn around it.

    Args:
        axes: where to draw.
        label: the text.
        centre: x and y of its middle.
        size: of the letters, in the units of the axes.
    """
    text = TextPath((0, 0), label, size=size)
    middle = (text.get_extents().x0 + text.get_extents().x1) / 2
    place = Affine2D().translate(centre[0] - middle, centre[1] - 0.35 * size)
    axes.add_patch(PathPatch(text.transformed(place), color=INK, linewidth=0))
