"""Measures the trained networks of a run on the evaluation set and prints them as one table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmedcai.cli import Plan, SettingsOptions, followed, main
from tfmedcai.runs import ModelFolder, Run, open_run, read_json, write_json, write_whole

if TYPE_CHECKING:
    from tfmedcai.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(SettingsOptions):
    """Measure the trained networks of a run on unseen images and print them as one table, with tests between them."""

    run: Path = Path("runs")
    """run folder with trained networks"""
    quiet: bool = False
    """print results only"""


def evaluate(options: EvaluateOptions) -> list[dict[str, Any]] | Plan:
    """Evaluates every trained network of a run, writes what it found beside each, and prints the table.

    Returns:
        One evaluation for each network and seed; for a dry run what would be evaluated on what.

    Raises:
        ValueError: if the run has no trained network.
    """
    run, _ = open_run(options.run)
    folders = run.must_be_trained()
    from tfmedcai.reports.comparison import comparison_lines, paired
    from tfmedcai.tasks.report import case_values
    from tfmedcai.tasks.task import make_task

    task = make_task(options.settings)
    if options.dry_run:
        writes = [str(path) for folder in folders for path in (folder.evaluation, folder.cases)]
        return Plan(data=task.describe(), networks=[str(folder.model) for folder in folders], writes=writes)
    task.keep_split(run.split)
    evaluations = [_evaluate_one(task, run, folder, options.quiet) for folder in folders]
    values = paired(case_values(run), seeds_hold_out=task.seeds_hold_out)
    print("\n".join([*table(evaluations), *comparison_lines(values)]))
    return evaluations


def _evaluate_one(task: "Task", run: Run, folder: ModelFolder, quiet: bool) -> dict[str, Any]:
    from tfmedcai.tasks.events import write_measures, write_pictures
    from tfmedcai.tasks.fitting import load_model

    card = read_json(folder.card)
    label = f"evaluating {card['network']}, seed {card['seed']}"
    task.followed = lambda steps, what: followed(steps, f"{label}: {what}", quiet=quiet)
    result = task.evaluate(load_model(folder.model), card["seed"])
    names = ("network", "architecture", "parameters", "multiply_accumulates", "seed")
    summary = {"model": card["network"]} | {name: card[name] for name in names[1:]} | result.summary
    write_json(folder.evaluation, summary)
    write_whole(folder.cases, lambda path: _write_arrays(path, result.cases))
    write_measures(run.model_events(folder), result.summary["groups"])
    write_pictures(run.model_events(folder), task.case_pictures(result.cases))
    return summary


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def table(evaluations: Iterable[dict[str, Any]]) -> list[str]:
    """Returns lines of text: one row for each network and group of results, mean and deviation over seeds."""
    from tfmedcai.reports.tables import mean_of, metric_title, metrics_of

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    evaluations = list(evaluations)
    for evaluation in evaluations:
        for group in evaluation["groups"]:
            groups.setdefault((evaluation["model"], group), []).append(evaluation)
    metrics = metrics_of(evaluations)
    lines = [
        f"{'network':24} {'weights':>10} {'MMAC':>8} {'':14} {'seeds':>5}"
        + "".join(f"  {metric_title(m):^62}" for m in metrics)
    ]
    names = "".join(f" {name:>8}" for name in ("min", "median", "p95", "max", "seed std"))
    lines.append(f"{'':65}" + len(metrics) * f"  {'mean +- std':>17}{names}")
    for (model, group), seeds in groups.items():
        results = [seed["groups"][group] for seed in seeds]
        cells = "".join(_cell([result[metric] for result in results if metric in result]) for metric in metrics)
        weights, work = (mean_of(seeds, name) for name in ("parameters", "multiply_accumulates"))
        lines.append(f"{model:24} {weights:>10.0f} {work / 1e6:>8.1f} {group:14} {len(seeds):>5}{cells}")
    return lines


def _cell(seeds: list[dict[str, float]]) -> str:
    from tfmedcai.reports.tables import extremes, pooled

    if not seeds:  # a metric of other groups
        return " " * 64
    mean, std = pooled(seeds)
    between = np.std([seed["mean"] for seed in seeds], ddof=1) if len(seeds) > 1 else float("nan")
    return f"  {mean:7.3f} +- {std:6.3f}" + "".join(f" {value:8.3f}" for value in (*extremes(seeds), between))


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(EvaluateOptions, evaluate, argv, outcome=lambda evaluations: {"evaluations": evaluations})


if __name__ == "__main__":
    command()
