"""The numbers at the top of a report, and the sentences that compare a search with random search."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfmedcai.reports.series import Objective, Row, best_so_far, by_seed, finite, scored
from tfmedcai.reports.style import RANDOM
from tfmedcai.reports.tables import by_model, mean_of, metric_label, number, pooled


def best_trial(trials: Iterable[Row], objective: Objective, oracle: str | None = None) -> Row | None:
    """Finds the trial with the best score.

    Args:
        trials: rows of all oracles and seeds.
        objective: gives the direction.
        oracle: whose trials count; None counts all.

    Returns:
        The first row with the best score, None if nothing was scored.
    """
    rows = [row for row in scored(trials) if oracle is None or row.get("oracle") == oracle]
    return rows[objective.best([row["score"] for row in rows])] if rows else None


def counts(trials: Iterable[Row]) -> dict[str, int]:
    """Returns how many trials were trained, answered from the cache, or failed.

    >>> counts([{"state": "FAILED", "source": "trained"}, {"state": "COMPLETED", "source": "cache"}])
    {'trained': 0, 'cache': 1, 'stopped': 0, 'failed': 1}
    """
    found = {"trained": 0, "cache": 0, "stopped": 0, "failed": 0}
    for row in trials:
        if row.get("state") in ("STOPPED", "FAILED"):
            found[row["state"].lower()] += 1
        elif row.get("state") == "COMPLETED":
            found["cache" if row.get("source") == "cache" else "trained"] += 1
    return found


def seconds(trials: Iterable[Row], rounds: Iterable[Row] = ()) -> tuple[float, float]:
    """Sums the seconds spent in trials and in fits of the oracle."""
    spent = [(row.get("time") or {}).get("seconds") for row in trials]
    fitted = [row.get("seconds") for row in rounds]
    return sum(s for s in spent if finite(s)), sum(s for s in fitted if finite(s))


def duration(total: float) -> str:
    """Returns seconds as people say them.

    >>> duration(12.3), duration(754), duration(8040), duration(200000)
    ('12.3 s', '12 min 34 s', '2 h 14 min', '55 h 33 min')
    """
    if total < 60:
        return f"{total:.1f} s"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(total / 60), 60)
    return f"{hours} h {minutes} min"


def failures(trials: Iterable[Row]) -> str:
    """Returns how many trials failed and why, the commonest reasons first; empty if none failed.

    >>> failures([{"state": "FAILED", "reason": "loss is NaN"}, {"state": "COMPLETED"}])
    '1 of 2 trials failed: loss is NaN (1).'
    """
    trials = list(trials)
    reasons = Counter(str(row.get("reason") or "no reason given") for row in trials if row.get("state") == "FAILED")
    if not reasons:
        return ""
    named = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(5))
    more = f"; {len(reasons) - 5} other reasons" if len(reasons) > 5 else ""
    return f"{reasons.total()} of {len(trials)} trials failed: {named}{more}."


def compare_searches(trials: Iterable[Row], objective: Objective) -> str:
    """Compares each oracle with random search at the same number of scored architectures, in plain numbers.

    Args:
        trials: rows of all oracles and seeds.
        objective: name, unit and direction of the score.

    Returns:
        A sentence an oracle; empty if there is nothing to compare.
    """
    finals = {
        oracle: [curve for rows in seeds.values() if len(curve := best_so_far(rows, objective).best)]
        for oracle, seeds in by_seed(trials).items()
    }
    finals = {oracle: curves for oracle, curves in finals.items() if curves}
    reference = finals.get(RANDOM)
    sentences = []
    for oracle, curves in finals.items():
        if reference is None or oracle == RANDOM:
            continue
        count = min(len(curve) for curve in [*curves, *reference])
        ours, theirs = (np.asarray([curve[count - 1] for curve in group]) for group in (curves, reference))
        sentences.append(
            f"After {count} scored architectures, {oracle} reached {_spread(ours)} in {objective.label} and "
            f"random search {_spread(theirs)}: a difference of {ours.mean() - theirs.mean():+.3g}, where "
            f"{'higher' if objective.direction == 'max' else 'lower'} is better."
        )
    return " ".join(sentences)


def _spread(values: np.ndarray) -> str:
    if len(values) == 1:
        return f"{values[0]:.4g} (one seed)"
    return f"{values.mean():.4g} (mean of {len(values)} seeds, {values.min():.4g} to {values.max():.4g})"


def compare_networks(evaluations: Sequence[Row], hand_made: str | None) -> str:
    """Compares the networks in the first group of results, in plain numbers.

    Args:
        evaluations: contents of evaluation.json, one a network and seed.
        hand_made: name of the hand-made network, said last.

    Returns:
        One sentence; empty without evaluations.
    """
    models = by_model(evaluations)
    first = next((group for row in evaluations for group in row["groups"]), None)
    if first is None:
        return ""
    texts = [_network(model, models[model], first) for model in sorted(models, key=lambda name: name == hand_made)]
    return f"Means, {first}: {'; '.join(text for text in texts if text)}."


def _network(model: str, rows: Sequence[Row], group: str) -> str:
    results: dict[str, list[Mapping[str, float]]] = {}
    for row in rows:
        for metric, statistics in row["groups"].get(group, {}).items():
            results.setdefault(metric, []).append(statistics)
    if not results:
        return ""
    values = []
    for metric, statistics in results.items():
        words, unit = metric_label(metric)
        values.append(f"{words} {number(pooled(statistics)[0], unit)} {unit}".strip())
    size = mean_of(rows, "parameters")
    return f"{model} {' and '.join(values)}" + (f" with {size:,.0f} parameters" if finite(size) else "")
