"""Trains the architectures that a search found, or one given as text, beside networks made by hand."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfmedcai import presets, registry
from tfmedcai.cli import RUN_OPTION, Plan, SettingsOptions, in_words, main, progress
from tfmedcai.journal import Journal
from tfmedcai.runs import ModelFolder, Run, new_run, open_run, read_json, run_of, write_json, write_whole

if TYPE_CHECKING:
    import keras

    from tfmedcai.search_spaces.space import SearchSpace
    from tfmedcai.tasks.task import Candidate, Task


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        folder: where the network is kept.
        candidate: what is trained.
        origin: the oracle whose best it is, or the preset; None for a network made by hand and an architecture given as
            text.
        seed: of weights and order, and of what is held out.
    """

    folder: ModelFolder
    candidate: "Candidate"
    origin: str | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class TrainOptions(SettingsOptions):
    """Train the best architecture of a search, and others beside it, from scratch."""

    run: Path | None = None
    """run folder of a search; its best architecture is trained with its settings"""
    architecture: str | None = None
    """text of an architecture, name of a preset with its sizes or of a network made by hand (see --list), to train
    instead of a search's best"""
    output: Path = Path("runs")
    """folder of run folders, for an architecture given as text"""
    resume: bool = False
    """go on with a training that was stopped"""
    fresh: bool = False
    """train anew what is trained already"""
    strategy: Literal["none", "mirrored", "multiworker"] = "none"
    """devices that share each batch: one, all GPUs of this machine, all of the machines in TF_CONFIG"""
    quiet: bool = False
    """print results only"""


def train(options: TrainOptions) -> Run | Plan:
    """Trains for all seeds what the options ask for.

    Returns:
        The run folder, with one trained network for each seed, and the baselines' beside them; for a dry run what would
        be trained and what is there already.

    Raises:
        ValueError: if there is nothing to train, or if trainings exist and neither `resume` nor `fresh` was asked.
    """
    options = _of_preset(options)
    if options.run is None and options.architecture is None:
        raise ValueError(f"nothing to train: give `{RUN_OPTION} FOLDER` of a search or `--architecture TEXT`.")
    run = run_of(options.output, options.settings) if options.run is None else open_run(options.run)[0]

    from tfmedcai.tasks.strategies import make_strategy
    from tfmedcai.tasks.task import make_task

    strategy, task = make_strategy(options.strategy), make_task(options.settings)
    jobs = _jobs(task, run, options.architecture)
    if options.dry_run:
        return _plan(task, run, jobs)
    if options.run is None:
        new_run(options.output, options.settings, resume=True)
    task.keep_split(run.split)
    with strategy.scope():
        for job in [job for job in jobs if _is_open(run, job.folder, options)]:
            _train_one(task, run, job, options)
    return run


def outcome(run: Run) -> dict[str, Any]:
    """Returns the trained networks of a run: file, network, seed, size."""
    cards = {folder: read_json(folder.card) for folder in run.trained()}
    told = ("network", "architecture", "seed", "parameters", "multiply_accumulates")
    models = [{"model": str(folder.model)} | {name: card[name] for name in told} for folder, card in cards.items()]
    return {"run": str(run.folder), "networks": models}


def _plan(task: "Task", run: Run, jobs: list[Job]) -> Plan:
    def planned(job: Job) -> dict[str, Any]:
        state = "trained" if job.folder.model.exists() else "begun" if job.folder.checkpoint.exists() else "open"
        size = task.network(job.candidate).count_params()
        facts = {"model": str(job.folder.model), "candidate": str(job.candidate), "origin": job.origin}
        return facts | {"seed": job.seed, "parameters": size, "state": state}

    epochs = task.settings.training.epochs
    return Plan(run=str(run.folder), data=task.describe(), epochs=epochs, networks=[planned(job) for job in jobs])


def _of_preset(options: TrainOptions) -> TrainOptions:
    """Puts a preset's text and sizes in the place of its name; a network of that name keeps those of the settings."""
    name = options.architecture
    if name is None or name in registry.names("networks") or name not in presets.names():
        return options
    preset = presets.read(name)
    space = {"space": preset["space"]} if "space" in preset else {}
    return replace(
        options,
        settings=options.settings.updated(space | preset["sizes"]),
        architecture=preset.get("network") or preset["architecture"],
    )


def _jobs(task: "Task", run: Run, given: str | None) -> list[Job]:
    """Lists what is to be trained: for each seed the best architecture, then what stands beside it."""
    from tfmedcai.tasks.task import candidate_of, make_space

    settings = task.settings
    space, seeds = make_space(settings), settings.all_seeds()

    def best(oracle: str, seed: int) -> "Candidate":
        return space.parse(_best_architecture(task, run, oracle, seed))

    if given is not None:
        candidate = given if given in registry.names("networks") else _parsed(space, given)
        jobs = [Job(run.best(seed), candidate, None, seed) for seed in seeds]
    else:
        jobs = [Job(run.best(seed), best(settings.oracle, seed), settings.oracle, seed) for seed in seeds]
    asked = settings.training.baselines
    for name in task.baselines if asked is None else asked:
        if name == settings.search.baseline:
            if given is None:  # else there was no search, so there is no other oracle's best
                jobs += [Job(run.baseline(name, seed), best(name, seed), name, seed) for seed in seeds]
        elif name == given:
            continue
        elif name in registry.names("networks"):
            jobs += [Job(run.baseline(name, seed), name, None, seed) for seed in seeds]
        else:  # beside others a preset is of the size that settings say
            preset = candidate_of(presets.read(name), settings)
            jobs += [Job(run.baseline(name, seed), preset, name, seed) for seed in seeds]
    return jobs


def _parsed(space: "SearchSpace", text: str) -> "Candidate":
    try:
        return space.parse(text)
    except ValueError as error:
        known = [*presets.names(), *registry.names("networks")]
        advice = registry.did_you_mean(text, known) or " `--list` shows presets and networks."
        raise ValueError(f"`--architecture`: {error}{advice}") from error


def _best_architecture(task: "Task", run: Run, oracle: str, seed: int) -> str:
    """Returns the best architecture of an oracle; of this seed alone where others saw what this one is evaluated on."""
    from tfmedcai.reports.summary import best_trial

    rows = [row for row in Journal(run.trials).read() if row["seed"] == seed or not task.seeds_hold_out]
    best = best_trial(rows, task.objective, oracle)
    if best is None:
        raise ValueError(
            f"{run.folder}: no finished trial of `{oracle}` to train. Search first, or give `--architecture`."
        )
    return best["architecture"]


def _is_open(run: Run, folder: ModelFolder, options: TrainOptions) -> bool:
    """Tells whether this network is still to be trained; clears what `fresh` gives up."""
    if options.fresh:
        for path in (folder.model, folder.checkpoint, folder.evaluation):
            path.unlink(missing_ok=True)
        shutil.rmtree(run.model_events(folder), ignore_errors=True)
    if folder.model.exists():
        if not options.resume:
            raise ValueError(f"{folder.model}: already trained; `--resume` trains what is missing, `--fresh` all anew.")
        return False
    if folder.checkpoint.exists() and not options.resume:
        raise ValueError(f"{folder.checkpoint}: an unfinished training; `--resume` continues, `--fresh` starts anew.")
    return True


def _train_one(task: "Task", run: Run, job: Job, options: TrainOptions) -> None:
    from tfmedcai.tasks.events import course
    from tfmedcai.tasks.fitting import Keeper, without_training, write_history

    settings, folder = options.settings, job.folder
    card = {
        "architecture": None if isinstance(job.candidate, str) else str(job.candidate),
        "seed": job.seed,
        "settings": settings.model_dump(mode="json"),
    }
    if folder.checkpoint.exists() and read_json(folder.card)["settings"] != card["settings"]:
        raise ValueError(f"{folder.checkpoint}: was made with other settings. `--fresh` trains anew.")
    write_json(folder.card, card)
    with progress(settings.training.epochs, f"training {job.candidate}, seed {job.seed}", quiet=options.quiet) as tell:
        keeper = Keeper(folder.checkpoint, course(run.model_events(folder), lambda row: tell(in_words(row))))
        model, rows = task.train(job.candidate, job.seed, keeper)
    write_whole(folder.history, lambda path: write_history(path, rows))
    network = model.name if job.origin is None else f"{model.name} ({job.origin})"
    size = {"parameters": model.count_params(), "multiply_accumulates": _multiply_accumulates(model)}
    write_json(folder.card, card | {"network": network} | size)
    write_whole(folder.model, without_training(model).save)
    folder.checkpoint.unlink(missing_ok=True)
    _show(task, run, job, model)
    print(f"{folder.model}: {network}, {model.count_params()} parameters, {len(rows)} epochs")


def _show(task: "Task", run: Run, job: Job, model: "keras.Model") -> None:
    """Shows a network in TensorBoard: its layers and, of one that no hand made, the drawing of its architecture."""
    from tfmedcai.reports.figures import block
    from tfmedcai.tasks.events import write_drawing, write_graph
    from tfmedcai.tasks.task import make_space

    write_graph(run.model_events(job.folder), model)
    if not isinstance(job.candidate, str):
        space = make_space(task.settings.updated({"space": job.candidate.space}))
        drawing = block(lambda axes: space.draw(job.candidate, axes))
        write_drawing(run.model_events(job.folder), drawing, str(job.candidate))


def _multiply_accumulates(model: "keras.Model") -> int | None:
    from tfmedcai.metrics.complexity import multiply_accumulates

    try:
        return multiply_accumulates(model)
    except ValueError:  # a layer of another package, or open sizes: the network is good all the same
        return None


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(TrainOptions, train, argv, outcome=outcome)


if __name__ == "__main__":
    command()
