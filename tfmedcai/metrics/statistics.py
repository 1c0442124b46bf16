"""Summaries over cases, and whether methods differ: Friedman's test, Wilcoxon's for each pair, Holm's correction."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike


def summary_of(values: ArrayLike) -> dict[str, float | int]:
    """Summarises a metric over cases; infinite and undefined values are counted apart, not averaged.

    Args:
        values: `(n,)` one value a case; inf: failed, NaN: nothing to measure.

    Returns:
        "mean", "std" (of the population), "min", "max", "median" and "p95" of the finite values, "n" of them, and how
        many others are "infinite" and "absent".

    >>> summary_of([1.0, 3.0, float("inf")])["mean"]
    2.0
    """
    all_values = np.asarray(values, float)
    finite = all_values[np.isfinite(all_values)]
    found = finite if len(finite) else np.array([np.nan])
    return {
        "mean": float(found.mean()),
        "std": float(found.std()),
        "min": float(found.min()),
        "max": float(found.max()),
        "median": float(np.median(found)),
        "p95": float(np.quantile(found, 0.95)),
        "n": len(finite),
        "infinite": int(np.isinf(all_values).sum()),
        "absent": int(np.isnan(all_values).sum()),
    }


def fingerprint(*arrays: ArrayLike) -> str:
    """Tells cases, arrays of any shapes, from others, so that methods are compared on the same ones only.

    Args:
        arrays: what makes the cases: true values, names. Fractions are rounded to hundredths, since machines differ in
            the last bits of what they simulate.

    Returns:
        Twelve hexadecimal digits.

    >>> fingerprint([1.0, 2.0], ["a"]) == fingerprint([1.0, 2.0 + 1e-6], ["a"]) != fingerprint([1.0, 3.0], ["a"])
    True
    """
    digest = hashlib.sha256()
    for given in arrays:
        array = np.asarray(given)
        if array.dtype.kind == "f":
            array = np.round(array.astype(float), 2) + 0.0  # there is one zero, not two
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def compare_methods(values: Mapping[str, ArrayLike], significance: float = 0.05) -> dict[str, Any]:
    """Tests whether methods differ on the same cases.

    Both tests are of ranks: nothing is assumed of the distribution, and infinite values, a missed structure, say, are
    allowed. Cases with a NaN in any method are left out.

    Args:
        values: method -> `(n,)` one value a case, the cases in the same order for all methods.
        significance: level below which a corrected p counts as a difference.

    Returns:
        "n": cases that were compared. "friedman": "statistic" and "p", None with fewer than 3 methods. "pairs": a list
        of dicts for each pair with "methods", "median_difference" (first less second), "p", "p_holm" (corrected for
        the number of pairs) and "different".

    Raises:
        ValueError: if there are fewer than 2 methods, other numbers of cases, or fewer than 2 cases to compare.

    Reference:
        Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006; MB-NAS, section 3.4.

    >>> better = np.arange(10) + np.linspace(0.1, 0.2, 10)
    >>> test = compare_methods({"ours": better, "baseline": np.arange(10)})
    >>> test["pairs"][0]["methods"], test["pairs"][0]["p"] < 0.01, test["friedman"]
    (('ours', 'baseline'), True, None)
    """
    table = _table(values)
    friedman = None
    if len(table) > 2:
        statistic, p = _friedman(table)
        friedman = {"statistic": statistic, "p": p}
    pairs = []
    for (first, a), (second, b) in itertools.combinations(zip(values, table, strict=True), 2):
        difference = _difference(a, b)
        pairs.append(
            {"methods": (first, second), "median_difference": float(np.median(difference)), "p": _wilcoxon(difference)}
        )
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair |= {"p_holm": corrected, "different": corrected < significance}
    return {"n": table.shape[1], "friedman": friedman, "pairs": pairs}


def holm(p: Sequence[float]) -> list[float]:
    """Corrects p values for their number.

    Args:
        p: of each test.

    Returns:
        The corrected values in the same order, at most 1.

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected.tolist()


def _table(values: Mapping[str, ArrayLike]) -> np.ndarray:
    columns = [np.asarray(column, float) for column in values.values()]
    shapes = {name: column.shape for name, column in zip(values, columns, strict=True)}
    if len(columns) < 2 or len(set(shapes.values())) > 1 or columns[0].ndim != 1:
        raise ValueError(
            f"`values` must be the same cases, (n,), of 2 or more methods. Received {shapes}: "
            "compare on the cases that all methods have."
        )
    table = np.stack(columns)
    table = table[:, ~np.isnan(table).any(axis=0)]
    if table.shape[1] < 2:
        raise ValueError(f"`values` must hold 2 or more cases without NaN. Received {table.shape[1]}.")
    return table


def _friedman(table: np.ndarray) -> tuple[float, float]:
    if (table == table[0]).all():
        return 0.0, 1.0  # scipy would divide 0 by 0
    result = scipy.stats.friedmanchisquare(*table)
    return float(result.statistic), float(result.pvalue)


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Subtracts; two infinite values do not differ."""
    same = first == second
    return np.where(same, 0.0, first - np.where(same, 0.0, second))


def _wilcoxon(difference: np.ndarray) -> float:
    if not difference.any():
        return 1.0
    # The test looks at ranks only: the largest differences may all have the same finite value.
    finite = np.abs(difference[np.isfinite(difference)])
    most = 2 * finite.max() + 1 if len(finite) else 1.0
    return float(scipy.stats.wilcoxon(np.clip(difference, -most, most), zero_method="pratt").pvalue)
