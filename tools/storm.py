"""Storms on a search: kills a random worker every few seconds and the search itself several times; nothing may be lost.

Prints what came out as one line of JSON, and ends with code 1 if a trial is missing, stands there twice, or is another
one than in an undisturbed search.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

OBJECTIVE, SEED = "value", 0


@dataclass(frozen=True)
class Storm:
    """What is searched, and how it is disturbed.

    Attributes:
        executor: `processes` or `ray`, a cluster of several nodes on this machine.
        trials: architectures to score.
        workers: trials side by side.
        nodes: of the Ray cluster.
        seconds: duration of a trial.
        every: seconds between two workers that are killed.
        driver_kills: how often the search itself is killed.
    """

    executor: str = "ray"
    trials: int = 200
    workers: int = 6
    nodes: int = 3
    seconds: float = 1.0
    every: float = 3.0
    driver_kills: int = 5


def score(folder: str, seconds: float, architecture: Any, epochs: int) -> dict[str, float]:
    """Takes its time; says in the folder which process it is, so that it can be hit."""
    sign = Path(folder) / "running" / str(os.getpid())
    sign.touch()
    (Path(folder) / "begun" / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    sign.unlink(missing_ok=True)
    return {OBJECTIVE: float(len(architecture.symbols)), "parameters": 1.0}


@dataclass(frozen=True)
class Scored:
    """`score` with its first arguments; it can be pickled."""

    folder: str
    seconds: float

    def __call__(self, architecture: Any, epochs: int) -> dict[str, float]:
        """Returns the score."""
        return score(self.folder, self.seconds, architecture, epochs)


def search(folder: Path, storm: Storm, address: str | None) -> None:
    """Begins the search, or goes on with it."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Ray says there what it has lost
    from tfmedcai.search.executors.executor import Care
    from tfmedcai.search.executors.processes import LocalProcesses

    function, care = Scored(str(folder), storm.seconds), Care(retries=50)
    if storm.executor == "processes":
        executor = LocalProcesses(function, storm.workers, care=care)
    else:
        from tfmedcai.search.executors.ray_cluster import RayCluster

        executor = RayCluster(function, address, storm.workers, care=care)
    with executor:
        tuner(folder / "trials.jsonl", executor, storm.trials).run()


def tuner(journal: Path, executor: Any, trials: int) -> Any:
    """A random search: what it proposes does not depend on the order in which trials end."""
    import keras_tuner

    from tfmedcai.journal import Journal
    from tfmedcai.search.oracles.baseline import RandomOracle
    from tfmedcai.search.tuner import Limits, Tuner
    from tfmedcai.search_spaces.snap import SnapSpace

    space, rows = SnapSpace(), Journal(journal)
    rows.repair()
    oracle = RandomOracle(space, keras_tuner.Objective(OBJECTIVE, "max"), SEED)
    return Tuner(oracle, space, executor, rows, Limits(trials, 1), name="random", seed=SEED)


def weather(folder: Path, storm: Storm, address: str | None) -> dict[str, int]:
    """Returns what was done to a search that is run to its end, again and again, while its processes are killed.

    A worker is killed every few seconds, but only after another trial has ended since the last one: on a machine where
    processes take longer to start than they are left alive, the search would never end.
    """
    fork = multiprocessing.get_context("fork")  # no new start of TensorFlow for each
    rng, hits, kills, starts = random.Random(SEED), 0, 0, 0
    strike, ended = time.monotonic() + storm.every, -1
    while True:
        driver = fork.Process(target=search, args=(folder, storm, address))
        driver.start()
        starts += 1
        while driver.is_alive():
            time.sleep(0.05)
            if time.monotonic() > strike and _lines(folder) > ended and _hit(folder / "running", rng):
                hits += 1
                strike, ended = time.monotonic() + storm.every, _lines(folder)
            due = kills < storm.driver_kills and _lines(folder) >= (kills + 1) * storm.trials // (
                storm.driver_kills + 1
            )
            if due:
                driver.kill()
                kills += 1
                break
        driver.join()
        if driver.exitcode == 0:
            return {"workers_killed": hits, "drivers_killed": kills, "starts": starts}
        if driver.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the search ended with code {driver.exitcode}: see its traceback above.")


def _hit(running: Path, rng: random.Random) -> bool:
    """Kills one of the processes that run a trial, if any does; those that are gone leave their signs behind."""
    signs = sorted(running.iterdir())
    rng.shuffle(signs)
    for sign in signs:
        sign.unlink(missing_ok=True)
        with suppress(ProcessLookupError):
            os.kill(int(sign.name), signal.SIGKILL)
            return True
    return False


def _lines(folder: Path) -> int:
    journal = folder / "trials.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def judge(folder: Path, storm: Storm) -> dict[str, Any]:
    """Compares the journal with an undisturbed search."""
    from tfmedcai.journal import Journal
    from tfmedcai.search.executors.executor import InProcess

    rows = Journal(folder / "trials.jsonl").read()
    (folder / "calm").mkdir()
    undisturbed = InProcess(lambda architecture, epochs: {OBJECTIVE: 0.0, "parameters": 1.0})
    calm = tuner(folder / "calm" / "trials.jsonl", undisturbed, storm.trials).run()
    return {
        "rows": len(rows),
        "finished": sum(row["state"] == "COMPLETED" for row in rows),
        "distinct": len({row["trial"] for row in rows}),
        "same_architectures": {row["key"] for row in rows} == {row["key"] for row in calm},
        "begun": len(list((folder / "begun").iterdir())),
    }


def run(storm: Storm, folder: Path) -> dict[str, Any]:
    """Runs a search in a storm.

    Args:
        storm: what is done.
        folder: an empty folder.

    Returns:
        What was done and what came out; "ok" says whether nothing was lost.
    """
    for name in ("running", "begun"):
        (folder / name).mkdir()
    import keras_tuner  # noqa: F401 (once, here, for all processes that are made of this one)

    start = time.monotonic()
    if storm.executor == "ray":
        with _Nodes(storm) as nodes:
            done = weather(folder, storm, nodes.address)
    else:
        done = weather(folder, storm, None)
    found = judge(folder, storm)
    counts = {found["rows"], found["finished"], found["distinct"]}
    ok = counts == {storm.trials} and found["same_architectures"] and done["drivers_killed"] == storm.driver_kills
    return asdict(storm) | done | found | {"minutes": round((time.monotonic() - start) / 60, 1), "ok": ok}


class _Nodes:
    """A Ray cluster of several nodes on this machine, which only this machine reaches."""

    def __init__(self, storm: Storm):
        os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
        self.cores = [len(range(node, storm.workers, storm.nodes)) for node in range(storm.nodes)]

    def __enter__(self) -> "_Nodes":
        # In a process of its own: what is forked here must not know Ray yet.
        self.process = multiprocessing.get_context("spawn").Process(target=_serve, args=(self.cores, self._pipe()))
        self.process.start()
        self.address = self.ours.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.send("stop")
        self.process.join()

    def _pipe(self) -> Any:
        self.ours, theirs = multiprocessing.Pipe()
        return theirs


def _serve(cores: list[int], theirs: Any) -> None:
    from ray.cluster_utils import Cluster

    head, *others = cores
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": head, "include_dashboard": False})
    for count in others:
        cluster.add_node(num_cpus=count)
    theirs.send(cluster.address)
    theirs.recv()
    cluster.shutdown()


def main() -> None:
    """Runs the storm that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    usual = Storm()
    parser.add_argument("--executor", choices=("ray", "processes"), default=usual.executor)
    for name in ("trials", "workers", "nodes", "driver_kills"):
        parser.add_argument(f"--{name}", type=int, default=getattr(usual, name))
    for name in ("seconds", "every"):
        parser.add_argument(f"--{name}", type=float, default=getattr(usual, name))
    with TemporaryDirectory() as folder:
        found = run(Storm(**vars(parser.parse_args())), Path(folder))
    print(json.dumps(found))
    sys.exit(0 if found["ok"] else 1)


if __name__ == "__main__":
    main()
