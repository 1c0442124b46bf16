"""The clock of simulated workers, and that the cases run."""

import importlib
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def executors():
    yield from benchmark("executors")


@pytest.fixture(scope="module")
def search():
    yield from benchmark("search")


def benchmark(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "tools")
        yield importlib.import_module(f"benchmarks.{name}")


def test_simulated_workers_share_the_work_and_the_clock_counts_the_longest(executors):
    pool = executors.SimulatedWorkers(lambda number: {"value": number}, 3, 10.0)
    for number in range(3):
        pool.submit(str(number), number)
    assert pool.free == 0
    ended = [call for _ in range(3) for call in pool.wait()]
    assert sorted(call.name for call in ended) == ["0", "1", "2"]
    assert pool.now == max(end for _, end in pool.spans)
    assert pool.free == 3


def test_a_worker_without_a_trial_is_not_busy(executors):
    pool = executors.SimulatedWorkers(lambda: {"value": 0.0}, 2, 10.0)
    for _ in range(3):
        pool.submit("alone")
        pool.wait()
    assert pool.busy_share() == pytest.approx(0.5, abs=0.05)


def test_an_oracle_that_works_takes_what_it_computes_of_the_clock(executors):
    pool = executors.SimulatedWorkers(lambda: {"value": 0.0}, 2, 1e6)
    pool.submit("long")
    before = time.process_time()
    while time.process_time() < before + 0.05:
        pass
    assert pool.wait(0.01) == []
    assert 0.05 <= pool.now < 5
    (ended,) = pool.wait(0.1)  # nobody computes, so the time may pass
    assert ended.name == "long"


def test_a_search_costs_little_beside_its_trials_and_resumes_without_any(executors):
    trial, resumed = executors.overhead(60)
    assert (trial["trials"], resumed["trials"]) == (60, 60)
    # A hundredth of what a worker takes to start; loose, since the machine may be busy.
    assert trial["computed_s"] / 60 < 0.02
    assert resumed["computed_s"] < trial["computed_s"]


def test_eight_workers_are_kept_busy_and_search_as_many(search):
    (case,) = search.quality(trials=20, seeds=2, oracles=("local",))
    assert case["trials"] == 20
    assert case["lost"] == pytest.approx(case["one_worker"] - case["eight_workers"], abs=1e-3)
