"""The report of a run: reads what its folder holds and writes one HTML file and the picture of the progress."""

from functools import partial
from typing import Any

import numpy as np

from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.registry import load
from tfmedcai.reports.comparison import paired
from tfmedcai.reports.figures import progress
from tfmedcai.reports.html import write_report
from tfmedcai.reports.pages import RunData, search_report
from tfmedcai.reports.summary import best_trial
from tfmedcai.runs import ModelFolder, Run, read_json, write_whole
from tfmedcai.tasks.fitting import read_history
from tfmedcai.tasks.task import OF_ALL, make_space, make_task


def write_run_report(run: Run, settings: Settings) -> None:
    """Writes the report of a run from whatever is there: trials, trained networks, evaluations.

    Args:
        run: the run folder.
        settings: its settings.

    Raises:
        ValueError: if a file of the run is damaged; the message names it.
    """
    data = run_data(run, settings)
    if data.trials:
        write_progress(run, settings, data.trials)
    write_whole(run.report, lambda path: write_report(path, search_report(data)))


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
    return RunData(
        title=run.folder.name,
        task=settings.task,
        objective=objective,
        oracle=settings.oracle if best else None,
        trials=trials,
        rounds=Journal(run.rounds).read(),
        evaluations=[read_json(folder.evaluation) for folder in evaluated],
        hand_made=cards[hand_made[0].folder]["network"] if hand_made else None,
        cases=task.case_pictures(_arrays((searched or evaluated)[0])) if evaluated else (),
        values=paired(values, seeds_hold_out=True),
        paired=paired(values, seeds_hold_out=task.seeds_hold_out),
        cost=settings.search.cost,
        histories=histories,
        settings_text=run.settings.read_text(),
        environment=read_json(run.environment),
        draw_best=partial(space.draw, space.parse(best["architecture"])) if best else None,
    )


def case_values(run: Run) -> dict[str, dict[str, list[np.ndarray]]]:
    """Reads the metrics of all cases of a run's evaluations: network -> metric -> `(n,)` for each seed."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for folder in run.trained():
        if folder.evaluation.exists():
            of_network = found.setdefault(read_json(folder.card)["network"], {})
            for name, array in _arrays(folder).items():
                if name.startswith(OF_ALL):
                    of_network.setdefault(name.removeprefix(OF_ALL), []).append(array)
    return found


def _arrays(folder: ModelFolder) -> dict[str, np.ndarray]:
    with np.load(folder.cases, allow_pickle=False) as arrays:
        return dict(arrays)
