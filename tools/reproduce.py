"""Re-tests the claims of a paper: one JSON line a result, then the order of the methods with its statistics."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings, read_settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.journal import Journal
from tfmedcai.reports.series import Objective, best_so_far
from tfmedcai.runs import Run, environment
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

ROOT = Path(__file__).parents[1]
Line = dict[str, Any]
NETWORKS = {"best": "snapnet", "baseline": "i3posnet"}  # folder of a run -> the network in it


def line(claim: str, method: str, seed: int | None, metric: str, unit: str, value: float, n: int) -> Line:
    """One result; n is the number of cases or trials behind the value."""
    return {
        "claim": claim, "method": method, "seed": seed, "metric": metric, "unit": unit, "value": round(value, 5), "n": n
    }  # fmt: skip


def spread(values: Iterable[float]) -> float | None:
    """Returns the standard deviation over seeds; None for one seed."""
    values = list(values)
    return round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None


def snap(settings: Settings, output: Path) -> Iterator[Line]:
    """AutoSNAP: latent search is ahead of random search, a smaller SNAPNet of i3PosNet (Fig. 3, Table 2)."""
    with redirect_stdout(sys.stderr):
        run = search(SearchOptions(settings=settings, output=output, resume=True))
    if run is None:
        raise RuntimeError("the search was a dry run")
    yield from search_results(run, settings)
    with redirect_stdout(sys.stderr):
        train(TrainOptions(settings=settings, run=run.folder, resume=True))
        evaluations = evaluate(EvaluateOptions(settings=settings, run=run.folder))
    for result in evaluations:
        yield line("snap", result["model"], result["seed"], "parameters", "weights", result["parameters"], 1)
        for iterations, errors in result["groups"].items():
            for kind, unit in (("position_error_mm", "mm"), ("angle_error_deg", "deg")):
                metric = f"{kind.split('_')[0]} error, {iterations}, mean"
                yield line(
                    "snap", result["model"], result["seed"], metric, unit, errors[kind]["mean"], errors[kind]["n"]
                )
    yield from network_order(run)


def search_results(run: Run, settings: Settings) -> Iterator[Line]:
    """Yields, for each oracle and seed, the best score at the end and on average over the search; then the order."""
    objective = Objective("value", "-log10 of the regression MSE", "max")
    rows = Journal(run.trials).read()
    ends: dict[str, list[float]] = {}
    for oracle in dict.fromkeys(row["oracle"] for row in rows):
        for seed in settings.all_seeds():
            own = [row for row in rows if (row["oracle"], row["seed"]) == (oracle, seed)]
            curve = best_so_far(own, objective).best
            yield line("snap", oracle, seed, "best value at the end", objective.unit, float(curve[-1]), len(curve))
            yield line(
                "snap", oracle, seed, "best value, mean of the curve", objective.unit, float(np.mean(curve)), len(curve)
            )
            ends.setdefault(oracle, []).append(float(curve[-1]))
    for row in Journal(run.rounds).read():
        if row["rank_correlation"] is not None:
            metric = f"rank correlation of the value estimator on unseen SNAPs, round {row['round']}"
            yield line("snap", row["oracle"], row["seed"], metric, "1", row["rank_correlation"], row["known"])
    if len(ends) == 2:
        (first, a), (second, b) = ends.items()
        difference = np.subtract(a, b)
        yield {
            "claim": "snap", "order": [name for name, _ in sorted(ends.items(), key=lambda end: -np.mean(end[1]))],
            "difference": f"{first} - {second}", "mean": round(float(difference.mean()), 4), "std": spread(difference),
            "n": len(difference),
        }  # fmt: skip


def network_order(run: Run) -> Iterator[Line]:
    """Yields the order of the networks by error of each case, averaged over seeds, with Wilcoxon's signed-rank test."""
    from tfmedcai.tasks.task import OF_ALL  # imports TensorFlow, which `main` prepares first

    for kind in ("position_error_mm", "angle_error_deg"):
        errors: dict[str, list[np.ndarray]] = {}
        for folder in run.trained():
            with np.load(folder.cases, allow_pickle=False) as cases:
                errors.setdefault(NETWORKS[folder.folder.parent.name], []).append(cases[OF_ALL + kind])
        if len(errors) == 2:
            means = {name: round(float(np.mean(seeds)), 4) for name, seeds in errors.items()}
            deviation = {name: spread(np.mean(seeds, axis=1)) for name, seeds in errors.items()}
            ours, theirs = (np.mean(errors[name], axis=0) for name in NETWORKS.values())
            yield {
                "claim": "snap", "metric": kind, "order": sorted(means, key=lambda name: means[name]), "means": means,
                "std_of_seeds": deviation, "wilcoxon_p": float(f"{scipy.stats.wilcoxon(ours, theirs).pvalue:.3g}"),
                "n": len(ours),
            }  # fmt: skip


CLAIMS = {"snap": (snap, "autosnap_pose_small.toml")}


def main() -> None:
    """Re-tests one claim; a stopped run goes on where it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claim", choices=sorted(CLAIMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="shrunk: shows that it runs, proves nothing")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    parser.add_argument("--output", type=Path, default=ROOT / "runs")
    given = parser.parse_args()
    prepare_tensorflow()
    test, file = CLAIMS[given.claim]
    settings = read_settings(ROOT / "search" / file)
    settings = (settings.smoke() if given.smoke else settings).updated({"seeds": given.seeds})
    if not given.json:
        print((test.__doc__ or "").splitlines()[0])
    measured = {"claim": given.claim, "date": datetime.now(UTC).date().isoformat(), "settings": file}
    print(json.dumps(measured | environment()), flush=True)
    for result in test(settings, given.output):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
