"""Runs the trials of a KerasTuner oracle with a loop, a cache and a journal of its own; resuming is replaying."""

import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import keras_tuner

from tfmedcai.journal import Journal, Row
from tfmedcai.search_spaces.space import Architecture, SearchSpace

TUNER_ID = "tuner"
ANSWER = ("state", "score", "metrics", "parameters", "reason")
EPOCHS_VALUE = "tuner/epochs"  # how KerasTuner's Hyperband asks for a number of epochs


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Attributes:
        trials: distinct architectures to score.
        epochs: epochs of a candidate, unless the oracle asks for another number.
        max_failures: failed trials in a row that stop the search; those of an earlier start do not count, so that a
            search whose cause of failure was removed can be resumed.
        max_repeats: proposals in a row that are all known; then the space counts as exhausted.
    """

    trials: int
    epochs: int
    max_failures: int = 5
    max_repeats: int = 50


@dataclass(frozen=True)
class Listener:
    """Who is told what: of each finished trial, and of the traceback of a failed one (name of the trial, text)."""

    trial: Callable[[Row], None] = lambda row: None
    failure: Callable[[str, str], None] = lambda name, text: None


class Tuner:
    """Drives one oracle with one seed.

    Every row of the journal that belongs to this oracle and seed is replayed: the oracle proposes again and is given
    the written answer. So a resumed search goes on exactly where an uninterrupted one would be, for any oracle that is
    deterministic, and loses at most the trial that was running.

    A score belongs to an architecture's key, the epochs and the seed. What another oracle of this journal trained with
    the same seed is not trained again; it counts as scored. What this oracle proposed before does not count, nor is
    what failed before tried again.

    Args:
        oracle: proposes; freshly made with the seed.
        space: turns an oracle's values into architectures.
        evaluate: trains and scores an architecture for some epochs: metrics, the objective's name and `parameters`
            among them. Whatever it raises makes a failed trial.
        journal: where finished trials are written.
        limits: when to stop.
        name: name of the oracle, in the journal.
        seed: seed, in the journal.
        listener: who is told.
        prepare: reads the data before the first score; what it raises ends the search instead of failing each trial.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        space: SearchSpace,
        evaluate: Callable[[Architecture, int], dict[str, float]],
        journal: Journal,
        limits: Limits,
        *,
        name: str,
        seed: int,
        listener: Listener = Listener(),
        prepare: Callable[[], object] = lambda: None,
    ):
        self.oracle, self.space, self.evaluate, self.journal = oracle, space, evaluate, journal
        self.limits, self.name, self.seed, self.listener, self.prepare = limits, name, seed, listener, prepare

    def run(self) -> list[Row]:
        """Runs trials until enough architectures are scored.

        Returns:
            All rows of this oracle and seed, the replayed ones first.

        Raises:
            ValueError: if the journal was written by another oracle, version or setting.
            RuntimeError: if too many trials in a row failed.
        """
        rows = [row for row in self.journal.read() if row["seed"] == self.seed]
        written = {row["trial"]: row for row in rows if row["oracle"] == self.name}
        answers = {_identity(row): row for row in rows}
        done: list[Row] = []
        seen: set[tuple[str, int]] = set()
        scored = 0
        failures = repeats = 0
        with tempfile.TemporaryDirectory() as folder:
            for trial in self._proposals(folder):
                architecture = self.space.declare(trial.hyperparameters)
                row = self._replayed(written.get(len(done)), trial, architecture)
                if row is None:
                    row = self._run_trial(len(done), trial, architecture, answers)
                    self.journal.append(row)
                    if row["source"] == "trained":
                        failures = 0 if row["score"] is not None else failures + 1
                done.append(row)
                self._tell_oracle(trial, row)
                self.listener.trial(row)
                answers.setdefault(_identity(row), row)
                if _identity(row) in seen:
                    repeats += 1
                else:
                    seen.add(_identity(row))
                    repeats = 0
                    scored += row["score"] is not None
                self._check(failures, row)
                if scored >= self.limits.trials or repeats >= self.limits.max_repeats:
                    return done
        return done

    def _proposals(self, folder: str) -> Iterator[keras_tuner.engine.trial.Trial]:
        """Yields trials that the oracle wants run; what KerasTuner itself writes goes to a temporary folder."""
        oracle = self.oracle
        oracle.max_trials, oracle.max_retries_per_trial, oracle.max_consecutive_failed_trials = None, 0, sys.maxsize
        oracle.verbose = 0
        oracle._display.verbose = 0
        oracle._set_project_dir(folder, self.name)
        while True:
            trial = oracle.create_trial(TUNER_ID)
            if trial.status != keras_tuner.engine.trial.TrialStatus.RUNNING:
                # Nothing runs beside us: an oracle that waits now would wait for ever.
                return
            yield trial

    def _replayed(
        self, row: Row | None, trial: keras_tuner.engine.trial.Trial, architecture: Architecture
    ) -> Row | None:
        if row is None:
            return None
        if row["values"] != trial.hyperparameters.values or row["key"] != architecture.key:
            raise ValueError(
                f"{self.journal.path}: trial {row['trial']} of `{self.name}`, seed {self.seed}, is not what this "
                f"oracle proposes now ({row['architecture']} is written, {architecture} proposed): it was made with "
                "other settings or versions. `--fresh` starts anew."
            )
        return row

    def _run_trial(
        self, number: int, trial: keras_tuner.engine.trial.Trial, architecture: Architecture, answers: dict[Any, Row]
    ) -> Row:
        values = dict(trial.hyperparameters.values)
        row: Row = {
            "oracle": self.name,
            "seed": self.seed,
            "trial": number,
            "state": "COMPLETED",
            "architecture": str(architecture),
            "key": architecture.key,
            "values": values,
            "epochs": int(values.get(EPOCHS_VALUE, self.limits.epochs)),
            "source": "trained",
            "reason": None,
        }
        known = answers.get(_identity(row))
        start = time.monotonic()
        if known is not None:
            row |= {name: known[name] for name in ANSWER} | {"source": "cache"}
        else:
            self.prepare()
            row |= self._score(row, architecture)
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        return row | {"time": {"seconds": round(time.monotonic() - start, 3), "ended": ended}}

    def _score(self, row: Row, architecture: Architecture) -> Row:
        try:
            metrics = {name: float(value) for name, value in self.evaluate(architecture, row["epochs"]).items()}
            score = metrics.pop(self.oracle.objective.name)
            if not math.isfinite(score):
                raise ValueError(f"the score is {score}")
        except Exception as error:  # a candidate may fail in any way; the search must go on
            self.listener.failure(f"{self.name}-{self.seed}-{row['trial']}", traceback.format_exc())
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return {"state": "FAILED", "score": None, "metrics": {}, "parameters": None, "reason": reason}
        return {"score": score, "metrics": metrics, "parameters": int(metrics.pop("parameters"))}

    def _tell_oracle(self, trial: keras_tuner.engine.trial.Trial, row: Row) -> None:
        status = keras_tuner.engine.trial.TrialStatus
        if row["score"] is None:
            trial.status, trial.message = status.FAILED, row["reason"]
        else:
            self.oracle.update_trial(trial.trial_id, {self.oracle.objective.name: row["score"]})
            trial.status = status.COMPLETED
        self.oracle.end_trial(trial)

    def _check(self, failures: int, row: Row) -> None:
        if failures >= self.limits.max_failures:
            raise RuntimeError(
                f"{failures} trials in a row failed, the last with {row['reason']}. The search stops. "
                "Remove the cause, then `--resume` goes on with the next trial."
            )


def _identity(row: Row) -> tuple[str, int]:
    """What a score belongs to, beside the seed."""
    return row["key"], row["epochs"]
