"""Whether networks differ on the same cases: tests of ranks for each metric, as a table and as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmedcai.metrics.statistics import compare_methods
from tfmedcai.reports.document import Body, Cell, Column, Table
from tfmedcai.reports.tables import metric_label, metric_title, number

Values = Mapping[str, Mapping[str, np.ndarray]]  # network -> metric -> (n,) of all cases
BySeed = Mapping[str, Mapping[str, Sequence[np.ndarray]]]  # the same, an array a seed


def paired(values: BySeed, *, seeds_hold_out: bool) -> dict[str, dict[str, np.ndarray]]:
    """Makes one value a case of what several seeds measured.

    Args:
        values: network -> metric -> `(n,)` for each seed, the cases in the same order for all networks.
        seeds_hold_out: whether each seed has cases of its own; else all measured the same ones and are averaged.

    Returns:
        Network -> metric -> `(n,)`.

    >>> paired({"unet": {"dice": [np.array([0.5, 0.7]), np.array([0.6, 0.9])]}}, seeds_hold_out=False)["unet"]["dice"]
    array([0.55, 0.8 ])
    """
    join = np.concatenate if seeds_hold_out else lambda seeds: np.mean(seeds, axis=0)
    return {
        network: {metric: join([np.asarray(seed, float) for seed in seeds]) for metric, seeds in metrics.items()}
        for network, metrics in values.items()
    }


def rank_tests(values: Values) -> dict[str, dict[str, Any]]:
    """Compares all networks in each metric that can be compared: the same cases, two or more of them.

    Args:
        values: see `paired`.

    Returns:
        Metric -> what `compare_methods` returns; empty where there is nothing to compare.
    """
    metrics = dict.fromkeys(metric for measured in values.values() for metric in measured)
    tests = {}
    for metric in metrics:
        columns = {network: measured[metric] for network, measured in values.items() if metric in measured}
        if len(columns) < 2 or len({len(column) for column in columns.values()}) > 1:
            continue
        if (~np.isnan(np.stack(list(columns.values()))).any(axis=0)).sum() >= 2:
            tests[metric] = compare_methods(columns)
    return tests


def comparison_table(values: Values) -> Table | None:
    """Tabulates the tests between networks.

    Args:
        values: see `paired`.

    Returns:
        A table with a row for each pair of networks; None where there is nothing to compare.

    Reference:
        MB-NAS, section 3.4.
    """
    tests = rank_tests(values)
    if not tests:
        return None
    columns = [Column("networks")]
    for metric in tests:
        columns += [Column(name, number=True, group=metric_title(metric)) for name in ("median difference", "p (Holm)")]
    rows: dict[str, list[Cell]] = {}
    for metric, test in tests.items():
        for pair in test["pairs"]:
            row = rows.setdefault(" − ".join(pair["methods"]), [])
            row += [number(pair["median_difference"], metric_label(metric)[1]), f"{pair['p_holm']:.2g}"]
    friedman = [
        f"{metric_title(metric)} p = {test['friedman']['p']:.2g}" for metric, test in tests.items() if test["friedman"]
    ]
    caption = "Wilcoxon's signed-rank test between each two networks, p corrected for the number of pairs. " + (
        f"Friedman's test over all of them: {', '.join(friedman)}. " if friedman else ""
    )
    cases = ", ".join(f"{metric_title(metric)} {test['n']}" for metric, test in tests.items())
    return Table(f"{caption}Cases: {cases}.", columns, [Body([[name, *cells] for name, cells in rows.items()])])


def comparison_lines(values: Values) -> list[str]:
    """Writes the tests between networks as lines of text, one a metric and pair.

    Args:
        values: see `paired`.

    Returns:
        Lines without line ends.
    """
    lines = []
    for metric, test in rank_tests(values).items():
        friedman = f", Friedman p {test['friedman']['p']:.2g}" if test["friedman"] else ""
        lines.append(f"{metric_title(metric)}: {test['n']} cases{friedman}")
        for pair in test["pairs"]:
            difference = number(pair["median_difference"], metric_label(metric)[1])
            names = " - ".join(pair["methods"])
            lines.append(f"  {names}: median difference {difference}, Wilcoxon p {pair['p_holm']:.2g} (Holm)")
    return lines
