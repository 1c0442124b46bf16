"""What a search survives: killed and hanging trials, a full disk, Ctrl-C, a clock that jumps, a torn line."""

import multiprocessing
import os
import resource
import signal
import threading
import time
from datetime import UTC, datetime

import keras_tuner
import pytest

from tests.search.calls import Deadly, Hanging, Slow, score_snap
from tfmedcai.journal import Journal
from tfmedcai.search import tuner as tuner_module
from tfmedcai.search.executors.executor import Care, InProcess
from tfmedcai.search.executors.processes import LocalProcesses
from tfmedcai.search.oracles.baseline import RandomOracle
from tfmedcai.search.tuner import Limits, Tuner
from tfmedcai.search_spaces.snap import SnapSpace

FORK = multiprocessing.get_context("fork")


def search(path, executor, trials=6, **limits):
    """Runs a random search; returns its rows without what differs from one time to the next."""
    space, journal = SnapSpace(max_length=6), Journal(path)
    journal.repair()
    oracle = RandomOracle(space, keras_tuner.Objective("value", "max"), 0)
    rows = Tuner(oracle, space, executor, journal, Limits(trials, 1, **limits), name="random", seed=0).run()
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


def in_background(path, function, workers):
    """Begins a search in a process of its own, which can be killed or interrupted."""

    def run():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with LocalProcesses(function, workers) as executor:
                search(path, executor)
        except KeyboardInterrupt:
            os._exit(130)

    process = FORK.Process(target=run)
    process.start()
    return process


def begun(folder, count):
    """Waits until so many trials have begun."""
    deadline = time.monotonic() + 40
    while len(list(folder.glob("begun-*"))) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_trial_that_kills_its_process_is_a_failed_row_with_a_reason(tmp_path):
    with LocalProcesses(Deadly(), 3, care=Care(retries=1)) as executor:
        rows = search(tmp_path / "j", executor, max_failures=50)
    failed = [row for row in rows if row["state"] == "FAILED"]
    assert failed
    assert {row["reason"] for row in failed} == {
        "its process was killed (SIGKILL: out of memory?), the last of 2 times"
    }
    assert all("maxpool3x3" in row["architecture"] for row in failed)
    assert sum(row["state"] == "COMPLETED" for row in rows) == 6
    again = search(tmp_path / "j", InProcess(None), max_failures=50)
    assert again == rows, "what has failed is not tried again"


def test_a_hanging_trial_is_a_failed_row_and_the_search_goes_on(tmp_path):
    with LocalProcesses(Hanging(), 3, care=Care(time_limit_s=8)) as executor:
        rows = search(tmp_path / "j", executor, trials=4, max_failures=50)
    failed = [row for row in rows if row["state"] == "FAILED"]
    assert failed
    assert {row["reason"] for row in failed} == {"stopped after its time limit of 8 s"}
    assert all("maxpool3x3" in row["architecture"] for row in failed)
    assert sum(row["state"] == "COMPLETED" for row in rows) == 4


def test_trials_of_a_machine_that_went_away_run_again_each_once(tmp_path):
    """As far as the search can see: all processes of a machine are gone at once."""
    with LocalProcesses(Slow(str(tmp_path), 1.0), 3) as executor:
        killer = threading.Thread(target=lose_all, args=(tmp_path, executor))
        killer.start()
        rows = search(tmp_path / "j", executor)
        killer.join()
    assert len(list(tmp_path.glob("begun-*"))) == 6 + 3
    assert {row["state"] for row in rows} == {"COMPLETED"}
    assert sorted(row["trial"] for row in rows) == list(range(6))
    assert {row["key"] for row in rows} == {row["key"] for row in search(tmp_path / "calm", InProcess(score_snap))}


def lose_all(folder, executor):
    begun(folder, 3)
    for process, *_ in [*executor._processes.values()]:
        os.kill(process.pid, signal.SIGKILL)


def test_ctrl_c_once_lets_the_running_trials_end_and_nothing_is_lost(tmp_path):
    process = in_background(tmp_path / "j", Slow(str(tmp_path), 2.0), 2)
    begun(tmp_path, 2)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    assert len(Journal(tmp_path / "j").read()) == len(list(tmp_path.glob("begun-*"))) == 2
    rows = search(tmp_path / "j", InProcess(score_snap))
    assert {row["key"] for row in rows} == {row["key"] for row in search(tmp_path / "calm", InProcess(score_snap))}
    assert len(rows) == 6


def test_ctrl_c_twice_stops_at_once_and_leaves_a_search_that_can_be_resumed(tmp_path):
    process = in_background(tmp_path / "j", Slow(str(tmp_path), 600.0), 2)
    begun(tmp_path, 2)
    start = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    assert time.monotonic() - start < 20
    assert Journal(tmp_path / "j").read() == []
    assert len(search(tmp_path / "j", InProcess(score_snap))) == 6


def test_a_full_disk_stops_the_search_and_it_goes_on_when_there_is_room(tmp_path):
    whole = search(tmp_path / "whole", InProcess(score_snap))
    room = len((tmp_path / "whole").read_bytes()) // 2

    def run():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            search(tmp_path / "j", InProcess(score_snap))
        except ValueError as error:
            os._exit(7 if "cannot write the journal" in str(error) else 1)

    process = FORK.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == 7
    written = Journal(tmp_path / "j").read()
    assert 0 < len(written) < 6
    assert (tmp_path / "j").stat().st_size == room, "the last line is torn"
    assert search(tmp_path / "j", InProcess(score_snap)) == whole


def test_a_log_that_cannot_be_written_costs_no_trial(tmp_path):
    (tmp_path / "logs").write_text("no folder")
    care = Care(retries=0, logs=lambda name: tmp_path / "logs" / f"{name}.txt")
    with LocalProcesses(score_snap, 1, care=care) as executor:
        assert {row["state"] for row in search(tmp_path / "j", executor, trials=2)} == {"COMPLETED"}


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    class Jumping(datetime):
        days = iter([28, 1, 15, 2, 27, 3, 9])

        @classmethod
        def now(cls, tz=None):
            return datetime(2031, 1, next(cls.days), tzinfo=UTC)

    monkeypatch.setattr(tuner_module, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    jumped = search(tmp_path / "j", InProcess(score_snap), trials=3)
    with LocalProcesses(score_snap, 1, care=Care(time_limit_s=60)) as executor:
        rows = search(tmp_path / "j", executor)
    monkeypatch.undo()
    assert rows[:3] == jumped
    assert rows == search(tmp_path / "calm", InProcess(score_snap))


@pytest.mark.parametrize("torn", [b'{"oracle": "ran', b"\x00\x00", b'{"trial": 6}'])
def test_a_torn_last_line_is_cut_off_and_its_trial_runs_again(tmp_path, torn):
    whole = search(tmp_path / "j", InProcess(score_snap))
    *lines, _ = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join(lines) + torn)
    assert search(tmp_path / "j", InProcess(score_snap)) == whole


def test_the_journal_is_readable_while_it_is_written(tmp_path):
    process = in_background(tmp_path / "j", Slow(str(tmp_path), 0.05), 3)
    counts = []
    while process.is_alive():
        counts.append(len(Journal(tmp_path / "j").read()))
        time.sleep(0.005)
    process.join()
    assert process.exitcode == 0
    assert counts == sorted(counts)
    assert len(Journal(tmp_path / "j").read()) == 6
