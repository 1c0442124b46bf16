"""Trains the architecture that a search found, or one given as text, beside the hand-made baseline network."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfmedcai import presets
from tfmedcai.cli import RUN_OPTION, SettingsOptions, main, progress
from tfmedcai.config import NO_BASELINE, Settings
from tfmedcai.journal import Journal
from tfmedcai.runs import ModelFolder, Run, new_run, open_run, read_json, write_json, write_whole

if TYPE_CHECKING:
    from tfmedcai.search_spaces.space import Architecture
    from tfmedcai.tasks.task import Task


@dataclass(frozen=True)
class TrainOptions(SettingsOptions):
    """Train the best architecture of a search, and the hand-made network beside it, from scratch."""

    run: Path | None = None
    """run folder of a search; its best architecture is trained with its settings"""
    architecture: str | None = None
    """text of an architecture, or name of a preset with its sizes (see --list), to train instead of a search's best"""
    output: Path = Path("runs")
    """folder of run folders, for an architecture given as text"""
    resume: bool = False
    """go on with a training that was stopped"""
    fresh: bool = False
    """train anew what is trained already"""
    quiet: bool = False
    """print results only"""


def train(options: TrainOptions) -> Run:
    """Trains for all seeds what the options ask for.

    Returns:
        The run folder, with one trained network for each seed, and the baseline's beside them.

    Raises:
        ValueError: if there is nothing to train, or if trainings exist and neither `resume` nor `fresh` was asked.
    """
    from tfmedcai.tasks.task import make_space, make_task

    if options.architecture in presets.names():
        preset = presets.read(options.architecture)
        sized = options.settings.updated({"space": preset["space"]} | preset["sizes"])
        options = replace(options, settings=sized, architecture=preset["architecture"])
    settings = options.settings
    if options.run is not None:
        run, _ = open_run(options.run)
    elif options.architecture is not None:
        run = new_run(options.output, settings, resume=True)
    else:
        raise ValueError(f"nothing to train: give `{RUN_OPTION} FOLDER` of a search or `--architecture TEXT`.")
    text = options.architecture or _best_architecture(run, settings)
    architecture = make_space(settings).parse(text)
    jobs = [(run.best(seed), architecture, seed) for seed in settings.all_seeds()]
    if settings.training.baseline != NO_BASELINE:
        jobs += [(run.baseline(seed), None, seed) for seed in settings.all_seeds()]
    jobs = [job for job in jobs if _is_open(job[0], options)]
    task = make_task(settings)
    for folder, chosen, seed in jobs:
        _train_one(task, folder, chosen, seed, options)
    return run


def _best_architecture(run: Run, settings: Settings) -> str:
    from tfmedcai.reports.summary import best_trial
    from tfmedcai.tasks.task import make_task

    best = best_trial(Journal(run.trials).read(), make_task(settings).objective, settings.oracle)
    if best is None:
        raise ValueError(f"{run.folder}: no finished trial to train. Search first, or give `--architecture`.")
    return best["architecture"]


def _is_open(folder: ModelFolder, options: TrainOptions) -> bool:
    """Tells whether this network is still to be trained; clears what `fresh` gives up."""
    if options.fresh:
        for path in (folder.model, folder.checkpoint, folder.evaluation):
            path.unlink(missing_ok=True)
    if folder.model.exists():
        if not options.resume:
            raise ValueError(f"{folder.model}: already trained; `--resume` trains what is missing, `--fresh` all anew.")
        return False
    if folder.checkpoint.exists() and not options.resume:
        raise ValueError(f"{folder.checkpoint}: an unfinished training; `--resume` continues, `--fresh` starts anew.")
    return True


def _train_one(
    task: "Task", folder: ModelFolder, architecture: "Architecture | None", seed: int, options: TrainOptions
) -> None:
    from tfmedcai.tasks.fitting import Keeper, write_history

    settings = options.settings
    name = str(architecture) if architecture is not None else settings.training.baseline
    card = {
        "architecture": str(architecture) if architecture is not None else None,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }
    if folder.checkpoint.exists() and read_json(folder.card)["settings"] != card["settings"]:
        raise ValueError(f"{folder.checkpoint}: was made with other settings. `--fresh` trains anew.")
    write_json(folder.card, card)
    with progress(settings.training.epochs, f"training {name}, seed {seed}", quiet=options.quiet) as tell:
        keeper = Keeper(folder.checkpoint, lambda row: tell(" ".join(f"{k} {v:.5g}" for k, v in row.items())))
        model, rows = task.train(architecture, seed, keeper)
    write_whole(folder.history, lambda path: write_history(path, rows))
    write_json(folder.card, card | {"network": model.name, "parameters": model.count_params()})
    write_whole(folder.model, model.save)
    folder.checkpoint.unlink(missing_ok=True)
    print(f"{folder.model}: {model.name}, {model.count_params()} parameters, {len(rows)} epochs")


if __name__ == "__main__":
    main(TrainOptions, train)
