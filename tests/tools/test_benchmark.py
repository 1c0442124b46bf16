"""How the measures of peers are put beside ours."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "tools")
        yield importlib.import_module("benchmarks.measures")


def test_peers_stand_beside_the_case_that_does_the_same(benchmark):
    calls = []

    def measure():
        calls.append("peers")
        return {"other:a": 10.0, "third:a": 20.0}

    ours = {"a": lambda: calls.append("a"), "b": lambda: None}
    lines = list(benchmark.beside(ours, {"other:a": "a", "third:a": "a", "fourth:b": "b"}, measure, runs=2))
    assert [(row["case"], row["peer"], row["peer_s"]) for row in lines] == [
        ("a", "other:a", 10.0), ("a", "third:a", 20.0), ("b", None, None),
    ]  # fmt: skip
    assert lines[1]["ratio"] == pytest.approx(2 * lines[0]["ratio"], rel=0.01)
    # In turn: three runs of ours, one of them to warm up, then the peers, and so on.
    assert calls == ["a", "a", "a", "peers"] * benchmark.ROUNDS


def test_peers_are_asked_in_their_own_environment(benchmark, tmp_path):
    program = tmp_path / "peer.py"
    program.write_text(
        "import json, sys\nprint('loading')\n"
        "print(json.dumps({'case': 'x:' + sys.argv[1], 'median_s': len(sys.argv)}))\n"
    )
    peers = benchmark.Peers(Path(sys.executable), tmp_path)
    assert peers.measure("peer.py", ["metrics"], 3) == {"x:metrics": 6}
    assert benchmark.Peers(None, tmp_path).measure("peer.py", ["metrics"], 3) == {}
