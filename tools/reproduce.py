"""Re-tests the claims of a paper: one JSON line a result, then the order of the methods with its statistics."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tfmedcai import registry
from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings, read_settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.journal import Journal
from tfmedcai.reports.comparison import paired, rank_tests
from tfmedcai.reports.series import best_so_far
from tfmedcai.reports.tables import metric_label
from tfmedcai.runs import Run, environment
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

ROOT = Path(__file__).parents[1]
CSL = "100%k5+skip 100%k5+skip 100%k5+skip 100%k5+skip concatenated"  # the published decoder
Line = dict[str, Any]


def line(claim: str, method: str, seed: int | None, metric: str, unit: str, value: float, n: int) -> Line:
    """One result; n is the number of cases or trials behind the value."""
    return {
        "claim": claim, "method": method, "seed": seed, "metric": metric, "unit": unit, "value": round(value, 5), "n": n
    }  # fmt: skip


def spread(values: Iterable[float]) -> float | None:
    """Returns the standard deviation over seeds; None for one seed."""
    values = list(values)
    return round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None


@dataclass(frozen=True)
class Claim:
    """What a paper says, and the search that re-tests it.

    Attributes:
        says: the claim and where it stands.
        file: settings in `search/`.
        seeds: repetitions; with parts of the patients held out by seed, the parts.
        architecture: what is trained beside the baselines where the claim is not about a search, or a network's name.
    """

    says: str
    file: str
    seeds: int = 3
    architecture: str | None = None


CLAIMS = {
    "snap": Claim(
        "AutoSNAP: latent search is ahead of random search, a smaller SNAPNet of i3PosNet (Fig. 3, Table 2).",
        "autosnap_pose_small.toml",
    ),
    "mixed_block": Claim(
        "MB-NAS: local search over mixed blocks is ahead of random search, U-Net and ResU-Net (Tables 1 and 2).",
        "mixed_block_brain_small.toml",
        5,
    ),
    "darts": Claim(
        "AutoSNAP: cells found by DARTS* are behind the SNAPNet and i3PosNet on poses (Table 2).",
        "darts_pose_small.toml",
    ),
    "vnas": Claim(
        "V-NAS: the searched kernels are ahead of their mean, 3D U-Net and V-Net (Tables 1 to 3).",
        "vnas_brain_small.toml",
        4,
    ),
    "csl": Claim(
        "CSL: segmentation and heatmaps at once are ahead of SL, and SL of L (Fig. 3), on the retinal half split.",
        "csl_retinal_small.toml",
        architecture=CSL,
    ),
    "csl_simulated": Claim("The same on simulated eye surgery.", "csl_small.toml", architecture="csl"),
    "prost": Claim(
        "ProST: a learned similarity before CMA-ES succeeds from farther off than CMA-ES alone (Table II).",
        "prost_small.toml",
        architecture="prost",
    ),
}


def retest(name: str, settings: Settings, output: Path) -> Iterator[Line]:
    """Searches, trains the best architectures beside the baselines, and yields what was measured."""
    claim = CLAIMS[name]
    if claim.architecture is None:
        with redirect_stdout(sys.stderr):
            run = search(SearchOptions(settings=settings, output=output, resume=True))
        if run is None:
            raise RuntimeError("the search was a dry run")
        yield from search_results(name, run, settings)
        what = {"run": run.folder}
    else:
        what = {"architecture": claim.architecture, "output": output}
    with redirect_stdout(sys.stderr):
        run = train(TrainOptions(settings=settings, resume=True, **what))
        evaluations = evaluate(EvaluateOptions(settings=settings, run=run.folder))
    for result in evaluations:
        yield from network_results(name, result)
    yield from network_order(name, run, settings)


def search_results(claim: str, run: Run, settings: Settings) -> Iterator[Line]:
    """Yields, for each oracle and seed, the best score at the end and on average over the search; then the order."""
    objective = registry.load("tasks", settings.task).objective
    rows = Journal(run.trials).read()
    ends: dict[str, list[float]] = {}
    for oracle in dict.fromkeys(row["oracle"] for row in rows):
        for seed in settings.all_seeds():
            own = [row for row in rows if (row["oracle"], row["seed"]) == (oracle, seed)]
            curve, name = best_so_far(own, objective).best, f"best {objective.name}"
            yield line(claim, oracle, seed, f"{name} at the end", objective.unit, float(curve[-1]), len(curve))
            yield line(
                claim, oracle, seed, f"{name}, mean of the curve", objective.unit, float(np.mean(curve)), len(curve)
            )
            ends.setdefault(oracle, []).append(float(curve[-1]))
    for row in Journal(run.rounds).read():
        if row.get("rank_correlation") is not None:  # a relaxed search has rounds without one
            metric = f"rank correlation of the value estimator on unseen architectures, round {row['round']}"
            yield line(claim, row["oracle"], row["seed"], metric, "1", row["rank_correlation"], row["known"])
    if len(ends) == 2:
        (first, a), (second, b) = ends.items()
        difference = np.subtract(a, b)
        yield {
            "claim": claim, "order": [name for name, _ in sorted(ends.items(), key=lambda end: -np.mean(end[1]))],
            "difference": f"{first} - {second}", "mean": round(float(difference.mean()), 4), "std": spread(difference),
            "n": len(difference),
        }  # fmt: skip


def network_results(claim: str, evaluation: Line) -> Iterator[Line]:
    """Yields size and mean of each metric of one trained network and seed."""
    network, seed = evaluation["model"], evaluation["seed"]
    yield line(claim, network, seed, "parameters", "weights", evaluation["parameters"], 1)
    if evaluation["multiply_accumulates"] is not None:
        yield line(claim, network, seed, "multiply-accumulates", "million", evaluation["multiply_accumulates"] / 1e6, 1)
    for group, results in evaluation["groups"].items():
        for metric, measured in results.items():
            words, unit = metric_label(metric)
            yield line(claim, network, seed, f"{words}, {group}, mean", unit, measured["mean"], measured["n"])
    for group, found in evaluation.get("success", {}).items():
        rate = line(claim, network, seed, f"success, {group}", "", found["rate"], found["count"])
        yield rate | {"successes": found["successes"], "interval": [round(found[end], 3) for end in ("low", "high")]}
    for name, (pearson, spearman) in evaluation.get("correlation", {}).items():
        for kind, value in (("Pearson", pearson), ("Spearman", spearman)):
            yield line(claim, network, seed, f"{kind} correlation with the geodesic distance, {name}", "", value, 1)


def network_order(claim: str, run: Run, settings: Settings) -> Iterator[Line]:
    """Yields for each metric the means of the networks over all cases, and the tests between them."""
    from tfmedcai.tasks.report import case_values  # imports TensorFlow, which `main` prepares first
    from tfmedcai.tasks.task import make_task

    seeds = case_values(run)
    values = paired(seeds, seeds_hold_out=make_task(settings).seeds_hold_out)
    for metric, test in rank_tests(values).items():
        of_metric = {network: measured[metric] for network, measured in values.items() if metric in measured}
        means = {network: mean_of_finite(cases) for network, cases in of_metric.items()}
        between = {network: spread(mean_of_finite(seed) for seed in seeds[network][metric]) for network in of_metric}
        yield {"claim": claim, "metric": metric, "means": means, "std_of_seeds": between} | test


def mean_of_finite(values: np.ndarray) -> float:
    """Returns the mean of the finite values; a structure that was not found has an infinite distance."""
    return round(float(np.mean(values[np.isfinite(values)])), 4) if np.isfinite(values).any() else float("nan")


def main() -> None:
    """Re-tests one claim; a stopped run goes on where it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "claim", choices=sorted(CLAIMS), help="; ".join(f"{name}: {claim.says}" for name, claim in CLAIMS.items())
    )
    parser.add_argument("--seeds", type=int, help="repetitions, if not those of the claim")
    parser.add_argument("--folder", type=Path, help="folder of the real data that the claim is tested on")
    parser.add_argument("--smoke", action="store_true", help="shrunk: shows that it runs, proves nothing")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    parser.add_argument("--output", type=Path, default=ROOT / "runs")
    given = parser.parse_args()
    prepare_tensorflow()
    claim = CLAIMS[given.claim]
    settings = read_settings(ROOT / "search" / claim.file)
    settings = (settings.smoke() if given.smoke else settings).updated({"seeds": given.seeds or claim.seeds})
    if given.folder is not None:
        settings = settings.updated({settings.task: {"folder": given.folder}})
    if not given.json:
        print(claim.says)
    measured = {"claim": given.claim, "date": datetime.now(UTC).date().isoformat(), "settings": claim.file}
    print(json.dumps(measured | environment()), flush=True)
    for result in retest(given.claim, settings, given.output):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
