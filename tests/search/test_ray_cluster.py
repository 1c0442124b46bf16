"""The executor of Ray, on a cluster of several nodes on this machine that no other reaches."""

import os
import time

import pytest

from tests.search import calls
from tfmedcai.search.executors.executor import Care, Needs

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster():
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def make(cluster):
    from tfmedcai.search.executors.ray_cluster import RayCluster

    made = []

    def make(function, **more):
        made.append(RayCluster(function, cluster.address, **more))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def all_of(executor):
    ended = []
    while executor.running:
        ended += executor.wait()
    return {call.name: call for call in ended}


def test_whatever_happens_to_a_call_is_an_answer_or_a_reason(make, tmp_path):
    care = Care(retries=1, logs=lambda name: tmp_path / f"{name}.txt")
    executor = make(calls.call, care=care)
    assert executor.workers == 2
    executor.submit("once", "die", str(tmp_path), "once", 1)
    executor.submit("exit", "fail", "exit")
    ended = all_of(executor)
    assert ended["once"].answer == {"value": 1.0}
    assert "the last of 2 times" in ended["exit"].reason
    executor.submit("zero", "fail", "zero")
    executor.submit("id", "process_id")
    ended = all_of(executor)
    assert ended["zero"].reason == "ZeroDivisionError: division by zero"
    assert ended["id"].answer["value"] != os.getpid()
    assert (tmp_path / "zero.txt").read_text() == "to the log\nand an error\n"


def test_a_hanging_call_is_stopped(make):
    executor = make(calls.call, care=Care(time_limit_s=20))
    executor.submit("hanging", "fail", "hang")
    (ended,) = executor.wait()
    assert ended.reason == "stopped after its time limit of 20 s"


def test_data_are_read_where_they_lie(make):
    data = calls.Data(1 << 20)
    executor = make(data.total)
    executor.submit("total")
    assert all_of(executor)["total"].answer == {"value": float(data.array.sum()), "owned": 0.0}


def test_calls_of_a_lost_node_run_elsewhere_and_room_follows_the_nodes(make, cluster, tmp_path):
    executor = make(calls.call, needs=Needs(cpus=1), care=Care(retries=3))
    lost = cluster.add_node(num_cpus=2)
    deadline = time.monotonic() + 120
    while executor.workers < 4 and time.monotonic() < deadline:
        time.sleep(0.2)
    for name in "abcd":
        executor.submit(name, "process_id", 20.0)
    time.sleep(10)
    cluster.remove_node(lost, allow_graceful=False)
    ended = all_of(executor)
    assert all(call.answer is not None for call in ended.values()), ended
    assert set(ended) == set("abcd")
    assert executor.workers == 2
