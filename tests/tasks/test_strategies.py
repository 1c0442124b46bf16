"""Data-parallel training: replicas, also of several machines, end in the weights of one device."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from tfmedcai.tasks.strategies import CLUSTER, machine, make_strategy, replicas

PROGRAM = """
import sys
import keras, numpy as np, tensorflow as tf
from pathlib import Path
from tfmedcai.config import Fit, SupernetSettings
from tfmedcai.search.relaxed_search import RelaxedSearch
from tfmedcai.tasks import fitting
from tfmedcai.tasks.relaxed import Relaxed
from tfmedcai.tasks.strategies import machine, make_strategy

devices, name, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
strategy = make_strategy(name)
rng = np.random.default_rng(0)
# The last batch of an epoch, of one sample, cannot be shared.
inputs = rng.normal(size=(17, 6)).astype(np.float16)
data = fitting.Arrays(inputs, inputs[:, :1].astype(np.float32) ** 2)

def build():
    dense, normal = keras.layers.Dense, keras.layers.BatchNormalization
    # A bias before a normalisation would have a gradient of rounding alone, which Adam makes large.
    return keras.Sequential([keras.Input((6,)), dense(4, use_bias=False), normal(), keras.layers.ReLU(), dense(1)])

def train(optimizer, keeper=fitting.Keeper()):
    fit = Fit(optimizer=optimizer, batch_size=4, learning_rate=0.05, clip=1.0, schedule="constant")
    with strategy.scope():
        return fitting.train(build, data, data, fit, 3, 1, keeper)

def stop(row):
    if row["epoch"] == 3:
        raise KeyboardInterrupt

found = {"replicas": strategy.num_replicas_in_sync, "machine": machine(strategy)}
for optimizer in ("adam", "sgd"):
    model, rows = train(optimizer)
    found[optimizer] = np.concatenate([value.ravel() for value in model.get_weights()])
    found[optimizer + "_losses"] = [row["validation_loss"] for row in rows]
checkpoint = folder / "state.keras"
try:
    train("adam", fitting.Keeper(checkpoint, stop))
except KeyboardInterrupt:
    found["kept"] = checkpoint.exists()
model, _ = train("adam", fitting.Keeper(checkpoint))
found["resumed"] = np.concatenate([value.ravel() for value in model.get_weights()])

def relaxed():
    x, mix = keras.Input((6,)), keras.Input(batch_shape=(1, 2), name="choice", dtype="float32")
    normal = keras.layers.BatchNormalization()(keras.layers.Dense(4, use_bias=False)(x))
    one, other = keras.layers.Dense(1)(keras.ops.relu(normal)), keras.layers.Dense(1)(keras.ops.tanh(normal))
    return keras.Model([x, mix], one * mix[0, 0] + other * mix[0, 1])

parts = [fitting.Arrays(data.inputs[part], data.targets[part]) for part in (slice(0, 10), slice(10, 16))]
problem = Relaxed(relaxed, *(fitting.array_source(part, 4, 1) for part in parts))
settings = SupernetSettings(epochs=2, learning_rate=0.05, architecture_rate=0.1, second_order=True)
found["mixture"] = RelaxedSearch(settings, strategy).run(lambda: problem, 0)[0]["choice"]
assert not any(getattr(layer, "synchronized", False) for layer in model.layers)
np.savez(folder / f"{name}{sys.argv[4]}.npz", **found)
"""


def started(folder, devices, name, process=0, cluster=None):
    paths = {"PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)]), "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment = {**os.environ, **paths} | ({CLUSTER: json.dumps(cluster)} if cluster else {})
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(folder / "program.py"), str(devices), name, str(folder), str(process)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def ended(folder, process, name, number=0):
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    with np.load(folder / f"{name}{number}.npz") as file:
        return dict(file)


def agree(one, many):
    for name in ("adam", "sgd", "resumed", "adam_losses", "sgd_losses", "mixture"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_two_replicas_end_in_the_weights_of_one_device_also_when_resumed(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    single, many = started(one, 1, "none"), started(two, 2, "mirrored")
    single, many = ended(one, single, "none"), ended(two, many, "mirrored")
    assert (single["replicas"], many["replicas"]) == (1, 2)
    assert single["kept"] and many["kept"]
    agree(single, many)


@pytest.mark.slow
def test_two_machines_end_in_the_weights_of_one_device(tmp_path):
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        hosts = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, other)]
    clusters = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    alone = tmp_path / "alone"
    alone.mkdir()
    single = ended(alone, started(alone, 1, "none"), "none")
    processes = [started(tmp_path, 1, "multiworker", index, cluster) for index, cluster in enumerate(clusters)]
    found = [ended(tmp_path, process, "multiworker", index) for index, process in enumerate(processes)]
    assert [int(of["machine"]) for of in found] == [0, 1]
    for of in found:
        assert of["replicas"] == 2
        agree(single, of)


def test_without_a_strategy_there_is_one_device():
    strategy = make_strategy("none")
    assert machine(strategy) == 0
    assert replicas() == 1


@pytest.mark.parametrize("text", [None, "no JSON", '{"cluster": {}}'])
def test_several_machines_must_be_named(text, monkeypatch):
    monkeypatch.delenv(CLUSTER, raising=False)
    if text is not None:
        monkeypatch.setenv(CLUSTER, text)
    with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG"):
        make_strategy("multiworker")
