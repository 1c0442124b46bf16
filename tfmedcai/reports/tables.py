"""The tables of a report: pose errors of the networks as in the papers, and every trial of a search."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfmedcai.reports.document import Body, Cell, Column, Table
from tfmedcai.reports.series import Objective, Row, cost_of, finite, pareto_front, scored

DIGITS = {"mm": ".3f", "deg": ".2f"}
UNITS = {"mm": "mm", "deg": "deg", "px": "px", "s": "s", "ms": "ms"}


def metric_label(metric: str) -> tuple[str, str]:
    """Returns the name of a metric as words and unit; behind a number it is the unit of that.

    >>> metric_label("hd95_mm"), metric_label("dice"), metric_label("within_20_px")
    (('hd95', 'mm'), ('dice', ''), ('within 20 px', ''))
    """
    words, _, unit = metric.rpartition("_")
    number_before = words.rpartition("_")[2].replace(".", "").isdigit()
    if words and unit in UNITS and not number_before:
        return words.replace("_", " "), UNITS[unit]
    return metric.replace("_", " "), ""


def metric_title(metric: str) -> str:
    """Returns what a metric measures, with its unit, as in the head of a table.

    >>> metric_title("position_error_mm"), metric_title("dice")
    ('position error [mm]', 'dice')
    """
    words, unit = metric_label(metric)
    return f"{words} [{unit}]" if unit else words


def metrics_of(evaluations: Iterable[Row]) -> list[str]:
    """Returns the names of all metrics of some evaluations, in order of appearance."""
    return list(dict.fromkeys(metric for row in evaluations for group in row["groups"].values() for metric in group))


def number(value: float, unit: str = "") -> str:
    """Returns a measured value with the digits usual for its unit.

    >>> number(0.01678, "mm"), number(0.5249, "deg"), number(float("nan"), "mm")
    ('0.017', '0.52', '-')
    """
    return format(value, DIGITS.get(unit, ".4g")) if math.isfinite(value) else "-"


def spread(mean: float, std: float, unit: str = "") -> str:
    """Returns a mean and its standard deviation as text.

    Args:
        mean: of the cases or seeds.
        std: its standard deviation.
        unit: of both.

    Returns:
        Both with the digits usual for the unit.

    >>> spread(0.5, 0.25, "mm"), spread(float("nan"), float("nan"))
    ('0.500 ± 0.250', '-')
    """
    return f"{number(mean, unit)} ± {number(std, unit)}" if math.isfinite(mean) else "-"


def by_model(evaluations: Iterable[Row]) -> dict[str, list[Row]]:
    """Sorts evaluations by network, in order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in evaluations:
        groups.setdefault(str(row["model"]), []).append(row)
    return groups


def pooled(statistics: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Computes mean and standard deviation of all errors from those of the seeds.

    Args:
        statistics: for each seed `mean`, `std` (around that mean) and `n`, the number of errors.

    Returns:
        Mean and standard deviation, in the unit of the errors; NaN without errors.

    >>> pooled([{"mean": 1.0, "std": 0.0, "n": 2}, {"mean": 3.0, "std": 0.0, "n": 2}])
    (2.0, 1.0)
    """
    n = np.asarray([s["n"] for s in statistics], float)
    if not n.sum():
        return math.nan, math.nan
    mean = np.asarray([s["mean"] for s in statistics], float)
    std = np.asarray([s["std"] for s in statistics], float)
    centre = float((n * mean).sum() / n.sum())
    return centre, math.sqrt(max(float((n * (std**2 + (mean - centre) ** 2)).sum() / n.sum()), 0.0))


def extremes(statistics: Sequence[Mapping[str, float]]) -> tuple[float, float, float, float]:
    """Returns lowest value of all seeds, mean of their medians and of their 95th percentiles, and highest value.

    >>> extremes([{"min": 1, "median": 2, "p95": 3, "max": 4}, {"min": 2, "median": 4, "p95": 5, "max": 6}])
    (1, 3.0, 4.0, 6)
    """
    low, median, p95, high = ([s[key] for s in statistics] for key in ("min", "median", "p95", "max"))
    return min(low), float(np.mean(median)), float(np.mean(p95)), max(high)


def between(values: Sequence[float], unit: str = "") -> str:
    """Returns mean and standard deviation (n - 1) between seeds; with one seed there is no deviation.

    >>> between([1.0, 2.0, 3.0], "mm"), between([1.0], "mm")
    ('2.000 ± 1.000', 'one seed')
    """
    if len(values) < 2:
        return "one seed"
    return spread(float(np.mean(values)), float(np.std(values, ddof=1)), unit)


def error_table(evaluations: Sequence[Row], hand_made: str | None) -> Table:
    """Tabulates the results of each network in each group, over cases and between seeds.

    Args:
        evaluations: contents of evaluation.json, one a network and seed.
        hand_made: name of the network that the others are compared with in size; None leaves the ratio out.

    Returns:
        A table with a body for each group (a number of iterations, a structure) and a row for each network.

    Reference:
        AutoSNAP, Table 2.
    """
    models = by_model(evaluations)
    metrics = metrics_of(evaluations)
    columns = [Column("model"), Column("seeds", number=True)]
    for metric in metrics:
        names = ("mean ± std", "min", "median", "p95", "max", "seeds: mean ± std")
        columns += [Column(name, number=True, group=metric_title(metric)) for name in names]
    columns += [Column("MMAC", number=True), Column("parameters", number=True)]
    columns += [Column(f"ratio to {hand_made}", number=True)] if hand_made else []
    bodies = []
    for group in dict.fromkeys(group for row in evaluations for group in row["groups"]):
        rows = [
            [model, len(rows), *_results(rows, group, metrics), *_size(rows, models, hand_made)]
            for model, rows in models.items()
            if any(group in row["groups"] for row in rows)
        ]
        bodies.append(Body(rows, group))
    caption = (
        "Mean ± standard deviation, lowest and highest over the cases of all seeds; median and p95 are means of the "
        "seeds' medians and 95th percentiles; the last column of each group is the mean of the seeds' means ± their "
        "standard deviation between seeds."
    )
    return Table(caption, columns, bodies)


def _results(rows: Sequence[Row], group: str, metrics: Sequence[str]) -> list[Cell]:
    cells: list[Cell] = []
    for metric in metrics:
        unit = metric_label(metric)[1]
        found = [row["groups"].get(group, {}).get(metric) for row in rows]
        seeds = [statistics for statistics in found if statistics]
        if not seeds:
            cells += [None] * 6
            continue
        mean, std = pooled(seeds)
        order = [number(value, unit) for value in extremes(seeds)]
        cells += [spread(mean, std, unit), *order]
        cells.append(between([s["mean"] for s in seeds], unit))
    return cells


def mean_of(rows: Sequence[Row], name: str) -> float:
    """Returns the mean of "parameters", say, of the networks of several seeds; NaN if none is known."""
    sizes = [row[name] for row in rows if finite(row.get(name))]
    return float(np.mean(sizes)) if sizes else math.nan


def _size(rows: Sequence[Row], models: Mapping[str, list[Row]], hand_made: str | None) -> list[Cell]:
    cells: list[Cell] = [_range(rows, "multiply_accumulates", 1e-6, ",.4g"), _range(rows, "parameters", 1, ",.0f")]
    if not hand_made:
        return cells
    ratio = mean_of(rows, "parameters") / mean_of(models.get(hand_made, []), "parameters")
    return [*cells, format(ratio, ".3g") if math.isfinite(ratio) else None]


def _range(rows: Sequence[Row], name: str, scale: float, digits: str) -> str | None:
    sizes = sorted({scale * row[name] for row in rows if finite(row.get(name))})
    return " to ".join(format(size, digits) for size in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else None


def seed_table(evaluations: Sequence[Row]) -> Table:
    """Tabulates the evaluation of every network and seed with its architecture.

    Args:
        evaluations: contents of evaluation.json, one a network and seed.

    Returns:
        A table with a row for each network, seed and group.
    """
    metrics = metrics_of(evaluations)
    columns = [Column("model"), Column("seed", number=True), Column("group")]
    columns += [Column(metric_title(metric), number=True) for metric in metrics]
    columns += [Column("cases", number=True), Column("parameters", number=True), Column("architecture")]
    rows = []
    for row in evaluations:
        for group, results in row["groups"].items():
            cells: list[Cell] = [str(row["model"]), row.get("seed"), group]
            for metric in metrics:
                one, unit = results.get(metric), metric_label(metric)[1]
                cells.append(spread(one["mean"], one["std"], unit) if one else None)
            cells += [max(one["n"] for one in results.values()), row.get("parameters"), row.get("architecture") or "-"]
            rows.append(cells)
    return Table("Each seed: mean ± standard deviation over its cases.", columns, [Body(rows)])


def trial_table(trials: Sequence[Row], objective: Objective, cost: str = "parameters") -> Table:
    """Tabulates all trials, best first, stopped and failed ones last; the reader sorts and filters it.

    Args:
        trials: rows of trials.jsonl.
        objective: gives name, unit and direction of the score.
        cost: second objective; "parameters", or a metric of the trials, which then has a column.

    Returns:
        A table with a row for each trial.
    """
    columns = [
        Column("oracle", choices=True),
        Column("seed", number=True, choices=True),
        Column("trial", number=True),
        Column("state", choices=True),
        Column("architecture"),
        Column(objective.name, number=True, digits="#.4g"),
        *([Column(metric_title(cost), number=True, digits=".6g")] if cost != "parameters" else []),
        Column("parameters", number=True),
        Column("Pareto front", choices=True),
        Column("seconds", number=True, digits=".1f"),
        Column("source", choices=True),
        Column("reason"),
    ]
    ranked = sorted(scored(trials), key=lambda row: row["score"], reverse=objective.direction == "max")
    known = {id(row) for row in ranked}
    costed = [row for row in ranked if finite(cost_of(row, cost))]
    front = pareto_front([cost_of(row, cost) for row in costed], [row["score"] for row in costed], objective)
    best = {id(costed[place]) for place in front}
    rows = [_trial(row, cost, id(row) in best) for row in [*ranked, *(row for row in trials if id(row) not in known)]]
    caption = f"All trials, best {objective.label} first, stopped and failed ones last."
    return Table(caption, columns, [Body(rows)], row_header=2, interactive=True)


def _trial(row: Mapping[str, Any], cost: str, on_front: bool) -> list[Cell]:
    time = row.get("time") or {}
    seconds = time.get("seconds")
    return [
        row.get("oracle"),
        row.get("seed"),
        row.get("trial"),
        row.get("state"),
        row.get("architecture") or "(empty)",
        row.get("score"),
        *([cost_of(row, cost)] if cost != "parameters" else []),
        row.get("parameters"),
        "yes" if on_front else "no",
        float(seconds) if finite(seconds) else None,
        row.get("source"),
        row.get("reason") or "",
    ]
