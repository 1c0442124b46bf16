"""Every registered space, oracle and task does what its kind must do: a new member is tested by its existing."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_search_space
from tests.conformance_oracle import OBJECTIVE, check_oracle
from tfmedcai import registry
from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.search.executors.executor import InProcess
from tfmedcai.search.tuner import Limits, Tuner
from tfmedcai.tasks.task import make_space, make_task

SMALL = Settings().smoke()
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("name", registry.names("spaces"))
def test_space(name):
    check_search_space(make_space(SMALL.updated({"space": name})))


# KerasTuner's Bayesian optimisation takes seconds for a proposal.
SLOW = {"bayesian"}
# Proposes once, and what a task's data taught it: see test_supernet_oracle.
ONCE = {"supernet"}
ORACLES = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in registry.names("oracles")
    if name not in ONCE
]


@pytest.mark.parametrize("name", ORACLES)
def test_oracle(name, tmp_path):
    factory, settings = registry.load("oracles", name), getattr(SMALL, name, None)
    check_oracle(lambda space, seed, objective: factory(space, settings, seed, objective, tmp_path / "kept"), tmp_path)


@pytest.mark.parametrize("space_name", registry.names("spaces"))
@pytest.mark.parametrize(
    "name",
    # The auto-encoder takes half a minute to be traced.
    [
        pytest.param(name, marks=pytest.mark.slow if name == "latent" else ())
        for name in registry.names("oracles")
        if name not in ONCE
    ],
)
def test_any_oracle_searches_any_space(name, space_name, tmp_path):
    space = make_space(SMALL.updated({"space": space_name}))
    oracle = registry.load("oracles", name)(space, getattr(SMALL, name, None), 0, OBJECTIVE, tmp_path / "kept")

    def score(architecture, _):
        return {OBJECTIVE.name: 1 / len(str(architecture)), "parameters": 1.0}

    rows = Tuner(
        oracle, space, InProcess(score), Journal(tmp_path / "trials.jsonl"), Limits(3, 1), name=name, seed=0
    ).run()
    assert len({row["key"] for row in rows}) == 3
    assert all(space.parse(row["architecture"]).key == row["key"] for row in rows)


@pytest.mark.parametrize("name", registry.names("supernets"))
def test_supernet(name):
    space = make_space(SMALL.updated({"space": name}))
    network = registry.load("supernets", name)(outputs=2, **getattr(SMALL, space.network).size(search=True))
    equal = {mixture.name: np.full(mixture.shape, 1 / mixture.shape[1]) for mixture in network.inputs[1:]}
    found = space.discretise(equal)
    assert space.parse(str(found)).key == found.key
    assert network.output_shape[-1] == 2


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_task(name):
    task = make_task(SMALL.updated({"task": name}))
    assert task.name == name
    assert json.loads(json.dumps(task.describe())) == task.describe()
    assert task.objective.direction in ("max", "min")
    architecture = make_space(SMALL).sample(np.random.default_rng(0))  # any space serves any task
    signatures = task.signatures(task.network(architecture))
    assert "serving_default" in signatures
    for signature in signatures.values():
        assert set(signature.example) == set(signature.inputs)
        for key, spec in signature.inputs.items():
            assert spec.is_compatible_with(tf.constant(signature.example[key]))
        outputs = signature.function(**{key: tf.constant(array) for key, array in signature.example.items()})
        assert set(signature.meaning) == set(signature.inputs) | set(outputs)
