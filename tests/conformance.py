"""What every member of a kind must do: one check per kind, run for all members that are registered."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import keras_tuner
import numpy as np
from matplotlib.figure import Figure


def check_search_space(space, count: int = 40) -> None:
    """Checks the contract of `SearchSpace` on random architectures."""
    rng = np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(count)]
    again = np.random.default_rng(0)
    assert [space.sample(again) for _ in range(count)] == architectures, "the same seed must give the same samples"
    assert len({architecture.key for architecture in architectures}) > 1
    for architecture in architectures:
        assert architecture.space == space.name
        assert space.parse(str(architecture)).key == architecture.key
        assert hash(space.parse(str(architecture))) == hash(architecture)
        _check_tokens(space, architecture)
        _check_values(space, architecture)
    for architecture in architectures[:5]:
        _check_neighbours(space, architecture)
    for architecture in (architectures[0], space.start(rng)):
        _check_variables(space, architecture)
    _check_decode_is_total(space, rng)
    _check_declared_names(space)
    _check_drawing(space, architectures[0])
    _check_key_of_another_process(space, architectures[0])


def _check_tokens(space, architecture) -> None:
    tokens = space.encode(architecture)
    assert tokens.shape == (space.sequence_length,)
    assert tokens.dtype == np.int32
    assert tokens.min() >= 0
    assert tokens.max() < space.vocabulary_size
    assert space.decode(tokens).key == architecture.key


def _check_values(space, architecture) -> None:
    values = space.values(architecture)
    assert json.loads(json.dumps(values)) == values, "values must be plain JSON types"
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    assert space.declare(hp).key == architecture.key
    assert {parameter.name for parameter in hp.space} == set(values), "all declared names need a value"
    assert hp.values == values, "declaring must not change values"


def _check_neighbours(space, architecture) -> None:
    near = space.neighbours(architecture)
    keys = [neighbour.key for neighbour in near]
    assert near
    assert len(set(keys)) == len(keys), "neighbours must have distinct keys"
    assert architecture.key not in keys, "an architecture is not its own neighbour"
    assert [space.parse(str(neighbour)).key for neighbour in near] == keys
    assert space.neighbours(architecture) == near, "the order of the neighbours must be fixed"


def _check_variables(space, architecture) -> None:
    """What local searches walk: the options of all variables of all stages are the neighbours."""
    names = [space.variables(architecture, stage) for stage in range(space.stages)]
    assert names == [space.variables(architecture, stage) for stage in range(space.stages)]
    flat = [name for stage in names for name in stage]
    assert len(set(flat)) == len(flat), "a variable belongs to one stage"
    reached = set()
    for name in flat:
        keys = [option.key for option in space.options(architecture, name)]
        assert len(set(keys)) == len(keys), "options must have distinct keys"
        assert architecture.key not in keys, "the present value is not an option"
        reached.update(keys)
    assert reached == {neighbour.key for neighbour in space.neighbours(architecture)}
    assert space.options(architecture, "no such variable") == []


def _check_decode_is_total(space, rng) -> None:
    for _ in range(200):
        tokens = rng.integers(space.vocabulary_size, size=space.sequence_length)
        architecture = space.decode(tokens)
        assert space.parse(str(architecture)).key == architecture.key
        assert space.decode(space.encode(architecture)).key == architecture.key


def _check_declared_names(space) -> None:
    first, second = keras_tuner.HyperParameters(), keras_tuner.HyperParameters()
    space.declare(first)
    space.declare(second)
    assert [parameter.name for parameter in first.space] == [parameter.name for parameter in second.space]
    assert all(not parameter.conditions for parameter in first.space), "conditional names hide from some oracles"
    for seed in range(20):
        for parameter in first.space:
            first.values[parameter.name] = parameter.random_sample(seed)
        architecture = space.declare(first)
        assert space.parse(str(architecture)).key == architecture.key, "all values must give an architecture"


def _check_drawing(space, architecture) -> None:
    axes = Figure().subplots()
    space.draw(architecture, axes)
    assert axes.has_data() or axes.patches or axes.texts, "the drawing is empty"
    axes.figure.draw_without_rendering()


def _check_key_of_another_process(space, architecture) -> None:
    """Keys are written to disk, so no hash seed may change them; and a space must load without TensorFlow."""
    program = (
        "import pickle, sys; space = pickle.load(sys.stdin.buffer); "
        f"print(space.parse({str(architecture)!r}).key); sys.exit('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=pickle.dumps(space), env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == architecture.key
