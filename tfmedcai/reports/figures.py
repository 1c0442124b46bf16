"""Figures of a search and of the networks it found: pure functions from rows and arrays to matplotlib figures."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfmedcai.reports.overlay import Marks, overlay
from tfmedcai.reports.series import (
    SCORE,
    Objective,
    Row,
    band,
    best_so_far,
    by_seed,
    cost_of,
    finite,
    pareto_front,
    rank_correlations,
    scored,
)
from tfmedcai.reports.style import (
    INK,
    colours,
    empty_axes,
    legend_above,
    log_if_wide,
    plain_numbers,
    say,
    short,
    styled,
)
from tfmedcai.reports.tables import metric_title

__all__ = [
    "Marks",
    "block",
    "error_histogram",
    "overlay",
    "progress",
    "rank_correlation",
    "relaxed_course",
    "score_by_cost",
    "training_curves",
]
MANY_POINTS = 2000  # from here on a scatter is a bitmap inside the SVG, which keeps the report small


@styled
def progress(trials: Iterable[Row], objective: Objective = SCORE) -> Figure:
    """Draws the best score so far of each oracle over the number of scored architectures.

    Args:
        trials: rows of all oracles and seeds; failed ones become crosses at the foot of the figure.
        objective: name, unit and direction of the score.

    Returns:
        The figure: a thin line for each seed, the mean of the seeds and a band from the lowest to the highest.

    Reference:
        AutoSNAP, Fig. 3.
    """
    figure, axes = empty_axes()
    groups = by_seed(trials)
    colour = colours(groups)
    for level, (oracle, seeds) in enumerate(groups.items()):
        runs = [best_so_far(rows, objective) for rows in seeds.values()]
        _curves(axes, [run.best for run in runs], oracle, colour[oracle])
        failed = np.concatenate([run.failed for run in runs])
        foot = np.full(len(failed), 0.02 + 0.04 * level)
        axes.plot(failed, foot, "x", color=colour[oracle], markersize=5, mew=1.2, transform=axes.get_xaxis_transform())
    if not axes.get_legend_handles_labels()[0]:
        say(axes, "No architecture has been scored yet.")
        return figure
    if any(row.get("state") == "FAILED" for seeds in groups.values() for rows in seeds.values() for row in rows):
        axes.plot([], [], "x", color=INK, markersize=5, mew=1.2, label="failed trial")
    axes.set_xlabel("scored architectures")
    axes.set_ylabel(f"best {objective.label}")
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes, columns=2)
    return figure


def _curves(axes: Axes, curves: Sequence[np.ndarray], label: str, colour: str) -> None:
    """Draws step curves that begin at x = 1: each seed thin, mean and band where all seeds have values."""
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    for curve in curves if len(curves) > 1 else ():
        axes.step(*_steps(curve), where="post", color=colour, linewidth=0.8, alpha=0.55)
    common = band(curves)
    seeds = f" (mean of {common.count} seeds)" if common.count > 1 else ""
    axes.step(*_steps(common.mean), where="post", color=colour, label=label + seeds)
    x, low = _steps(common.low)
    axes.fill_between(x, low, _steps(common.high)[1], step="post", color=colour, alpha=0.16, linewidth=0)


def _steps(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives the last value half a step of length, so that it can be seen."""
    return np.append(np.arange(1, len(curve) + 1), len(curve) + 0.5), np.append(curve, curve[-1])


@styled
def rank_correlation(rounds: Iterable[Row]) -> Figure:
    """Draws how well the value estimator ranked the architectures that were measured after its fit, by round.

    Args:
        rounds: rows of rounds.jsonl; Spearman's correlation between estimate and score, null in the first round.

    Returns:
        The figure: a thin line for each seed, the mean of the seeds at each round.
    """
    figure, axes = empty_axes()
    found = rank_correlations(rounds)
    if not found:
        say(axes, "No estimate has been checked against a score yet.")
        return figure
    colour = colours(found)
    for oracle, seeds in found.items():
        for x, y in seeds.values():
            axes.plot(x, y, ".-", color=colour[oracle], linewidth=0.8, alpha=0.55)
        where = np.unique(np.concatenate([x for x, _ in seeds.values()]))
        mean = [np.mean([y[x == at].mean() for x, y in seeds.values() if at in x]) for at in where]
        seeds_text = f" (mean of {len(seeds)} seeds)" if len(seeds) > 1 else ""
        axes.plot(where, mean, "o-", color=colour[oracle], markersize=4, label=oracle + seeds_text)
    axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="round", ylabel="rank correlation (Spearman)", ylim=(-1.05, 1.05))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    return figure


@styled
def relaxed_course(courses: Sequence[Mapping[str, np.ndarray]], columns: Mapping[str, str], label: str) -> Figure:
    """Draws how the searches by relaxation went, epoch by epoch.

    Args:
        courses: one for each seed and part of the data; see `relaxed_courses`.
        columns: column -> what the legend says.
        label: what is drawn, with its unit, as on the axis.

    Returns:
        The figure: a thin line for each search, the mean of the searches thick.
    """
    figure, axes = empty_axes()
    colour = colours(columns)
    for column, words in columns.items():
        curves = [course[column] for course in courses]
        mean = band(curves).mean
        for curve in curves if len(curves) > 1 else ():
            axes.plot(np.arange(1, len(curve) + 1), curve, color=colour[column], linewidth=0.6, alpha=0.5)
        text = f"{words} (mean of {len(curves)} searches)" if len(curves) > 1 else words
        axes.plot(np.arange(1, len(mean) + 1), mean, color=colour[column], label=text)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes, columns=1)
    return figure


@styled
def score_by_cost(trials: Iterable[Row], objective: Objective = SCORE, cost: str = "parameters") -> Figure:
    """Draws the score of every architecture over its cost, with the Pareto front.

    Args:
        trials: rows of all oracles and seeds; those without score or cost are left out.
        objective: name, unit and direction of the score.
        cost: "parameters", or a metric of the trials of which less is better.

    Returns:
        The figure.
    """
    figure, axes = empty_axes()
    rows = [row for row in scored(trials) if finite(cost_of(row, cost))]
    if not rows:
        say(axes, f"No architecture with a score and {metric_title(cost)}.")
        return figure
    groups = by_seed(rows)
    colour = colours(groups)
    for oracle, seeds in groups.items():
        points = np.asarray([(cost_of(row, cost), row["score"]) for seed in seeds.values() for row in seed], float)
        axes.scatter(
            *points.T, s=16, color=colour[oracle], alpha=0.75, lw=0, label=oracle, rasterized=len(rows) > MANY_POINTS
        )
    x, y = np.asarray([(cost_of(row, cost), row["score"]) for row in rows], float).T
    front = pareto_front(x, y, objective)
    axes.plot(x[front], y[front], "o--", color=INK, linewidth=1, markersize=6, mfc="none", label="Pareto front")
    log_if_wide(axes.set_xscale, x)
    if axes.get_xscale() == "log":
        plain_numbers(axes.xaxis)
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlabel(metric_title(cost))
    axes.set_ylabel(objective.label)
    axes.legend(loc="best")
    return figure


@styled
def error_histogram(errors: Mapping[str, np.ndarray], label: str) -> Figure:
    """Draws the distribution of the errors of one or several networks over the same bins.

    Args:
        errors: network -> `(n,)` absolute errors, all in the unit that `label` names.
        label: what is measured and its unit, as on the axis ("position error [mm]").

    Returns:
        The figure: share of the cases per bin; the legend gives median and 95th percentile. The axis is
        logarithmic where the errors span more than a factor of 20.
    """
    figure, axes = empty_axes()
    kept = {name: np.asarray(e, float)[np.isfinite(e)] for name, e in errors.items()}
    kept = {name: values for name, values in kept.items() if len(values)}
    if not kept:
        say(axes, "No finite error was recorded.")
        return figure
    everything = np.concatenate(list(kept.values()))
    log_if_wide(axes.set_xscale, np.quantile(everything, [0.02, 0.5, 1.0]))
    bins = _bins(everything, logarithmic=axes.get_xscale() == "log")
    for name, colour in colours(kept).items():
        if name not in kept:
            continue
        values = kept[name]
        median, p95 = np.quantile(values, [0.5, 0.95])
        axes.hist(
            np.clip(values, bins[0], bins[-1]),
            bins=bins.tolist(),
            weights=np.full(len(values), 100.0 / len(values)),
            histtype="stepfilled",
            facecolor=(colour, 0.22),
            edgecolor=colour,
            linewidth=1.5,
            label=f"{name}: median {median:.3g}, p95 {p95:.3g}",
        )
    if axes.get_xscale() == "log":
        plain_numbers(axes.xaxis)
    axes.set(xlabel=label, ylabel="share of cases [%]")
    legend_above(axes, columns=1)
    return figure


def _bins(values: np.ndarray, logarithmic: bool, count: int = 32) -> np.ndarray:
    high = values.max()
    if not logarithmic:
        return np.linspace(0.0, high if high > 0 else 1.0, count + 1)
    return np.geomspace(np.quantile(values[values > 0], 0.01), high, count + 1)


@styled
def training_curves(histories: Mapping[str, Sequence[Mapping[str, Sequence[float]]]], metric: str) -> Figure:
    """Draws how one quantity went during training: validation solid, training dashed, a band over the seeds.

    Args:
        histories: network -> one history a seed; a history maps `metric` and `validation_<metric>` to a value an epoch.
        metric: name without the prefix `validation_`.

    Returns:
        The figure.
    """
    figure, axes = empty_axes()
    colour = colours(histories)
    values: list[np.ndarray] = []
    for name, seeds in histories.items():
        # What is measured beside the loss is measured on samples that are held back.
        own = ("--", "training") if metric == "loss" else ("-", "validation")
        for key, line, word in ((metric, *own), (f"validation_{metric}", "-", "validation")):
            curves = [np.asarray(seed[key], float) for seed in seeds if len(seed.get(key, ()))]
            common = band(curves)
            if not common.count:
                continue
            x = np.arange(1, len(common.mean) + 1)
            axes.plot(x, common.mean, line, color=colour[name], linewidth=1.6, label=f"{name}, {word}")
            axes.fill_between(x, common.low, common.high, color=colour[name], alpha=0.14, linewidth=0)
            values.append(common.mean[np.isfinite(common.mean)])
    if not values:
        say(axes, f"No values of {metric} were recorded.")
        return figure
    everything = np.concatenate(values)
    if len(everything):
        log_if_wide(axes.set_yscale, everything)
    if axes.get_yscale() == "log":
        plain_numbers(axes.yaxis)
    axes.set(xlabel="epoch", ylabel=metric.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    return figure


def block(draw: Callable[[Axes], None]) -> Figure:
    """Makes a figure of one architecture; `draw` gets the empty axes (no style is imposed on it)."""
    figure, axes = empty_axes(6.4, 3.6)
    draw(axes)
    return figure
