"""The look that all figures share: ink, colours, fonts, empty axes."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

RANDOM = "random"  # the oracle that every search is compared with
INK = "#1b1f24"  # html.py turns this colour into `currentColor`, so that figures follow light and dark mode
GREY = "#7d8590"
# Okabe and Ito, lifted where needed to stand out on white as well as on near-black.
PALETTE = ("#0a7fc4", "#d9660b", "#0f9f76", "#c46b9f", "#a58a00", "#7a6ff0")
LOG_FROM = 20.0  # largest over smallest value from which a logarithmic axis shows more than a linear one
STYLE: Any = {  # matplotlib types the names of its settings as a closed list
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # names come from the user: a `$` in one is a dollar
}


def styled(make: Callable) -> Callable:
    """Decorates a function that makes a figure, so that it draws in the style of the reports."""

    @functools.wraps(make)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return make(*args, **kwargs)

    return wrapper


def empty_axes(width: float = 5.4, height: float = 3.5) -> tuple[Figure, Axes]:
    """Returns a figure, sized in inches, apart from pyplot's global state, and its only axes.

    >>> figure, axes = empty_axes()
    >>> axes.figure is figure
    True
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.add_subplot()


def colours(names: Iterable[str]) -> dict[str, str]:
    """Returns a colour for each name, in order; random search is grey.

    >>> colours(["latent", "random"])
    {'latent': '#0a7fc4', 'random': '#7d8590'}
    """
    others = [name for name in dict.fromkeys(names) if name != RANDOM]
    return {**{name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}, RANDOM: GREY}


def say(axes: Axes, text: str) -> None:
    """Writes into empty axes why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=axes.transAxes, color=INK)


def log_if_wide(set_scale: Callable[[str], None], values: np.ndarray) -> None:
    """Makes an axis logarithmic if the values `(n,)` on it are positive and span much."""
    if values.min() > 0 and values.max() / values.min() > LOG_FROM:
        set_scale("log")


def plain_numbers(axis: Axis) -> None:
    """Labels a logarithmic axis with 0.01, 10, 20k instead of powers, which the plain-text style cannot typeset."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def short(value: float) -> str:
    """Returns a number as it is written on an axis.

    >>> short(0.02), short(51000), short(2.9e6)
    ('0.02', '51k', '2.9M')
    """
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def legend_above(axes: Axes, columns: int) -> None:
    """Puts the legend over the axes, where it covers no data."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, ncols=columns, columnspacing=1.4)
