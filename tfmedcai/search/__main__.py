"""Searches an architecture for a task: `python -m tfmedcai.search`."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfmedcai import registry
from tfmedcai.cli import Plan, SettingsOptions, in_words, main, progress
from tfmedcai.config import NO_BASELINE, RELAXING_ORACLE, Settings
from tfmedcai.journal import Journal, Row
from tfmedcai.runs import Run, new_run, open_run, run_of, write_whole

if TYPE_CHECKING:
    from tfmedcai.search.executors.executor import Executor
    from tfmedcai.search.relaxed_search import RelaxedSearch
    from tfmedcai.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SettingsOptions):
    """Search an architecture for a task. `--list` prints the names of tasks, spaces and oracles."""

    output: Path = Path("runs")
    """folder of run folders; the run's name is made of task, space, oracle and a digest of the settings"""
    resume: bool = False
    """go on with a search that was stopped"""
    fresh: bool = False
    """delete an existing run of these settings and start anew"""
    executor: Literal["in_process", "processes", "ray"] = "in_process"
    """where trials run: one after the other in this process, in processes of this machine, on a Ray cluster"""
    workers: int | None = None
    """most trials side by side; unset: as many as there is room for"""
    address: str | None = None
    """ray: address of the cluster, `auto` finds it; unset starts a Ray on this machine"""
    cpus: float = 1.0
    """cores of a trial, where trials have processes of their own"""
    gpus: float = 0.0
    """GPUs of a trial, also a part of one"""
    memory_gb: float = 0.0
    """ray: memory of a trial [GiB], so that a machine gets no more of them than it can hold; 0: not asked for"""
    strategy: Literal["none", "mirrored", "multiworker"] = "none"
    """devices that share each batch of a supernet: one, all GPUs of this machine, all of the machines in TF_CONFIG"""
    quiet: bool = False
    """print results only"""


def search(options: SearchOptions) -> Run | Plan:
    """Runs the search that the options describe, and a baseline oracle on the same budget.

    Returns:
        The run folder; for a dry run settings, data and sizes of networks.

    Raises:
        ValueError: if the settings or an existing run do not fit.
        RuntimeError: if too many trials in a row failed.
    """
    settings = options.settings
    if options.dry_run:
        return dry_run(run_of(options.output, settings), settings)
    oracles = list(dict.fromkeys([settings.oracle, settings.search.baseline]))
    _check_strategy(options, oracles)
    run = new_run(options.output, settings, resume=options.resume, fresh=options.fresh)
    from tfmedcai.search.relaxed_search import RelaxedSearch
    from tfmedcai.tasks.report import write_run_report
    from tfmedcai.tasks.strategies import machine, make_strategy
    from tfmedcai.tasks.task import make_task

    strategy = make_strategy(options.strategy)
    task, relaxing = make_task(settings), RelaxedSearch(settings.supernet, strategy)
    if machine(strategy) > 0:  # of several machines one runs the trials; the others help with the supernets
        for seed in settings.all_seeds():
            list(_relaxed(task, relaxing, run, seed, options.quiet))
        return run
    if Journal(run.trials).repair():
        print(f"{run.trials}: dropped a half-written last line")
    with _executor(options, task, run) as executor:
        for seed in settings.all_seeds():
            for name in oracles:
                if name != NO_BASELINE:
                    _search_one(task, relaxing, executor, run, name, seed, options.quiet)
    write_run_report(run, settings)
    told = outcome(run)
    if best := told["best"]:
        label = f"{task.objective.label} {best['score']:.4f}"
        print(f"best: {best['architecture']}  {label}  {best['parameters']} parameters")
    print(f"run: {run.folder}\nreport: {run.report}")
    return run


def outcome(run: Run) -> dict[str, Any]:
    """Returns what a search has come to: folder, report, row of the best trial of its oracle, None without any."""
    from tfmedcai.reports.summary import best_trial

    settings = open_run(run.folder)[1]
    objective = registry.load("tasks", settings.task).objective
    best = best_trial(Journal(run.trials).read(), objective, settings.oracle)
    return {"run": str(run.folder), "report": str(run.report), "best": best}


def _check_strategy(options: SearchOptions, oracles: list[str]) -> None:
    if options.strategy != "none" and RELAXING_ORACLE not in oracles:
        raise ValueError(
            f"`--strategy {options.strategy}` is for supernets. Received the oracle `{oracles[0]}`: "
            "give its trials several GPUs with `--executor` and `--workers`."
        )
    if options.strategy == "multiworker" and options.fresh:
        raise ValueError(
            "`--fresh` with `--strategy multiworker`: one machine would delete the run of another. Omit it."
        )


def _executor(options: SearchOptions, task: "Task", run: Run) -> "Executor":
    """Returns what runs the trials; nothing of it depends on the settings of the run but how long it may take."""
    from tfmedcai.search.executors.executor import Care, InProcess, Needs
    from tfmedcai.search.executors.processes import LocalProcesses
    from tfmedcai.search.training import TrialTraining

    if options.workers is not None and options.workers < 1:
        raise ValueError(f"`--workers` must be 1 or more. Received {options.workers}.")
    search, needs = task.settings.search, Needs(options.cpus, options.gpus, options.memory_gb)
    run = Run(run.folder.absolute())  # a process elsewhere may have another working directory
    training = TrialTraining(task, run)
    if options.executor == "in_process":
        if search.time_limit_min is not None:
            raise ValueError("`search.time_limit_min` needs `--executor processes` or `ray`. Received `in_process`.")
        return InProcess(training)
    os.environ |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # else this process would leave no GPU to the trials
    care = Care(search.retries, search.time_limit_min and 60 * search.time_limit_min, run.log)
    if options.executor == "processes":
        _check_gpus(options.gpus)
        return LocalProcesses(training, options.workers, needs, care)
    from tfmedcai.search.executors.ray_cluster import RayCluster

    return RayCluster(training, options.address, options.workers, needs, care)


def _check_gpus(asked: float) -> None:
    import tensorflow as tf

    if asked and not tf.config.list_physical_devices("GPU"):
        raise ValueError(
            f"`--gpus {asked:g}`: TensorFlow finds no GPU on this machine. Leave it out, or see to the driver and "
            '`pip install "tfmedcai[gpu]"`.'
        )


def dry_run(run: Run, settings: Settings) -> Plan:
    """Returns what a search of these settings would do: data, sizes of the networks, memory."""
    import numpy as np

    from tfmedcai.tasks.task import build_supernet, make_space, make_task

    task = make_task(settings)
    architecture = make_space(settings).sample(np.random.default_rng(settings.seed))
    facts = Plan(run=str(run.folder), settings=settings.model_dump(mode="json"), data=task.describe())
    for title, searching, batch in (
        ("candidate", True, settings.search.fit.batch_size),
        ("full size", False, settings.training.batch_size),
    ):
        network = task.network(architecture, search=searching)
        facts[title] = {"example": str(architecture)} | _cost(network, batch)
    if RELAXING_ORACLE in (settings.oracle, settings.search.baseline):
        shape, answer = network.input_shape[1:], network.output_shape
        relaxed = build_supernet(settings, input_shape=shape, outputs=answer[-1], per_pixel=len(answer) > 2)
        # Momentum, and for the second order the weights one step ahead and moved to either side.
        slots = 4 if settings.supernet.second_order else 1
        facts["supernet"] = _cost(relaxed, settings.supernet.batch_size, slots)
    return facts


def _cost(network: Any, batch: int, optimizer_slots: int = 2) -> dict[str, int]:
    from tfmedcai.metrics.complexity import multiply_accumulates, training_memory

    return {
        "parameters": network.count_params(),
        "multiply_accumulates": multiply_accumulates(network),
        "training_memory_mb": round(training_memory(network, batch, optimizer_slots) / 2**20),
    }


def _search_one(
    task: "Task", relaxing: "RelaxedSearch", executor: "Executor", run: Run, name: str, seed: int, quiet: bool
) -> None:
    import keras_tuner

    from tfmedcai.search.oracles.supernet import SupernetOracle
    from tfmedcai.search.parts import PartScorer
    from tfmedcai.search.stopping import Stopping
    from tfmedcai.search.tuner import Limits, Listener, Tuner
    from tfmedcai.tasks.task import make_space
    from tfmedcai.tasks.watch import best_of

    settings = task.settings
    space = make_space(settings)
    objective = keras_tuner.Objective(task.objective.name, task.objective.direction)
    oracle = registry.load("oracles", name)(space, getattr(settings, name, None), seed, objective, run.oracles)
    limits = Limits(settings.search.trials, settings.search.fit.epochs, settings.search.max_failures)
    if isinstance(oracle, SupernetOracle):
        for found in _relaxed(task, relaxing, run, seed, quiet):
            oracle.learn(*found)
    rounds = _rounds_writer(run, oracle, name, seed)
    show = _trial_shower(run, name, seed)
    best: list[float] = []
    with progress(limits.trials, f"{name}, seed {seed}", quiet=quiet) as tell:

        def finished(row: Row) -> None:
            rounds()
            show(row)
            if row["state"] == "COMPLETED":
                best.append(row["score"])
            score = f"{row['score']:.4g}" if row["score"] is not None else "failed"
            score += f": {row['reason']}" if row["reason"] else ""
            top = best_of(task.objective, best) if best else float("nan")
            beside = f"; {executor.running} running" if executor.running else ""
            tell(f"{row['architecture']}: {score} ({row['source']}); best {top:.4g}{beside}")

        def prepare() -> None:
            task.prepare()
            task.keep_split(run.split)

        def failed(trial: str, text: str) -> None:
            write_whole(run.failure(trial), lambda path: path.write_text(text))

        stopping = Stopping(settings.search.stopping, task.objective)
        scorer = PartScorer(executor, task.parts, seed, Journal(run.parts), stopping)
        tuner = Tuner(
            oracle,
            space,
            scorer,
            Journal(run.trials),
            limits,
            name=name,
            seed=seed,
            listener=Listener(finished, failed),
            prepare=prepare,
            cost=settings.search.cost,
        )
        tuner.run()


def _relaxed(
    task: "Task", relaxing: "RelaxedSearch", run: Run, seed: int, quiet: bool
) -> Iterator[tuple[dict[str, Any], list[dict[str, float]]]]:
    """Runs the relaxed search on each part of the data, or goes on with it; yields mixing weights and rows."""
    from tfmedcai.tasks.events import course
    from tfmedcai.tasks.fitting import Keeper

    for part in range(task.parts):
        with progress(task.settings.supernet.epochs, f"supernet, seed {seed}, part {part}", quiet=quiet) as tell:
            said = course(run.relaxed_events(seed, part), lambda row, tell=tell: tell(in_words(row)))
            keeper = Keeper(run.relaxed(seed, part), said)
            yield relaxing.run(lambda part=part: task.relaxed(seed, part), seed * task.parts + part, keeper)


def _trial_shower(run: Run, name: str, seed: int) -> Callable[[Row], None]:
    """Returns a function that writes a trial for TensorBoard, unless it was in the journal when the search began."""
    from tfmedcai.search.tuner import trial_name
    from tfmedcai.tasks.events import write_trial

    known = {row["trial"] for row in Journal(run.trials).read() if (row["oracle"], row["seed"]) == (name, seed)}

    def show(row: Row) -> None:
        if row["trial"] not in known:
            trial = trial_name(name, seed, row["trial"])
            write_trial(run.trial_events(trial), trial, row)

    return show


def _rounds_writer(run: Run, oracle: Any, name: str, seed: int) -> Callable[[], None]:
    """Returns a function that writes what the oracle said about its fits since the last call, each fit once."""
    journal = Journal(run.rounds)
    journal.repair()
    written = {row["round"] for row in journal.read() if (row["oracle"], row["seed"]) == (name, seed)}

    def write() -> None:
        for row in getattr(oracle, "rounds", ()):
            if row["round"] not in written:
                written.add(row["round"])
                journal.append({"oracle": name, "seed": seed} | row)

    return write


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(SearchOptions, search, argv, outcome=outcome)


if __name__ == "__main__":
    command()
