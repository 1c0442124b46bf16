"""The numbers behind the figures of a search: best-so-far curves, bands over seeds, the Pareto front."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Objective:
    """What a search optimises: the name and unit of the score, and whether more of it is better."""

    name: str = "score"
    unit: str = ""
    direction: str = "max"  # "max" or "min"

    def __post_init__(self):
        if self.direction not in ("max", "min"):
            raise ValueError(
                f'`direction` must be "max" or "min". Received {self.direction!r}. '
                'Use "max" where a higher score is better.'
            )

    @property
    def label(self) -> str:
        """Name and unit, as on an axis.

        >>> Objective("value", "-log10 MSE").label
        'value [-log10 MSE]'
        """
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def best(self, values: Sequence[float]) -> int:
        """Returns the position of the best of `values`."""
        return int(np.argmax(values) if self.direction == "max" else np.argmin(values))


SCORE = Objective()


@dataclass(frozen=True)
class Progress:
    """How one seed of one oracle went on: `best` `(n,)` after 1..n scored architectures, `failed` `(k,)` counts."""

    best: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True)
class Band:
    """Mean, lowest and highest `(n,)` of several curves, each over the length that all of them have."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: int


def scored(rows: Iterable[Row]) -> list[Row]:
    """Returns the trials that have a finite score, in order.

    >>> scored([{"state": "COMPLETED", "score": 1.0}, {"state": "FAILED", "score": None}])
    [{'state': 'COMPLETED', 'score': 1.0}]
    """
    return [row for row in rows if row.get("state") == "COMPLETED" and finite(row.get("score"))]


def finite(value: Any) -> TypeGuard[float]:
    """Says whether `value` is a number that can be drawn (not None, NaN or infinite)."""
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)


def by_seed(rows: Iterable[Row]) -> dict[str, dict[int, list[Row]]]:
    """Returns rows of trials or rounds by oracle, then by seed.

    >>> by_seed([{"oracle": "random", "seed": 1}])
    {'random': {1: [{'oracle': 'random', 'seed': 1}]}}
    """
    groups: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        groups.setdefault(str(row.get("oracle", "?")), {}).setdefault(row.get("seed", 0), []).append(row)
    return groups


def best_so_far(rows: Iterable[Row], objective: Objective = SCORE) -> Progress:
    """Computes the best score after each newly scored architecture of one oracle and seed.

    A trial that was stopped early counts, and is never the best. A proposal that this seed had already scored costs no
    training and does not lengthen the curve; an
    architecture whose score another seed or oracle had left in the cache does, so that curves stay comparable.

    Args:
        rows: trials of one oracle and seed, in the order in which they ended.
        objective: gives the direction.

    Returns:
        `Progress`: the curve, in the unit of the objective, and for each failed trial the number of
        architectures that had been scored before it.

    Reference:
        AutoSNAP, Fig. 3.

    >>> best_so_far([{"state": "COMPLETED", "score": s, "key": str(s)} for s in (1.0, 3.0, 2.0)]).best.tolist()
    [1.0, 3.0, 3.0]
    """
    best: list[float] = []
    failed: list[int] = []
    seen: set[Any] = set()
    better = max if objective.direction == "max" else min
    for row in rows:
        key = row.get("key", row.get("architecture"))
        if row.get("state") == "FAILED":
            failed.append(len(best))
        elif row.get("state") == "STOPPED" and best and key not in seen:
            seen.add(key)
            best.append(best[-1])
        elif scored([row]) and (key is None or key not in seen):
            seen.add(key)
            best.append(better(best[-1], row["score"]) if best else float(row["score"]))
    return Progress(np.asarray(best, float), np.asarray(failed, int))


def band(curves: Sequence[Sequence[float] | np.ndarray]) -> Band:
    """Computes mean, minimum and maximum of curves over the length that all of them have.

    Args:
        curves: one curve a seed, each `(n_i,)`; empty curves are left out.

    Returns:
        `Band` of length `min(n_i)`; of length 0 without curves.

    >>> band([[1.0, 2.0, 3.0], [3.0, 4.0]]).mean.tolist()
    [2.0, 3.0]
    """
    kept = [np.asarray(curve, float) for curve in curves if len(curve)]
    if not kept:
        return Band(np.empty(0), np.empty(0), np.empty(0), 0)
    length = min(len(curve) for curve in kept)
    stack = np.stack([curve[:length] for curve in kept])
    return Band(stack.mean(0), stack.min(0), stack.max(0), len(kept))


def cost_of(row: Row, cost: str) -> Any:
    """Returns the second objective of a trial: its parameters, or the metric of that name; None if unknown.

    >>> cost_of({"parameters": 5, "metrics": {"latency_ms": 0.7}}, "latency_ms")
    0.7
    """
    return row.get(cost) if cost == "parameters" else (row.get("metrics") or {}).get(cost)


def pareto_front(cost: Sequence[float], score: Sequence[float], objective: Objective = SCORE) -> np.ndarray:
    """Finds the points that no other point beats in both cost and score.

    Args:
        cost: `(n,)`, less is better (number of parameters).
        score: `(n,)` in the unit of the objective.
        objective: gives the direction of the score.

    Returns:
        `(k,)` int: positions of the points of the front by rising cost; of equal points, the first.

    Raises:
        ValueError: if the two differ in length.

    >>> pareto_front([1, 2, 3], [5.0, 4.0, 6.0]).tolist()
    [0, 2]
    """
    if len(cost) != len(score):
        raise ValueError(
            f"`cost` and `score` must have the same length (n,). Received {len(cost)} and {len(score)}. "
            "Give both for the same trials."
        )
    gain = np.asarray(score, float) * (1 if objective.direction == "max" else -1)
    front: list[int] = []
    for index in np.lexsort((-gain, np.asarray(cost, float))):
        if not front or gain[index] > gain[front[-1]]:
            front.append(int(index))
    return np.asarray(front, int)


class ParetoFront:
    """The trials that no other one beats in both score and cost, while they come in.

    Args:
        cost: second objective; see `cost_of`.
        direction: of the score, "max" or "min".

    >>> front = ParetoFront("parameters", "max")
    >>> rows = [{"state": "COMPLETED", "score": s, "parameters": p} for s, p in ((1.0, 10), (2.0, 20), (1.5, 30))]
    >>> for row in rows: front.add(row)
    >>> front.points
    [(10, 1.0), (20, 2.0)]
    """

    def __init__(self, cost: str, direction: str):
        self.cost, self._sign = cost, 1 if direction == "max" else -1
        self.points: list[tuple[float, float]] = []  # cost, signed score

    def beats(self, row: Row) -> bool:
        """Tells whether a trial lies on the front of those before it and itself."""
        point = self._point(row)
        return point is not None and not any(cost <= point[0] and gain >= point[1] for cost, gain in self.points)

    def add(self, row: Row) -> None:
        """Takes a trial in, if it lies there, and drops those that it beats."""
        point = self._point(row)
        if point is not None and self.beats(row):
            self.points = [(cost, gain) for cost, gain in self.points if cost < point[0] or gain > point[1]] + [point]

    def _point(self, row: Row) -> tuple[float, float] | None:
        cost = cost_of(row, self.cost)
        return (cost, self._sign * row["score"]) if scored([row]) and finite(cost) else None


def relaxed_courses(rounds: Iterable[Row]) -> list[dict[str, np.ndarray]]:
    """Collects how the searches by relaxation went, one for each seed and part of the data.

    Args:
        rounds: rows of the oracles; those of such a search have a part and an epoch.

    Returns:
        For each search "loss" of the weights, "architecture_loss" and "entropy", `(epochs,)`; the loss of the
        architecture is NaN before its first epoch.

    >>> row = {"seed": 0, "part": 1, "epoch": 1, "loss": 0.5, "architecture_loss": 0.0, "entropy": 1.1}
    >>> relaxed_courses([row, {"oracle": "latent", "seed": 0, "round": 0}])[0]["loss"].tolist()
    [0.5]
    """
    searches: dict[tuple[Any, Any], list[Row]] = {}
    for row in rounds:
        if "entropy" in row:
            searches.setdefault((row.get("seed"), row.get("part")), []).append(row)
    columns = ("loss", "architecture_loss", "entropy")
    courses = [{name: np.asarray([row[name] for row in rows], float) for name in columns} for rows in searches.values()]
    for course in courses:
        course["architecture_loss"][course["architecture_loss"] == 0] = np.nan
    return courses


def rank_correlations(rounds: Iterable[Row]) -> dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Collects the rank correlation of the value estimator by oracle and seed.

    Args:
        rounds: one row a fit of an oracle; the first has no correlation (null), since no estimator stood before it.

    Returns:
        oracle -> seed -> (`(n,)` round, `(n,)` Spearman correlation); seeds without a single value are left out.

    >>> rank_correlations([{"oracle": "latent", "seed": 0, "round": 0, "rank_correlation": None}])
    {}
    """
    found: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    for oracle, seeds in by_seed(rounds).items():
        for seed, rows in seeds.items():
            pairs = [(row["round"], row["rank_correlation"]) for row in rows if finite(row.get("rank_correlation"))]
            if pairs:
                x, y = np.asarray(pairs, float).T
                found.setdefault(oracle, {})[seed] = (x.astype(int), y)
    return found
