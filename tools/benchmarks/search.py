"""How well many workers search, and whether the memory of a search stays where it is."""

import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from benchmarks.measures import Case, Peers, line
from benchmarks.searches import SimulatedWorkers, run_search, score
from tfmedcai.journal import Journal
from tfmedcai.search.executors.processes import LocalProcesses
from tfmedcai.search.tuner import Listener

SEEDS = 20


def search(runs: int, peers: Peers) -> Iterator[Case]:
    """How well eight workers search, and whether memory stays; `runs` and peers count for nothing here."""
    yield from quality()
    yield from memory()


def quality(trials: int = 60, seeds: int = SEEDS, oracles: tuple[str, ...] = ("local", "latent")) -> Iterator[Case]:
    """The best of equally many trials with one worker and with eight, over seeds."""
    for name in oracles:
        best: dict[int, list[float]] = {1: [], 8: []}
        start = time.perf_counter()
        for seed in range(seeds):
            for workers, found in best.items():
                pool = SimulatedWorkers(score, workers, 600.0, seed)
                with tempfile.TemporaryDirectory() as folder:
                    settings = {"initial": 20, "per_round": 10, "fit_steps": 100}
                    rows = run_search(name, Path(folder) / "trials.jsonl", pool, trials, seed, **settings)
                found.append(max(row["score"] for row in rows[:trials]))
        lost = [one - eight for one, eight in zip(best[1], best[8], strict=True)]
        yield line(
            f"{name}:quality",
            time.perf_counter() - start,
            trials=trials,
            seeds=seeds,
            one_worker=round(statistics.mean(best[1]), 4),
            eight_workers=round(statistics.mean(best[8]), 4),
            one_worker_std=round(statistics.stdev(best[1]), 4),
            eight_workers_std=round(statistics.stdev(best[8]), 4),
            lost=round(statistics.mean(lost), 4),
            lost_error=round(statistics.stdev(lost) / seeds**0.5, 4),
            # Of the same seeds; the smaller, the less it looks like chance.
            paired_t_test_p=round(float(ttest_rel(best[1], best[8]).pvalue), 4) if any(lost) else 1.0,
        )


def memory(trials: int = 100) -> Iterator[Case]:
    """Memory of the search itself while trials train in processes of their own, and of the largest trial."""
    from tfmedcai.config import Settings
    from tfmedcai.runs import Run
    from tfmedcai.search.parts import PartScorer
    from tfmedcai.search.stopping import Stopping
    from tfmedcai.search.training import TrialTraining
    from tfmedcai.tasks.pose import PoseTask

    task = PoseTask(Settings().smoke())
    task.prepare()
    resident: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with LocalProcesses(TrialTraining(task, Run(Path(folder)))) as executor:
            stopping = Stopping(task.settings.search.stopping, task.objective)
            scorer = PartScorer(executor, 1, 0, Journal(Path(folder) / "parts.jsonl"), stopping)
            told = Listener(lambda row: resident.append(_resident_mb()))
            run_search("random", Path(folder) / "trials.jsonl", scorer, trials, listener=told)
        seconds = time.perf_counter() - start
    after = resident[len(resident) // 10 :]  # the first trials fill caches
    yield line(
        "processes:memory",
        seconds,
        trials=len(resident),
        after_tenth_mb=round(after[0], 1),
        at_the_end_mb=round(after[-1], 1),
        growth_mb_per_trial=round(float(np.polyfit(range(len(after)), after, 1)[0]), 4),
        largest_trial_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        processes_left=len(multiprocessing.active_children()),
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
