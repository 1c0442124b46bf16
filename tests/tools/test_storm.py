"""A search in a storm, shortened: workers and the search itself are killed, and nothing is lost."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def storm():
    path = Path(__file__).parents[2] / "tools" / "storm.py"
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("storm", path)
    module = sys.modules["storm"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(path.parent))


def test_every_trial_once_whatever_is_killed(storm, tmp_path):
    found = storm.run(storm.Storm("processes", 12, 3, seconds=0.3, every=2.0, driver_kills=2), tmp_path)
    assert found["ok"], found
    assert found["workers_killed"] > 0
    assert found["begun"] > 12


@pytest.mark.slow
def test_the_same_on_a_ray_cluster_of_several_nodes(storm, tmp_path):
    pytest.importorskip("ray")
    found = storm.run(storm.Storm("ray", 20, 3, nodes=2, seconds=0.5, every=3.0, driver_kills=2), tmp_path)
    assert found["ok"], found
    assert found["workers_killed"] > 0


def test_a_lost_or_doubled_trial_is_seen(storm, tmp_path):
    quiet = storm.Storm("processes", 3, 3, seconds=0.0, every=60.0, driver_kills=0)
    found = storm.run(quiet, tmp_path)
    assert found["ok"] and found["begun"] == 3
    journal = tmp_path / "trials.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    for damaged in (lines[:-1], [*lines, lines[0]]):
        journal.write_text("".join(damaged))
        (tmp_path / "calm" / "trials.jsonl").unlink()
        (tmp_path / "calm").rmdir()
        judged = storm.judge(tmp_path, quiet)
        assert {judged["rows"], judged["finished"], judged["distinct"]} != {3}
