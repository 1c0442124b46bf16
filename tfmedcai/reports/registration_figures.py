"""Figures of registrations: how they converge, what a cost looks like, how far off they may start."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from tfmedcai.metrics.landscape import Correlation, Landscape
from tfmedcai.reports.style import INK, colours, empty_axes, legend_above, log_if_wide, plain_numbers, say, styled

FREEDOMS = tuple(
    f"{what} {axis} [{unit}]" for what, unit in (("rotation", "deg"), ("translation", "mm")) for axis in "xyz"
)
FEW = 30  # cases up to which each has a line of its own
SHIFT = 0.012  # of methods beside each other, of the width of the axis, so that their intervals can be told apart


@styled
def convergence(courses: Mapping[str, ArrayLike], label: str, limit: float | None = None) -> Figure:
    """Draws how a quantity goes during registrations.

    Args:
        courses: method -> `(steps, cases)` or, of one case, `(steps,)`; inf and NaN are larger than all others.
        label: what is drawn, with its unit, as on the axis ("mean target registration error [mm]").
        limit: a line to fall below, the error of a success say; None draws none.

    Returns:
        The figure: median of the cases thick, a band between the quartiles, a thin line for each of few cases.
    """
    figure, axes = empty_axes()
    kept = {name: np.nan_to_num(_columns(values), nan=np.inf, posinf=np.inf) for name, values in courses.items()}
    shown = np.concatenate([values[np.isfinite(values)] for values in kept.values()]) if kept else np.empty(0)
    if not len(shown):
        say(axes, "No finite value was recorded.")
        return figure
    for name, colour in colours(kept).items():
        if name not in kept:
            continue
        low, median, high = np.quantile(kept[name], [0.25, 0.5, 0.75], axis=1, method="inverted_cdf")
        steps, cases = np.arange(len(median)), kept[name].shape[1]
        for case in kept[name].T if 1 < cases <= FEW else ():
            axes.plot(steps, case, color=colour, linewidth=0.6, alpha=0.4)
        axes.fill_between(steps, low, np.minimum(high, shown.max()), color=colour, alpha=0.16, linewidth=0)
        axes.plot(steps, median, color=colour, label=f"{name} (median of {cases})" if cases > 1 else name)
    log_if_wide(axes.set_yscale, shown)
    if axes.get_yscale() == "log":
        plain_numbers(axes.yaxis)
    if limit is not None:
        axes.axhline(limit, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="step", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes, columns=2)
    return figure


def _columns(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim not in (1, 2):
        raise ValueError(f"Each course must have shape (steps, cases) or (steps,). Received shape {values.shape}.")
    return values.reshape(len(values), -1)


@styled
def landscape_figure(landscapes: Mapping[str, Landscape]) -> Figure:
    """Draws costs along each degree of freedom of the C-arm, the others held.

    Args:
        landscapes: name of the cost -> its `Landscape`. Each is drawn from 0, its least value in all six pictures, to
            1, its largest, since costs have units of their own.

    Returns:
        The figure of six axes.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, figure 5.
    """
    figure = _white(8.4, 4.8)
    axes = figure.subplots(2, 3, sharey=True).ravel()
    for name, colour in colours(landscapes).items():
        if name not in landscapes:
            continue
        offsets, costs = landscapes[name]
        low, high = np.nanmin(costs), np.nanmax(costs)
        degrees = np.concatenate([np.degrees(offsets[:3]), offsets[3:]])
        for ax, x, y in zip(axes, degrees, (costs - low) / (high - low or 1.0), strict=True):
            ax.plot(x, y, color=colour, linewidth=1.6, label=name)
    for ax, freedom in zip(axes, FREEDOMS, strict=True):
        ax.axvline(0.0, color=INK, linewidth=0.8, linestyle=":")
        ax.set(xlabel=freedom, ylim=(-0.04, 1.04))
    for ax in axes[::3]:
        ax.set_ylabel("cost, from 0 to 1")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure


@styled
def correlation_figure(correlations: Mapping[str, Correlation]) -> Figure:
    """Draws costs over the distance of poses from the true one.

    Args:
        correlations: name of the cost -> its `Correlation`.

    Returns:
        The figure: axes for each cost, with Pearson's r and Spearman's rho above.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, figure 6.
    """
    figure = _white(max(3.6 * len(correlations), 3.6), 3.5)
    if not correlations:
        say(figure.add_subplot(), "No cost has been compared with the distance.")
        return figure
    colour = colours(correlations)
    for number, (name, found) in enumerate(correlations.items(), start=1):
        ax = figure.add_subplot(1, len(correlations), number)
        ax.scatter(found.distances, found.costs, s=12, color=colour[name], alpha=0.6, lw=0, rasterized=True)
        ax.set(xlabel="geodesic distance from the truth [rad]", ylabel="cost")
        ax.set_title(f"{name}\nr = {found.pearson:.2f}, rho = {found.spearman:.2f}")
    return figure


@styled
def success_figure(
    rates: Mapping[str, Mapping[float, Mapping[str, float | int]]], label: str = "start from the truth [mm and deg]"
) -> Figure:
    """Draws how many registrations succeed, over how far off they start.

    Args:
        rates: method -> how far off -> what `metrics.registration.success_rate` returns.
        label: how far off is told, with its unit, as on the axis.

    Returns:
        The figure: rates with their 95 % confidence intervals.
    """
    figure, axes = empty_axes()
    distances = [distance for by_distance in rates.values() for distance in by_distance]
    if not distances:
        say(axes, "No registration has been counted.")
        return figure
    apart = SHIFT * (np.ptp(distances) or 1.0)
    places = apart * (np.arange(len(rates)) - (len(rates) - 1) / 2)
    colour = colours(rates)
    for place, (name, by_distance) in zip(places, rates.items(), strict=True):
        x = np.sort(list(by_distance))
        _intervals(axes, x + place, [by_distance[distance] for distance in x], colour[name], name)
    axes.set(xlabel=label, ylabel="success [%]", ylim=(-3, 103))
    legend_above(axes, columns=2)
    return figure


def _intervals(axes: Axes, x: np.ndarray, rates: Sequence[Mapping[str, float | int]], colour: str, name: str) -> None:
    rate, low, high = (np.array([100 * one[key] for one in rates]) for key in ("rate", "low", "high"))
    # Of rates of 0 and 1 the ends of the interval may lie a rounding inside.
    beside = np.maximum([rate - low, high - rate], 0.0)
    axes.errorbar(x, rate, beside, color=colour, marker="o", markersize=4, elinewidth=1.2, capsize=2.5, label=name)


def _white(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")
