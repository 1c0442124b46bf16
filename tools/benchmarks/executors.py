"""Cost of a search beside its trials: oracle and journal, resuming, how busy workers are, how well they search."""

import heapq
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.measures import Case, Peers, line
from tfmedcai.journal import Journal
from tfmedcai.search.executors.executor import Answer, Ended, Executor, Function, InProcess, answered

TRIALS, SEEDS, OBJECTIVE = 10_000, 20, "value"
LATENT = {"latent_size": 8, "lstm_units": 16, "batch_size": 32, "learning_rate": 1e-3, "ascent_steps": 50}


class SimulatedWorkers(Executor):
    """Workers whose trials take no time but that of a clock of their own; the oracle's work takes its true time on it.

    Args:
        function: scores at once.
        workers: side by side.
        mean_s: mean duration of a trial; durations are spread by a factor of two, log-normally.
        seed: of the durations.

    Attributes:
        now: seconds on the clock.
        busy: seconds that workers had a trial, together.
    """

    def __init__(self, function: Function, workers: int, mean_s: float, seed: int = 0):
        self.function, self.workers, self.mean_s = function, workers, mean_s
        self.rng, self.now, self.busy = np.random.default_rng(seed), 0.0, 0.0
        self._ends: list[tuple[float, str, tuple[Any, ...]]] = []

    @property
    def free(self) -> int:
        """Workers without a trial."""
        return self.workers - len(self._ends)

    @property
    def running(self) -> int:
        """Workers with one."""
        return len(self._ends)

    def submit(self, name: str, *arguments: Any) -> None:
        """Begins a trial, and decides when it ends."""
        seconds = self.mean_s * self.rng.lognormal(-(np.log(2) ** 2) / 2, np.log(2))
        self.busy += seconds
        heapq.heappush(self._ends, (self.now + seconds, name, arguments))

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Goes to the end of the next trial; where the oracle works, no further than its work goes meanwhile."""
        if timeout_s is not None:
            time.sleep(timeout_s)
            self.now += timeout_s
            if self._ends[0][0] > self.now:
                return []
        end, name, arguments = heapq.heappop(self._ends)
        self.now = max(self.now, end)
        return [answered(name, self.function, arguments)]


def executors(runs: int, peers: Peers) -> Iterator[Case]:
    """What a search costs beside its trials; `runs` and peers count for nothing here."""
    yield from overhead()
    yield from busy_workers()
    yield from quality()


def overhead(trials: int = TRIALS) -> Iterator[Case]:
    """Oracle and journal of a random search for each trial, and the time to resume it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.jsonl"
        for case in ("trial", "resume"):
            start, computed = time.perf_counter(), time.process_time()
            rows = _search("random", path, InProcess(_score), trials)
            seconds, computed = time.perf_counter() - start, time.process_time() - computed
            # On a busy machine the time that was computed says more than the time that passed.
            each = {"ms_per_trial": round(1000 * seconds / trials, 3), "computed_s": round(computed, 3)}
            yield line(f"random:{case}", seconds, trials=len(rows), **each)


def busy_workers(workers: int = 1000, trials: int = 4000, mean_s: float = 600.0) -> Iterator[Case]:
    """How much of the time simulated workers have a trial, with the true times of the latent oracle's rounds."""
    pool = SimulatedWorkers(_score, workers, mean_s)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _search("latent", Path(folder) / "trials.jsonl", pool, trials, initial=100, per_round=100, fit_steps=100)
        seconds = time.perf_counter() - start
    # Behind the last proposal workers end one by one, in any search: the share is that of an oracle that never waits.
    ideal = SimulatedWorkers(_score, workers, mean_s)
    with tempfile.TemporaryDirectory() as folder:
        _search("random", Path(folder) / "trials.jsonl", ideal, trials)
    share = (pool.busy / pool.now) / (ideal.busy / ideal.now)
    yield line("latent:busy_workers", seconds, workers=workers, trials=trials, busy_share=round(share, 4))


def quality(trials: int = 60, seeds: int = SEEDS, oracles: tuple[str, ...] = ("local", "latent")) -> Iterator[Case]:
    """The best of equally many trials with one worker and with eight, over seeds."""
    for name in oracles:
        best: dict[int, list[float]] = {1: [], 8: []}
        start = time.perf_counter()
        for seed in range(seeds):
            for workers, found in best.items():
                pool = SimulatedWorkers(_score, workers, 600.0, seed)
                with tempfile.TemporaryDirectory() as folder:
                    settings = {"initial": 20, "per_round": 10, "fit_steps": 100}
                    rows = _search(name, Path(folder) / "trials.jsonl", pool, trials, seed, **settings)
                found.append(max(row["score"] for row in rows[:trials]))
        lost = [one - eight for one, eight in zip(best[1], best[8], strict=True)]
        yield line(
            f"{name}:quality",
            time.perf_counter() - start,
            trials=trials,
            seeds=seeds,
            one_worker=round(statistics.mean(best[1]), 4),
            eight_workers=round(statistics.mean(best[8]), 4),
            lost=round(statistics.mean(lost), 4),
            lost_error=round(statistics.stdev(lost) / seeds**0.5, 4),
        )


def _search(
    name: str, path: Path, executor: Executor, trials: int, seed: int = 0, **settings: Any
) -> list[dict[str, Any]]:
    import keras_tuner

    from tfmedcai.search.oracles.baseline import random_oracle
    from tfmedcai.search.oracles.latent import latent_oracle
    from tfmedcai.search.oracles.local import local_oracle
    from tfmedcai.search.tuner import Limits, Tuner
    from tfmedcai.search_spaces.snap import SnapSpace

    space, objective = SnapSpace(), keras_tuner.Objective(OBJECTIVE, "max")
    table = SimpleNamespace(**LATENT, step_size=0.05, restarts=True, stage_trials=None, **settings)
    make = {"random": random_oracle, "latent": latent_oracle, "local": local_oracle}[name]
    oracle = make(space, table, seed, objective)
    return Tuner(oracle, space, executor, Journal(path), Limits(trials, 1), name=name, seed=seed).run()


def _score(architecture: Any, epochs: int) -> Answer:
    """A score that can be learnt: pairs of neighbouring symbols are worth something, long blocks cost."""
    symbols = architecture.symbols
    pairs = itertools.pairwise(symbols)
    worth = sum(1.0 for one, other in pairs if "conv" in one and ("dw" in other or "add" in other))
    return {OBJECTIVE: worth + 0.3 * len(set(symbols)) - 0.1 * len(symbols), "parameters": float(len(symbols))}
