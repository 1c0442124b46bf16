"""Cost of a search beside its trials: oracle and journal, resuming, processes side by side, how busy workers are."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measures import Case, Peers, line
from benchmarks.searches import SimulatedWorkers, run_search, score
from tfmedcai.search.executors.executor import Answer, InProcess
from tfmedcai.search.executors.processes import LocalProcesses

TRIALS = 10_000


def executors(runs: int, peers: Peers) -> Iterator[Case]:
    """What a search costs beside its trials; `runs` and peers count for nothing here."""
    yield from overhead()
    yield from scaling()
    yield from busy_workers()


def overhead(trials: int = TRIALS) -> Iterator[Case]:
    """Oracle and journal of a random search for each trial, and the time to resume it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.jsonl"
        for case in ("trial", "resume"):
            start, computed = time.perf_counter(), time.process_time()
            rows = run_search("random", path, InProcess(score), trials)
            seconds, computed = time.perf_counter() - start, time.process_time() - computed
            # On a busy machine the time that was computed says more than the time that passed.
            each = {"ms_per_trial": round(1000 * seconds / trials, 3), "computed_s": round(computed, 3)}
            yield line(f"random:{case}", seconds, trials=len(rows), **each)


def scaling(computing: int = 8, waiting: int = 4) -> Iterator[Case]:
    """Trials a minute with processes side by side, the start of each counted, as a share of what one does alone."""
    for function, counts, trials in ((_computing, (1, 2), computing), (_waiting, (1, 4), waiting)):
        alone, kind = None, function.__name__.strip("_")
        for workers in counts:
            with tempfile.TemporaryDirectory() as folder, LocalProcesses(function, workers) as executor:
                start = time.perf_counter()
                run_search("random", Path(folder) / "trials.jsonl", executor, trials * workers)
                seconds = time.perf_counter() - start
            rate = 60 * trials * workers / seconds
            alone = alone or rate
            share = {"trials_a_minute": round(rate, 1), "share_of_ideal": round(rate / (workers * alone), 3)}
            yield line(f"{kind}:workers", seconds, workers=workers, trials=trials * workers, **share)


def busy_workers(workers: int = 1000, trials: int = 4000, mean_s: float = 600.0) -> Iterator[Case]:
    """How much of the time simulated workers have a trial, with the true times of the latent oracle's rounds."""
    pool = SimulatedWorkers(score, workers, mean_s)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_search("latent", Path(folder) / "trials.jsonl", pool, trials, initial=100, per_round=100, fit_steps=100)
        seconds = time.perf_counter() - start
    share = {"hours": round(pool.spans[-1][0] / 3600, 2), "busy_share": round(pool.busy_share(), 4)}
    yield line("latent:busy_workers", seconds, workers=workers, trials=trials, **share)


def _computing(architecture: Any, epochs: int) -> Answer:
    """Computes for two seconds on one core."""
    end = time.process_time() + 2.0
    while time.process_time() < end:
        pass
    return score(architecture, epochs)


def _waiting(architecture: Any, epochs: int) -> Answer:
    """Waits for four seconds, as for a GPU."""
    time.sleep(4.0)
    return score(architecture, epochs)
