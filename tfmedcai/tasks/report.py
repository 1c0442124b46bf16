"""Reports of runs: reads what their folders hold and writes one HTML file, and the picture of the progress."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.registry import load
from tfmedcai.reports.comparison import paired
from tfmedcai.reports.document import Picture, Stack
from tfmedcai.reports.figures import progress
from tfmedcai.reports.html import write_report
from tfmedcai.reports.pages import RunData, search_report
from tfmedcai.reports.run_comparison import comparison_report
from tfmedcai.reports.summary import best_trial
from tfmedcai.runs import ModelFolder, Run, read_json, write_whole
from tfmedcai.tasks.fitting import read_history
from tfmedcai.tasks.task import CLASSES, CONFUSION, OF_ALL, Task, make_space, make_task


def write_run_report(run: Run, settings: Settings, path: Path | None = None) -> None:
    """Writes the report of a run from whatever is there: trials, trained networks, evaluations.

    Args:
        run: the run folder.
        settings: its settings.
        path: the HTML file; None for the report in the run folder.

    Raises:
        ValueError: if a file of the run is damaged; the message names it.
    """
    data = run_data(run, settings)
    if data.trials:
        write_progress(run, settings, data.trials)
    write_whole(path or run.report, lambda temporary: write_report(temporary, search_report(data)))


def write_comparison(runs: Sequence[tuple[Run, Settings]], path: Path) -> None:
    """Writes the report that compares runs.

    Args:
        runs: run folders and their settings.
        path: the HTML file.

    Raises:
        ValueError: if a file of a run is damaged; the message names it.
    """
    report = comparison_report([run_data(run, settings) for run, settings in runs])
    write_whole(path, lambda temporary: write_report(temporary, report))


def write_progress(run: Run, settings: Settings, trials: Any) -> None:
    """Draws the best score so far over the scored architectures.

    Args:
        run: gets the picture.
        settings: name the task.
        trials: rows of the journal.
    """
    figure = progress(trials, load("tasks", settings.task).objective)
    write_whole(run.progress, lambda path: figure.savefig(path, dpi=120))


def run_data(run: Run, settings: Settings) -> RunData:
    """Reads everything that a report shows from a run folder."""
    trials = Journal(run.trials).read()
    task = make_task(settings)
    objective = task.objective
    best = best_trial(trials, objective, settings.oracle)
    space = make_space(settings)
    trained = run.trained()
    evaluated = [folder for folder in trained if folder.evaluation.exists()]
    cards = {folder.folder: read_json(folder.card) for folder in trained}
    hand_made = [folder for folder in evaluated if cards[folder.folder]["architecture"] is None]
    searched = [folder for folder in evaluated if cards[folder.folder]["architecture"] is not None]
    histories: dict[str, list[dict[str, list[float]]]] = {}
    for folder in trained:
        histories.setdefault(cards[folder.folder]["network"], []).append(read_history(folder.history))
    values = case_values(run)
    confusions, classes = _confusions(evaluated)
    return RunData(
        title=run.folder.name,
        task=settings.task,
        objective=objective,
        oracle=settings.oracle if best else None,
        trials=trials,
        rounds=Journal(run.rounds).read(),
        evaluations=[read_json(folder.evaluation) for folder in evaluated],
        hand_made=cards[hand_made[0].folder]["network"] if hand_made else None,
        cases=_pictures(task, (searched or evaluated)[0]) if evaluated else (),
        values=paired(values, seeds_hold_out=True),
        paired=paired(values, seeds_hold_out=task.seeds_hold_out),
        confusions=confusions,
        classes=classes,
        cost=settings.search.cost,
        histories=histories,
        settings_text=run.settings.read_text(),
        environment=read_json(run.environment),
        draw_best=partial(space.draw, space.parse(best["architecture"])) if best else None,
        tensorboard=f"tensorboard --logdir {run.tensorboard}" if run.tensorboard.exists() else "",
    )


def case_values(run: Run) -> dict[str, dict[str, list[np.ndarray]]]:
    """Reads the metrics of all cases of a run's evaluations: network -> metric -> `(n,)` for each seed."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for folder in run.trained():
        if folder.evaluation.exists():
            of_network = found.setdefault(read_json(folder.card)["network"], {})
            for name, array in _arrays(folder, lambda name: name.startswith(OF_ALL)).items():
                of_network.setdefault(name.removeprefix(OF_ALL), []).append(array)
    return found


def _pictures(task: Task, folder: ModelFolder) -> Sequence[Picture | Stack]:
    try:
        return task.case_pictures(_arrays(folder))
    except KeyError as error:
        raise ValueError(
            f"{folder.cases}: there is no {error}, as where another version of tfmedcai has evaluated. "
            "Run `python -m tfmedcai.evaluate --run` with this run again."
        ) from error


def _confusions(evaluated: Sequence[ModelFolder]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Adds up over the seeds what each network took for what; returns also the names of the classes."""
    counts: dict[str, np.ndarray] = {}
    classes: list[str] = []
    for folder in evaluated:
        found = _arrays(folder, lambda name: name in (CONFUSION, CLASSES))
        if found:
            network = read_json(folder.card)["network"]
            counts[network] = counts.get(network, 0) + found[CONFUSION]
            classes = found[CLASSES].tolist()
    return counts, classes


def _arrays(folder: ModelFolder, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    with np.load(folder.cases, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if wanted(name)}
