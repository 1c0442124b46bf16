"""Runs the trials of a KerasTuner oracle with a loop, a cache and a journal of its own; resuming is replaying."""

import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import keras_tuner

from tfmedcai.journal import Journal, Row
from tfmedcai.reports.series import ParetoFront
from tfmedcai.search.executors.executor import Answer, Ended, answered
from tfmedcai.search.proposals import Proposal, Proposals
from tfmedcai.search_spaces.space import SearchSpace

ANSWER = ("state", "score", "metrics", "parameters", "reason")
EPOCHS_VALUE = "tuner/epochs"  # how KerasTuner's Hyperband asks for a number of epochs
# Rows that are compared by key; the rest by values, which is quicker and tells as much but for a new canonical form.
CHECKED_KEYS = 100
LOOK_S = 0.05  # how often is looked whether an oracle has ended its own work, while trials run


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


class Scorer(Protocol):
    """Trains and scores: an `Executor` of calls with an architecture and epochs, or a `PartScorer`.

    An answer holds metrics, the objective's name and `parameters` among them. No answer makes a failed trial.
    """

    @property
    def free(self) -> int:
        """How many trials could begin now."""
        ...

    @property
    def running(self) -> int:
        """How many are not yet answered."""
        ...

    def submit(self, name: str, *arguments: Any) -> None:
        """Begins a trial."""

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Returns trials that ended; maybe none."""
        ...


class Tuner:
    """Drives one oracle with one seed, and keeps all workers busy that the oracle has proposals for.

    Rows are journalled in the order in which trials end, each with the number of proposals that had been asked for by
    then. That is all that an oracle has seen: every row of the journal that belongs to this oracle and seed is replayed
    by asking as often and giving the written answer. So a resumed search goes on exactly where it was, for any oracle
    that is deterministic, with any number of workers, and loses at most the trials that were running. With one worker
    it equals an uninterrupted one.

    A score belongs to an architecture's key, the epochs and the seed. What another oracle of this journal trained with
    the same seed is not trained again; it counts as scored. What this oracle proposed before does not count, nor is
    what failed before tried again.

    Ctrl-C once lets the running trials end; twice stops at once.

    Args:
        oracle: proposes; freshly made with the seed.
        space: turns an oracle's values into architectures.
        scorer: trains and scores.
        journal: where finished trials are written.
        limits: when to stop.
        name: name of the oracle, in the journal.
        seed: seed, in the journal.
        listener: who is told.
        prepare: reads the data before the first score; what it raises ends the search instead of failing each trial.
        cost: second objective, `parameters` or a metric; less is better. A row says whether its trial was on the Pareto
            front of this oracle and seed when it ended.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        space: SearchSpace,
        scorer: Scorer,
        journal: Journal,
        limits: Limits,
        *,
        name: str,
        seed: int,
        listener: Listener = Listener(),
        prepare: Callable[[], object] = lambda: None,
        cost: str = "parameters",
    ):
        self.scorer, self.journal, self.limits, self.listener = scorer, journal, limits, listener
        self.objective, self.proposals = oracle.objective.name, Proposals(oracle, space)
        self.name, self.seed, self.prepare = name, seed, prepare
        self._front = ParetoFront(cost, oracle.objective.direction)
        self._done: list[Row] = []
        self._answers: dict[tuple[str, int], Row] = {}
        self._seen: set[tuple[str, int]] = set()
        self._running: dict[tuple[str, int], list[tuple[Proposal, float]]] = {}  # the first of each is what runs
        self._scored = self._repeats = self._failures = 0

    def run(self) -> list[Row]:
        """Runs trials until enough architectures are scored; to be called once.

        Returns:
            All rows of this oracle and seed in the order in which they ended, the replayed ones first.

        Raises:
            ValueError: if the journal was written by another oracle, version or setting.
            RuntimeError: if too many trials in a row failed.
            KeyboardInterrupt: after Ctrl-C.
        """
        rows = [row for row in self.journal.read() if row["seed"] == self.seed]
        self._answers = {_identity(row): row for row in rows}
        written = [row for row in rows if row["oracle"] == self.name]
        for place, row in enumerate(written):
            self._replay(row, check_key=place >= len(written) - CHECKED_KEYS)
        again = deque(self.proposals.open.values())  # what was running when the search was stopped
        with _stopping() as stopped:
            while True:
                if not stopped():
                    self._hand_out(again)
                if not self._running:
                    break
                for ended in self.scorer.wait(LOOK_S if self.proposals.fitting else None):
                    self._end(ended)
            if stopped():
                raise KeyboardInterrupt
        return self._done

    def _replay(self, row: Row, *, check_key: bool) -> None:
        # Rows that were written before there were several workers do not say it.
        while self.proposals.asked < row.get("asked", row["trial"] + 1):
            if self.proposals.ask_now() is None:
                raise ValueError(self._other(row, "nothing"))
        proposal = self.proposals.open.get(row["trial"])
        same = proposal is not None and row["values"] == proposal.values
        if not same or (check_key and row["key"] != proposal.architecture.key):
            raise ValueError(self._other(row, proposal and proposal.architecture))
        self._take(row)

    def _other(self, row: Row, proposed: object) -> str:
        return (
            f"{self.journal.path}: trial {row['trial']} of `{self.name}`, seed {self.seed}, is not what this "
            f"oracle proposes now ({row['architecture']} is written, {proposed} proposed): it was made with "
            "other settings or versions. `--fresh` starts anew."
        )

    def _hand_out(self, again: deque[Proposal]) -> None:
        """Gives every free worker a trial, as long as the oracle has some and they may be needed."""
        while (
            self.scorer.free
            and self._scored + len(self._running) < self.limits.trials
            and self._repeats < self.limits.max_repeats
        ):
            # Nobody else can wake an oracle up if nothing runs.
            ask = self.proposals.ask if self._running else self.proposals.ask_now
            proposal = again.popleft() if again else ask()
            if proposal is None:
                return
            row = self._row(proposal)
            if (known := self._answers.get(_identity(row))) is not None:
                self._write(proposal, {name: known[name] for name in ANSWER} | {"source": "cache"}, time.monotonic())
                continue
            same = self._running.setdefault(_identity(row), [])
            if not same:
                self.prepare()
                self.scorer.submit(self._trial_name(proposal), proposal.architecture, row["epochs"])
            same.append((proposal, time.monotonic()))

    def _end(self, ended: Ended) -> None:
        identity = next(key for key, same in self._running.items() if self._trial_name(same[0][0]) == ended.name)
        (first, start), *others = self._running.pop(identity)
        answer = self._answer(ended)
        self._failures = 0 if answer["score"] is not None else self._failures + 1
        self._write(first, answer | {"source": "trained"}, start)
        for proposal, start in others:
            self._write(proposal, answer | {"source": "cache"}, start)
        if self._failures >= self.limits.max_failures:
            raise RuntimeError(
                f"{self._failures} trials in a row failed, the last with {answer['reason']}. The search stops. "
                "Remove the cause, then `--resume` goes on with the next trial."
            )

    def _answer(self, ended: Ended) -> Row:
        reason = ended.reason
        if ended.answer is not None:
            ended = answered(ended.name, self._numbers, (ended.answer,))
        if ended.answer is not None:
            return {"state": "STOPPED" if reason else "COMPLETED", "reason": reason} | ended.answer
        self.listener.failure(ended.name, ended.details or str(ended.reason))
        return {"state": "FAILED", "score": None, "parameters": None, "metrics": {}, "reason": ended.reason}

    def _numbers(self, answer: Answer) -> Row:
        metrics = {name: float(value) for name, value in answer.items()}
        score = metrics.pop(self.objective)
        if not math.isfinite(score):
            raise ValueError(f"the score is {score}")
        return {"score": score, "parameters": int(metrics.pop("parameters")), "metrics": metrics}

    def _row(self, proposal: Proposal) -> Row:
        values = dict(proposal.values)
        return {
            "oracle": self.name,
            "seed": self.seed,
            "trial": proposal.number,
            "architecture": str(proposal.architecture),
            "key": proposal.architecture.key,
            "values": values,
            "epochs": int(values.get(EPOCHS_VALUE, self.limits.epochs)),
        }

    def _write(self, proposal: Proposal, answer: Row, start: float) -> None:
        seconds, ended = round(time.monotonic() - start, 3), datetime.now(UTC).isoformat(timespec="seconds")
        row = self._row(proposal) | answer | {"asked": self.proposals.asked}
        row["front"] = self._front.beats(row)
        row["time"] = {"seconds": seconds, "ended": ended}
        self.journal.append(row)
        self._take(row)

    def _take(self, row: Row) -> None:
        self._done.append(row)
        self._front.add(row)
        self.proposals.tell(row["trial"], row)
        self.listener.trial(row)
        identity = _identity(row)
        self._answers.setdefault(identity, row)
        if identity in self._seen:
            self._repeats += 1
        else:
            self._seen.add(identity)
            self._repeats = 0
            self._scored += row["score"] is not None

    def _trial_name(self, proposal: Proposal) -> str:
        return trial_name(self.name, self.seed, proposal.number)


def trial_name(oracle: str, seed: int, number: int) -> str:
    """Returns the name of a trial in files of its own.

    Args:
        oracle: its name.
        seed: of the search.
        number: of the proposal.

    Returns:
        The name.

    >>> trial_name("latent", 0, 12)
    'latent-0-12'
    """
    return f"{oracle}-{seed}-{number}"


def _identity(row: Row) -> tuple[str, int]:
    """What a score belongs to, beside the seed."""
    return row["key"], row["epochs"]


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C was pressed; a second time it stops at once."""
    presses: list[int] = []

    def pressed(number: int, _: object) -> None:
        presses.append(number)
        if len(presses) > 1:
            raise KeyboardInterrupt
        print("\nwaiting for what runs; Ctrl-C again stops at once", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield lambda: bool(presses)
    finally:
        signal.signal(signal.SIGINT, before)
