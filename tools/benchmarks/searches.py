"""Searches that are measured: workers that are simulated, and a score that costs nothing."""

import heapq
import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tfmedcai.journal import Journal, Row
from tfmedcai.search.executors.executor import Answer, Ended, Executor, Function, answered
from tfmedcai.search.tuner import Limits, Listener, Scorer, Tuner

OBJECTIVE, NOBODY = "value", Listener()
LATENT = {"latent_size": 8, "lstm_units": 16, "batch_size": 32, "learning_rate": 1e-3, "ascent_steps": 50}


class SimulatedWorkers(Executor):
    """Workers whose trials take no time but that of a clock of their own.

    What this process computes meanwhile, the oracle above all, takes its time on that clock too; the time of all its
    threads together, which another program on the machine does not change.

    Args:
        function: scores at once.
        workers: side by side.
        mean_s: mean duration of a trial; durations are spread by a factor of two, log-normally.
        seed: of the durations.

    Attributes:
        now: seconds on the clock.
        spans: when each trial begins and ends.
    """

    def __init__(self, function: Function, workers: int, mean_s: float, seed: int = 0):
        self.function, self.workers, self.mean_s = function, workers, mean_s
        self.rng, self.now = np.random.default_rng(seed), 0.0
        self.spans: list[tuple[float, float]] = []
        self._computed = time.process_time()
        self._ends: list[tuple[float, str, tuple[Any, ...]]] = []

    @property
    def free(self) -> int:
        """Workers without a trial."""
        return self.workers - len(self._ends)

    @property
    def running(self) -> int:
        """Workers with one."""
        return len(self._ends)

    def busy_share(self) -> float:
        """Returns the part of the time that workers had a trial, until the last one began: behind it all end."""
        last = self.spans[-1][0]
        return sum(min(end, last) - start for start, end in self.spans) / (self.workers * last)

    def submit(self, name: str, *arguments: Any) -> None:
        """Begins a trial, and decides when it ends."""
        seconds = self.mean_s * self.rng.lognormal(-(np.log(2) ** 2) / 2, np.log(2))
        self.spans.append((self.now, self.now + seconds))
        heapq.heappush(self._ends, (self.now + seconds, name, arguments))

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Goes to the end of the next trial; while the oracle works, no further than its work goes meanwhile."""
        if timeout_s is not None:
            time.sleep(timeout_s)
        spent = time.process_time() - self._computed
        self.now, self._computed = self.now + spent, self._computed + spent
        # Who computes gets a part of the time however busy the machine is.
        works = timeout_s is not None and spent > timeout_s / 50
        if works and self._ends[0][0] > self.now:
            return []
        end, name, arguments = heapq.heappop(self._ends)
        self.now = max(self.now, end)
        return [answered(name, self.function, arguments)]


def run_search(
    name: str,
    path: Path,
    scorer: Scorer,
    trials: int,
    seed: int = 0,
    listener: Listener = NOBODY,
    **settings: Any,
) -> list[Row]:
    """Runs a search of simple blocks to its end; returns its rows. `settings` are those of the oracle."""
    import keras_tuner

    from tfmedcai.search.oracles.baseline import random_oracle
    from tfmedcai.search.oracles.latent import latent_oracle
    from tfmedcai.search.oracles.local import local_oracle
    from tfmedcai.search_spaces.snap import SnapSpace

    space, objective = SnapSpace(), keras_tuner.Objective(OBJECTIVE, "max")
    table = SimpleNamespace(**LATENT, step_size=0.05, restarts=True, stage_trials=None, **settings)
    make = {"random": random_oracle, "latent": latent_oracle, "local": local_oracle}[name]
    oracle = make(space, table, seed, objective)
    limits = Limits(trials, 1)
    return Tuner(oracle, space, scorer, Journal(path), limits, name=name, seed=seed, listener=listener).run()


def score(architecture: Any, epochs: int) -> Answer:
    """A score that can be learnt: pairs of neighbouring symbols are worth something, long blocks cost."""
    symbols = architecture.symbols
    pairs = itertools.pairwise(symbols)
    worth = sum(1.0 for one, other in pairs if "conv" in one and ("dw" in other or "add" in other))
    return {OBJECTIVE: worth + 0.3 * len(set(symbols)) - 0.1 * len(symbols), "parameters": float(len(symbols))}
