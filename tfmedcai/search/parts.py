"""Scores that are means of several trainings (folds, initialisations), each journalled and resumed on its own."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tfmedcai.journal import Journal, Row
from tfmedcai.search.executors.executor import Answer, Ended, Executor
from tfmedcai.search.stopping import Stopping

if TYPE_CHECKING:
    from tfmedcai.search_spaces.space import Architecture

_Identity = tuple[str, int, int, int]  # key, epochs, seed, part
SPREAD = "_std"  # suffix of the metric that tells how far the parts differ


@dataclass
class _Trial:
    architecture: "Architecture"
    epochs: int
    found: dict[int, Answer] = field(default_factory=dict)


class PartScorer:
    """Scores architectures by their parts, which may run side by side; a part that the journal holds runs no more.

    A trial of which one part was stopped early has ended with what that part had reached.

    Args:
        executor: trains one part: architecture, epochs, seed, number of the part, bars, name of the call -> metrics.
        parts: number of parts.
        seed: seed of the search.
        journal: where the parts are written as they end, with the bars that they were given.
        stopping: makes the bars, of the parts of this seed that ended before; its objective's deviation between parts
            is told.
    """

    def __init__(self, executor: Executor, parts: int, seed: int, journal: Journal, stopping: Stopping) -> None:
        self.executor, self.parts, self.seed = executor, parts, seed
        self.journal, self.stopping = journal, stopping
        journal.repair()
        self._known: dict[_Identity, Row] = {}
        for row in journal.read():
            self._keep(row)
        self._trials: dict[str, _Trial] = {}
        self._calls: dict[str, tuple[str, Row]] = {}  # name of a call -> name of its trial, what it is
        self._waiting: deque[str] = deque()
        self._ended: list[Ended] = []

    @property
    def free(self) -> int:
        """How many trials could begin now: workers that no part waits for."""
        return max(0, self.executor.free - len(self._waiting))

    @property
    def running(self) -> int:
        """Parts that are not yet answered, also those of a trial that has failed; and trials that have ended."""
        return len(self._calls) + len(self._ended)

    def submit(self, name: str, architecture: "Architecture", epochs: int) -> None:
        """Begins a trial of an architecture for some epochs.

        Args:
            name: of the trial.
            architecture: what is scored.
            epochs: of each of its parts.
        """
        self._trials[name] = _Trial(architecture, epochs)
        for part in range(self.parts):
            if name not in self._trials:
                break  # a part of it is known to have been stopped
            row: Row = {"key": architecture.key, "epochs": epochs, "seed": self.seed, "part": part}
            known = self._known.get(_identity(row))
            if known is None:
                call = name if self.parts == 1 else f"{name}-part{part}"
                self._calls[call] = name, row
                self._waiting.append(call)
            else:
                self._found(name, known)
        self._begin()

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Returns trials whose parts have all ended, or one of them without an answer; maybe none."""
        if not self._ended:
            for call in self.executor.wait(timeout_s):
                self._take(call)
            self._begin()
        ended, self._ended = self._ended, []
        return ended

    def _begin(self) -> None:
        while self._waiting and self.executor.free:
            call = self._waiting.popleft()
            name, row = self._calls[call]
            trial = self._trials[name]
            bars = self.stopping.bars(trial.epochs, row["part"])
            row["bars"] = bars
            self.executor.submit(call, trial.architecture, trial.epochs, self.seed, row["part"], bars, call)

    def _take(self, call: Ended) -> None:
        name, row = self._calls.pop(call.name)
        if call.answer is None:
            if self._trials.pop(name, None) is not None:
                self._ended.append(replace(call, name=name))
                self._drop(name)
            return
        bars = row.pop("bars")
        row["metrics"] = call.answer
        if self.stopping.stops:
            row |= {"bars": bars, "reason": self.stopping.reason(row["epochs"], call.answer, bars)}
        if self.parts > 1 or self.stopping.stops:
            self._keep(row)
            self.journal.append(row)
        self._found(name, row)

    def _keep(self, row: Row) -> None:
        self._known[_identity(row)] = row
        if row["seed"] == self.seed:
            self.stopping.hear(row["epochs"], row["part"], row["metrics"])

    def _drop(self, name: str) -> None:
        """Gives up the parts of a trial that has ended which did not begin."""
        for call in [call for call in self._waiting if self._calls[call][0] == name]:
            self._waiting.remove(call)
            del self._calls[call]

    def _found(self, name: str, row: Row) -> None:
        trial = self._trials.get(name)
        if trial is None:
            return  # another part of it has failed, or was stopped
        trial.found[row["part"]] = row["metrics"]
        if reason := row.get("reason"):
            del self._trials[name]
            which = f" (part {row['part']})" if self.parts > 1 else ""
            self._ended.append(Ended(name, row["metrics"], reason + which))
            self._drop(name)
        elif len(trial.found) == self.parts:
            self._ended.append(Ended(name, self._mean(self._trials.pop(name).found)))

    def _mean(self, found: dict[int, Answer]) -> Answer:
        """Returns the mean of each metric over the parts, and the deviation of the objective between them."""
        if self.parts == 1:
            return found[0]
        parts = [found[part] for part in range(self.parts)]
        objective = self.stopping.objective.name
        means = {name: float(np.mean([metrics[name] for metrics in parts])) for name in parts[0]}
        spread = float(np.std([metrics[objective] for metrics in parts], ddof=1))
        return means | {objective + SPREAD: spread}


def _identity(row: Row) -> _Identity:
    return row["key"], row["epochs"], row["seed"], row["part"]
