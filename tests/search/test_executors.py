"""Executors of processes: fresh ones, side by side, and whatever may happen to them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest

from tests.search import calls
from tfmedcai.search.executors import ray_cluster
from tfmedcai.search.executors.executor import Care, InProcess, Needs
from tfmedcai.search.executors.processes import LocalProcesses


def all_of(executor):
    ended = []
    while executor.running:
        ended += executor.wait()
    return {call.name: call for call in ended}


def test_calls_run_side_by_side_each_in_a_process_of_its_own_which_ends_with_it(tmp_path):
    with LocalProcesses(calls.call, 2) as executor:
        assert executor.free == 2
        executor.submit("a", "meet", str(tmp_path), "a", "b")
        executor.submit("b", "meet", str(tmp_path), "b", "a")
        assert (executor.free, executor.running) == (0, 2)
        assert {name: call.answer for name, call in all_of(executor).items()} == {key: {"value": 1.0} for key in "ab"}
        executor.submit("c", "process_id")
        executor.submit("d", "process_id")
        found = {int(call.answer["value"]) for call in all_of(executor).values()}
        assert len(found) == 2
        assert os.getpid() not in found
        for number in found:
            with pytest.raises(ProcessLookupError):
                os.kill(number, 0)


def test_whatever_a_call_does_is_a_reason_and_the_others_go_on(tmp_path):
    care = Care(retries=0, time_limit_s=20, logs=lambda name: tmp_path / "logs" / f"{name}.txt")
    kinds = ("memory", "array", "disk", "zero", "exit", "unpicklable")
    with LocalProcesses(calls.call, 3, care=care) as executor:
        ended = {}
        for kind in kinds:
            while not executor.free:
                ended |= {call.name: call for call in executor.wait()}
            executor.submit(kind, "fail", kind)
        ended |= all_of(executor)
        executor.submit("good", "double", 3)
        assert all_of(executor)["good"].answer == {"value": 6.0}
    assert "MemoryError: Unable to allocate" in ended.pop("array").reason
    assert {name: call.reason for name, call in ended.items()} == {
        "memory": "MemoryError: too large",
        "disk": "OSError: [Errno 28] No space left on device: '/full'",
        "zero": "ZeroDivisionError: division by zero",
        "exit": "its process ended with code 3 and no answer",
        "unpicklable": "Odd: odd",
    }
    assert "division by zero" in ended["zero"].details
    assert (tmp_path / "logs" / "zero.txt").read_text() == "to the log\nand an error\n"


def test_a_hanging_call_is_stopped_at_its_time_limit_and_the_others_are_not():
    with LocalProcesses(calls.call, 2, care=Care(time_limit_s=6)) as executor:
        start = time.monotonic()
        executor.submit("hanging", "fail", "hang")
        executor.submit("good", "process_id")
        assert [call.name for call in executor.wait()] == ["good"]
        (ended,) = executor.wait()
        assert ended.reason == "stopped after its time limit of 6 s"
        assert time.monotonic() - start < 20
        assert executor.running == 0


def test_a_killed_process_is_replaced_a_few_times_and_then_the_call_has_failed(tmp_path):
    with LocalProcesses(calls.call, 2, care=Care(retries=1)) as executor:
        executor.submit("once", "die", str(tmp_path), "once", 1)
        executor.submit("always", "die", str(tmp_path), "always", 9, signal.SIGTERM)
        ended = all_of(executor)
    assert ended["once"].answer == {"value": 1.0}
    assert ended["always"].reason == "its process was killed (SIGTERM), the last of 2 times"
    assert len(list(tmp_path.glob("always-*"))) == 2


def test_data_are_mapped_not_copied_and_a_change_stays_in_its_process():
    data = calls.Data(1 << 20)
    whole = float(data.array.sum())
    with LocalProcesses(data.total, 1) as executor:
        executor.submit("changed", 1e9)
        assert all_of(executor)["changed"].answer["value"] != whole
        executor.submit("same")
        assert all_of(executor)["same"].answer == {"value": whole, "owned": 0.0}


def test_waiting_ends_with_the_time_and_closing_stops_what_runs():
    with LocalProcesses(calls.call, 1) as executor:
        executor.submit("hanging", "fail", "hang")
        assert executor.wait(timeout_s=0.05) == []
        process, *_ = executor._processes["hanging"]
        number = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    assert executor.running == 0


def test_processes_end_with_a_search_that_was_killed(tmp_path):
    program = textwrap.dedent(
        """
        import sys, time
        from tests.search import calls
        from tfmedcai.search.executors import ray_cluster
        from tfmedcai.search.executors.processes import LocalProcesses
        if __name__ == "__main__":
            executor = LocalProcesses(calls.call, 1)
            executor.submit("hanging", "fail", "hang")
            print(executor._processes["hanging"][0].pid, flush=True)
            time.sleep(60)
        """
    )
    file = tmp_path / "program.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        child = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and os.path.exists(f"/proc/{child}/stat"):
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{child}/stat")


def test_each_call_sees_its_gpus_and_its_share_of_the_cores():
    halves = LocalProcesses(calls.call, 4, Needs(cpus=2, gpus=0.5))
    assert [halves._variables(place)["CUDA_VISIBLE_DEVICES"] for place in range(4)] == ["0", "0", "1", "1"]
    pairs = LocalProcesses(calls.call, 2, Needs(gpus=2))
    assert [pairs._variables(place)["CUDA_VISIBLE_DEVICES"] for place in range(2)] == ["0,1", "2,3"]
    assert halves._variables(0)["OMP_NUM_THREADS"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in LocalProcesses(calls.call, 2)._variables(0)


def test_in_this_process_one_call_after_the_other():
    executor = InProcess(calls.call)
    executor.submit("a", "process_id")
    assert (executor.free, executor.running) == (0, 1)
    assert all_of(executor)["a"].answer == {"value": float(os.getpid())}
    executor.submit("b", "fail", "memory")
    assert all_of(executor)["b"].reason == "MemoryError: too large"


def test_a_ray_of_this_machine_looks_for_no_other_which_may_have_been_killed(monkeypatch):
    asked = []
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda address, **_: asked.append(address))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for address in (None, "auto"):
        assert ray_cluster._joined(address) is ray
    assert asked == ["local", "auto"]
