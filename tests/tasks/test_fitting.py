"""Fitting: one seed one result, also across a stop; damaged checkpoints and lost losses are said."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfmedcai.config import Fit
from tfmedcai.models.unet3d import unet3d
from tfmedcai.tasks.fitting import (
    Arrays,
    Keeper,
    compile_for,
    mean_squared_error,
    train,
    training_batches,
    without_training,
)

FIT = Fit(batch_size=4, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(18, 3)).astype(np.float16)
    return Arrays(inputs, (inputs.astype(np.float32) @ [[1.0], [2.0], [-1.0]]).astype(np.float32))


def build():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )


class Stop(Exception):
    pass


def stopping_after(checkpoint, epochs):
    def tell(row):
        if row["epoch"] > epochs:
            raise Stop

    return Keeper(checkpoint, tell)


def weights(model):
    return np.concatenate([value.ravel() for value in model.get_weights()])


def test_every_sample_once_an_epoch_in_an_order_of_its_own(data):
    numbered = Arrays(np.arange(18, dtype=np.float16)[:, None], np.zeros((18, 1), np.float32))
    batches = training_batches(numbered, 4, seed=3).take(10).as_numpy_iterator()
    order = np.concatenate([inputs[:, 0] for inputs, _ in batches])
    assert sorted(order[:18]) == sorted(order[18:]) == list(range(18))
    assert list(order[:18]) != list(order[18:])
    resumed = training_batches(numbered, 4, seed=3, first_epoch=1).take(5).as_numpy_iterator()
    assert list(np.concatenate([inputs[:, 0] for inputs, _ in resumed])) == list(order[18:])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "cyclical"])
def test_a_stopped_and_resumed_training_equals_an_uninterrupted_one(data, tmp_path, schedule):
    fit = FIT.model_copy(update={"schedule": schedule, "decay_epochs": 2})
    whole, rows = train(build, data, data, fit, 5, seed=1)
    checkpoint = tmp_path / "state.keras"
    with pytest.raises(Stop):
        train(build, data, data, fit, 5, 1, stopping_after(checkpoint, 3))
    told = []
    resumed, resumed_rows = train(build, data, data, fit, 5, 1, Keeper(checkpoint, told.append))
    assert [row["epoch"] for row in told] == [4, 5]
    np.testing.assert_array_equal(weights(whole), weights(resumed))
    assert rows == resumed_rows


def test_training_learns(data):
    model, rows = train(build, data, data, FIT, 40, seed=0)
    assert mean_squared_error(model, data) < 0.2 * rows[0]["validation_loss"]


def test_seeds_differ(data):
    assert not np.array_equal(
        weights(train(build, data, None, FIT, 1, 0)[0]), weights(train(build, data, None, FIT, 1, 1)[0])
    )


def test_a_damaged_checkpoint_is_one_line(data, tmp_path):
    checkpoint = tmp_path / "state.keras"
    with pytest.raises(Stop):
        train(build, data, None, FIT, 5, 1, stopping_after(checkpoint, 1))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"damaged\. Delete it to train from the start") as caught:
        train(build, data, None, FIT, 5, 1, Keeper(checkpoint))
    assert str(checkpoint) in str(caught.value)


def test_a_loss_that_is_not_a_number_stops(data):
    broken = Arrays(np.full_like(data.inputs, np.nan), data.targets)
    with pytest.raises(ValueError, match="training loss became nan in epoch 1"):
        train(build, broken, None, FIT, 2, 0)


def test_decay_of_sgd_shrinks_weights_as_a_part_of_the_gradient_would():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    fit = Fit(optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01, schedule="constant")
    compile_for(model, fit, steps=100, epochs=1)
    expected, speed = 1.0, 0.0
    for _ in range(100):
        model.optimizer.apply([np.zeros((1, 1), np.float32)], model.trainable_variables)
        speed = 0.9 * speed + 0.01 * expected
        expected -= 0.1 * speed
    assert model.get_weights()[0].item() == pytest.approx(expected, rel=0.1)
    assert expected < 0.45


@pytest.mark.slow
def test_a_network_with_layers_of_this_package_loads_in_a_process_that_never_built_one(tmp_path):
    path = tmp_path / "model.keras"
    unet3d(input_shape=(8, 8, 8, 1), filters=1, depth=1).save(path)
    program = f"import pathlib; from tfmedcai.tasks.fitting import load_model; load_model(pathlib.Path({str(path)!r}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)


def test_a_network_without_its_training_loads_in_a_process_without_tfmedcai(data, tmp_path):
    model, _ = train(build, data, None, FIT, epochs=1, seed=0)
    model.save(tmp_path / "training.keras")
    without_training(model).save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < (tmp_path / "training.keras").stat().st_size
    code = "import keras, sys; keras.saving.load_model(sys.argv[1]); assert 'tfmedcai' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.keras")], check=True, cwd=tmp_path)
