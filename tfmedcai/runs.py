"""A run folder and its file names, and writing files so that they appear whole or not at all."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from tfmedcai.config import NO_BASELINE, Settings, read_settings


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file or folder beside its place, then moves it there in one step.

    Args:
        path: where the result appears; an existing file is replaced, an existing folder is swapped out.
        write: called with the temporary path, in the same folder and with the same ending.

    Raises:
        ValueError: if the place cannot be written to.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if path.is_dir():
            retired = path.with_name(f".{uuid.uuid4().hex[:8]}-retired")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path}: cannot write here ({error.strerror or error}). Choose another folder.") from error
    finally:
        with suppress(OSError):  # what went wrong is told above
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n"))


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        ValueError: if it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot read this file ({error.strerror}).") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not a JSON file: {error}.") from error


@dataclass(frozen=True)
class ModelFolder:
    """A trained network: one architecture, one seed."""

    folder: Path

    @property
    def model(self) -> Path:
        """The trained Keras model."""
        return self.folder / "model.keras"

    @property
    def checkpoint(self) -> Path:
        """The state after the last finished epoch of an unfinished training."""
        return self.folder / "checkpoint.keras"

    @property
    def history(self) -> Path:
        """Losses by epoch."""
        return self.folder / "history.csv"

    @property
    def card(self) -> Path:
        """What was trained: network, architecture, parameters, seed, settings of the fit."""
        return self.folder / "model.json"

    @property
    def evaluation(self) -> Path:
        """Errors on the evaluation set."""
        return self.folder / "evaluation.json"

    @property
    def cases(self) -> Path:
        """The best, median and worst case and the errors of all."""
        return self.folder / "cases.npz"


@dataclass(frozen=True)
class Run:
    """A folder on disk: settings, environment, trials, best model, report."""

    folder: Path

    @property
    def settings(self) -> Path:
        """The settings of the run."""
        return self.folder / "settings.toml"

    @property
    def environment(self) -> Path:
        """Versions and machine."""
        return self.folder / "environment.json"

    @property
    def trials(self) -> Path:
        """The journal: one trial a line."""
        return self.folder / "trials.jsonl"

    @property
    def parts(self) -> Path:
        """The trainings that make up scores which are means of several: one a line."""
        return self.folder / "parts.jsonl"

    @property
    def rounds(self) -> Path:
        """What the oracle says about its own fits: one a line."""
        return self.folder / "rounds.jsonl"

    @property
    def split(self) -> Path:
        """Which subjects each seed holds out."""
        return self.folder / "folds.json"

    @property
    def oracles(self) -> Path:
        """What oracles keep between rounds."""
        return self.folder / "oracles"

    def relaxed(self, seed: int, part: int) -> Path:
        """The state after the last finished epoch of a supernet's search on one part of the data."""
        return self.oracles / f"supernet-{seed}-{part}.npz"

    @property
    def progress(self) -> Path:
        """Picture of the best score so far."""
        return self.folder / "progress.png"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def tensorboard(self) -> Path:
        """What TensorBoard shows: a folder a trial and a training."""
        return self.folder / "tensorboard"

    @property
    def exported(self) -> Path:
        """The served model: version folders."""
        return self.folder / "export"

    @property
    def predictions(self) -> Path:
        """Pictures and poses of `predict`."""
        return self.folder / "predictions"

    def failure(self, trial: str) -> Path:
        """Traceback of a failed trial."""
        return self.folder / "failures" / f"{trial}.txt"

    def log(self, trial: str) -> Path:
        """What a trial printed that had a process of its own."""
        return self.folder / "logs" / f"{trial}.txt"

    def trial_checkpoint(self, identity: str) -> Path:
        """State of a trial that takes many epochs, while it runs."""
        return self.folder / "checkpoints" / f"{identity}.keras"

    def best(self, seed: int) -> ModelFolder:
        """The best architecture, trained with one seed."""
        return ModelFolder(self.folder / "best" / f"seed_{seed}")

    def baseline(self, name: str, seed: int) -> ModelFolder:
        """What stands beside it, trained with one seed: a hand-made network, the best of another oracle."""
        return ModelFolder(self.folder / "baselines" / name / f"seed_{seed}")

    def trial_events(self, trial: str) -> Path:
        """What TensorBoard shows of a trial, or of a part of one."""
        return self.tensorboard / "trials" / trial

    def relaxed_events(self, seed: int, part: int) -> Path:
        """What TensorBoard shows of a supernet's search."""
        return self.tensorboard / f"supernet-{seed}-{part}"

    def model_events(self, model: ModelFolder) -> Path:
        """What TensorBoard shows of a training and its evaluation."""
        return self.tensorboard / model.folder.relative_to(self.folder)

    def trained(self) -> list[ModelFolder]:
        """All trained networks of the run, the best architecture's first."""
        models = [sorted(self.folder.glob(f"{role}/seed_*/model.keras")) for role in ("best", "baselines/*")]
        return [ModelFolder(path.parent) for path in [*models[0], *models[1]]]

    def must_be_trained(self) -> list[ModelFolder]:
        """Returns all trained networks of the run, at least one.

        Raises:
            ValueError: if there is none.
        """
        models = self.trained()
        if not models:
            raise ValueError(
                f"{self.folder}: no trained network. Run `python -m tfmedcai.train --run {self.folder}` first."
            )
        return models


def run_of(output: Path, settings: Settings) -> Run:
    """Returns the run of these settings, whether its folder exists or not.

    Args:
        output: folder of run folders.
        settings: settings; their digest is part of the folder's name.
    """
    return Run(output / f"{settings.task}-{settings.space}-{settings.oracle}-{settings.digest()}")


def new_run(output: Path, settings: Settings, *, resume: bool = False, fresh: bool = False) -> Run:
    """Makes the run folder of these settings, or opens it again.

    Args:
        output: folder of run folders.
        settings: settings; their digest is part of the folder's name.
        resume: go on with an existing run.
        fresh: delete an existing run and start anew.

    Returns:
        The run; its settings and environment are written.

    Raises:
        ValueError: if the run has trials and neither `resume` nor `fresh` was asked, if its settings were changed
            since, or if the folder cannot be written to.
    """
    run = run_of(output, settings)
    if fresh and run.folder.exists():
        shutil.rmtree(run.folder)
    if run.settings.exists():
        if read_settings(run.settings) != settings:
            raise ValueError(f"{run.settings}: these are other settings than the run's. `--fresh` starts anew.")
        found = run.trials.read_text().count("\n") if run.trials.exists() else 0
        if found and not resume:
            oracles = len({settings.oracle, settings.search.baseline} - {NO_BASELINE})
            asked = settings.search.trials * settings.seeds * oracles
            raise ValueError(
                f"{run.folder}: {found} of {asked} trials found; `--resume` continues, `--fresh` starts anew."
            )
    else:
        write_settings(run.settings, settings)
        write_json(run.environment, environment())
    return run


def comparison_beside(run: Run) -> Path:
    """Where a report lies that compares a run with others."""
    return run.folder.parent / "comparison.html"


def open_run(folder: Path) -> tuple[Run, Settings]:
    """Opens an existing run folder.

    Returns:
        The run and its settings.

    Raises:
        ValueError: if it is no run folder or its settings are not valid.
    """
    run = Run(folder)
    if not run.settings.is_file():
        inside = sorted(str(path.parent) for path in folder.glob(f"*/{run.settings.name}"))
        advice = f"Name one that is in it: {', '.join(inside)}." if inside else "Name a folder that a command wrote."
        raise ValueError(f"{folder}: not a run folder (no {run.settings.name}). {advice}")
    return run, read_settings(run.settings)


def write_settings(path: Path, settings: Settings) -> None:
    """Writes settings as TOML; what is unset is left out."""
    values = settings.model_dump(mode="json", exclude_none=True)
    write_whole(path, lambda temporary: temporary.write_text(tomli_w.dumps(values)))


def environment() -> dict[str, Any]:
    """Returns versions of Python and the packages that decide results, and the machine's kind and cores."""
    packages = ("tfmedcai", "tensorflow", "keras", "keras-tuner", "numpy", "scipy")
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
