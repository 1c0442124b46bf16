"""The report that compares several runs: which sections it has, and what stands in each."""

import string
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfmedcai.reports import figures, summary, tables
from tfmedcai.reports.comparison import comparison_table
from tfmedcai.reports.document import Body, Cell, Column, Paragraph, Part, Picture, Pictures, Report, Section, Table
from tfmedcai.reports.pages import MOST_METRICS, RunData, flat
from tfmedcai.reports.series import Row, best_so_far, by_seed, scored

LETTERS = string.ascii_uppercase
Runs = Mapping[str, RunData]  # letter -> what the run left


def comparison_report(runs: Sequence[RunData]) -> Report:
    """Puts the report together that shows runs side by side; those of different tasks are compared with their like.

    Args:
        runs: what each left.

    Returns:
        The report, for `tfmedcai.reports.html.write_report`.

    Raises:
        ValueError: if there are more runs than letters to name them.
    """
    if len(runs) > len(LETTERS):
        raise ValueError(f"at most {len(LETTERS)} runs can stand side by side. Received {len(runs)}.")
    named = dict(zip(LETTERS, runs, strict=False))
    settings = {letter: tomllib.loads(data.settings_text) for letter, data in named.items()}
    sections = [
        Section("Runs", _overview(named)),
        Section("Search", _search(named)),
        Section("Best architectures", _architectures(named)),
        Section("Networks", _networks(named)),
        Section("Training", _training(named)),
        Section("Settings that differ", _differences(settings, "settings")),
        Section("Environments that differ", _differences({k: d.environment for k, d in named.items()}, "environments")),
    ]
    titles = [data.title for data in runs]
    return Report(f"Comparison of {len(runs)} runs", sections, f"{', '.join(titles[:-1])} and {titles[-1]}.")


def by_task(runs: Runs) -> list[Runs]:
    """Sorts runs by task, in order of appearance: only within one do scores and errors mean the same."""
    groups: dict[str, dict[str, RunData]] = {}
    for letter, data in runs.items():
        groups.setdefault(data.task, {})[letter] = data
    return list(groups.values())


def listed(letters: Iterable[str]) -> str:
    """Returns names joined as people do.

    >>> listed("A"), listed("ABC")
    ('A', 'A, B and C')
    """
    *others, last = letters
    return f"{', '.join(others)} and {last}" if others else last


def _overview(runs: Runs) -> list[Part]:
    names = ("run", "folder", "task", "oracle", "trials", "best score", "architecture", "parameters", "time in trials")
    numbers = ("trials", "best score", "parameters", "time in trials")
    columns = [Column(name, number=name in numbers) for name in names]
    rows = [[letter, data.title, data.task, *_found(data)] for letter, data in runs.items()]
    table = Table("The runs; their letters stand for them below.", columns, [Body(rows)])
    return [table, *[Paragraph(text) for text in _notes(runs)]]


def _found(data: RunData) -> list[Cell]:
    best = summary.best_trial(data.trials, data.objective, data.oracle) or {}
    spent = summary.duration(summary.seconds(data.trials)[0]) if data.trials else None
    architecture = best and (best.get("architecture") or "(empty)")
    return [data.oracle, len(data.trials), best.get("score"), architecture or None, best.get("parameters"), spent]


def _notes(runs: Runs) -> list[str]:
    """Says in one line each what cannot be compared."""
    notes = []
    groups = by_task(runs)
    if len(groups) > 1:
        tasks = "; ".join(f"{listed(group)}: {next(iter(group.values())).task}" for group in groups)
        notes.append(f"These runs are of different tasks ({tasks}); scores and errors are compared within each alone.")
    if unsearched := [letter for letter, data in runs.items() if not scored(data.trials)]:
        notes.append(f"Without a scored trial: {listed(unsearched)}.")
    if bare := [letter for letter, data in runs.items() if not data.evaluations]:
        notes.append(f"Without an evaluated network, which `python -m tfmedcai.evaluate` measures: {listed(bare)}.")
    return notes


def _search(runs: Runs) -> list[Part]:
    parts: list[Part] = []
    for group in by_task(runs):
        searched = {letter: data for letter, data in group.items() if scored(data.trials)}
        if not searched:
            continue
        one = next(iter(searched.values()))
        rows = [row for letter, data in searched.items() for row in _own_trials(letter, data)]
        pictures = [
            Picture(
                figures.progress(rows, one.objective),
                f"Best score so far over the number of scored architectures, task {one.task}: the oracle of each run. "
                "Thin lines: seeds; thick line: their mean; band: lowest to highest; crosses: failed trials.",
                f"Best score so far of the runs {listed(searched)}.",
            )
        ]
        costs = {data.cost for data in searched.values()}
        if len(costs) == 1:
            cost = costs.pop()
            caption = (
                f"Score and {tables.metric_title(cost)} of every scored architecture, with the Pareto front of all."
            )
            alt = f"Scatter of {one.objective.label} over {tables.metric_title(cost)}."
            pictures.append(Picture(figures.score_by_cost(rows, one.objective, cost), caption, alt))
        parts += [Pictures(pictures), _best_scores(searched)]
    return parts or [Paragraph("No architecture was scored in any run.")]


def _own_trials(letter: str, data: RunData) -> list[Row]:
    """Returns the trials of the oracle that a run is named after, under the letter of the run."""
    rows = [row for row in data.trials if data.oracle in (None, row.get("oracle"))]
    return [{**row, "oracle": f"{letter} {row.get('oracle')}"} for row in rows]


def _best_scores(runs: Runs) -> Table:
    """Tabulates the best scores of all oracles of all runs, also of those that a search was compared with."""
    columns = [
        Column("run"),
        Column("oracle"),
        Column("seeds", number=True),
        Column("scored, least of the seeds", number=True),
    ]
    columns += [Column(name, number=True, group="best score of a seed") for name in ("mean ± std", "lowest", "highest")]
    rows: list[list[Cell]] = []
    for letter, data in runs.items():
        for oracle, seeds in by_seed(data.trials).items():
            curves = [curve for of in seeds.values() if len(curve := best_so_far(of, data.objective).best)]
            if curves:
                bests = [float(curve[-1]) for curve in curves]
                count = min(map(len, curves))
                spread = tables.between(bests) if len(bests) > 1 else tables.number(bests[0])
                rows.append([letter, oracle, len(bests), count, spread, min(bests), max(bests)])
    one = next(iter(runs.values())).objective
    better = "higher" if one.direction == "max" else "lower"
    return Table(f"Best scores in {one.label}, of which {better} is better.", columns, [Body(rows)])


def _architectures(runs: Runs) -> list[Part]:
    pictures = []
    for letter, data in runs.items():
        best = summary.best_trial(data.trials, data.objective, data.oracle)
        if data.draw_best is not None and best:
            text = f"{letter}: {best.get('architecture') or '(empty)'}"
            pictures.append(Picture(figures.block(data.draw_best), text, f"Drawing of {text}", paper=True))
    return [Pictures(pictures)] if pictures else [Paragraph("There is no drawing of a best architecture.")]


def _networks(runs: Runs) -> list[Part]:
    parts: list[Part] = []
    for group in by_task(runs):
        evaluated = {letter: data for letter, data in group.items() if data.evaluations}
        if evaluated:
            rows = [
                {**row, "model": f"{k} {row['model']}"} for k, data in evaluated.items() for row in data.evaluations
            ]
            parts += [*_histograms(evaluated), tables.error_table(rows, None), *_tests(evaluated)]
    return parts or [Paragraph("No network has been evaluated in any run.")]


def _first(runs: Runs, of: Callable[[RunData], Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what belongs to the first network of each run, the best architecture's, under letter and name."""
    found = {}
    for letter, data in runs.items():
        for name, value in [*of(data).items()][:1]:
            found[f"{letter} {name}"] = value
    return found


def _histograms(runs: Runs) -> list[Part]:
    values: dict[str, Mapping[str, np.ndarray]] = _first(runs, lambda data: data.values)
    pictures = []
    for metric in dict.fromkeys(metric for of in values.values() for metric in of):
        title = tables.metric_title(metric)
        figure = figures.error_histogram({name: of[metric] for name, of in values.items() if metric in of}, title)
        caption = f"Distribution of the {title} over cases and seeds, first network of each run."
        pictures.append(Picture(figure, caption, f"Histogram of the {title} of {', '.join(values)}."))
    return [Pictures(pictures)] if pictures else []


def _tests(runs: Runs) -> list[Part]:
    """Compares networks that were measured on the same cases, where those of two runs or more were."""
    groups: dict[tuple[str, ...], dict[str, RunData]] = {}
    for letter, data in runs.items():
        measured = tuple(dict.fromkeys(str(row.get("measured_on", "")) for row in data.evaluations))
        groups.setdefault(measured, {})[letter] = data
    parts: list[Part] = []
    for measured, group in groups.items():
        if len(group) > 1 and all(measured):
            values = {f"{k} {name}": of for k, data in group.items() for name, of in data.paired.items()}
            table = comparison_table(values)
            if table is None:
                parts.append(Paragraph(f"{listed(group)}: too few cases for tests."))
            else:
                parts.append(replace(table, caption=f"Runs {listed(group)}. {table.caption}"))
    alone = [k for measured, group in groups.items() if len(group) == 1 or not all(measured) for k in group]
    if alone and len(runs) > 1:
        parts.append(Paragraph(f"Measured on cases of their own, so that no test compares them: {listed(alone)}."))
    return parts


def _training(runs: Runs) -> list[Part]:
    pictures = []
    for group in by_task(runs):
        histories = _first(group, lambda data: data.histories)
        keys = [key.removeprefix("validation_") for seeds in histories.values() for seed in seeds for key in seed]
        metrics = sorted(dict.fromkeys(key for key in keys if key != "epoch"), key=lambda key: key != "loss")
        for metric in metrics[:MOST_METRICS]:
            words = metric.replace("_", " ").capitalize()
            caption = f"{words} by epoch, first network of each run; dashed: training, solid: validation. Bands: seeds."
            alt = f"Training curves of {words.lower()} for {listed(histories)}."
            pictures.append(Picture(figures.training_curves(histories, metric), caption, alt))
    return [Pictures(pictures)] if pictures else [Paragraph("No training history was kept.")]


def _differences(tables_of: Mapping[str, Mapping[str, Any]], what: str) -> list[Part]:
    """Tabulates the entries of nested tables that are not the same in all runs."""
    flattened = {letter: dict(flat(table)) for letter, table in tables_of.items()}
    names = dict.fromkeys(name for of in flattened.values() for name in of)
    rows = [[name, *(of.get(name) for of in flattened.values())] for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return [Paragraph(f"All {what} are the same.")]
    columns = [Column("name"), *(Column(letter) for letter in flattened)]
    return [Table(f"{len(rows)} of {len(names)} entries differ; - where there is none.", columns, [Body(rows)])]
