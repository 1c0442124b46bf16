"""The search of a supernet: resumed equals uninterrupted to the bit; what checkpoints and losses say when broken."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.config import SupernetSettings
from tfmedcai.models.darts_supernet import darts_supernet
from tfmedcai.search.relaxed_search import NO_KEEPER, RelaxedSearch
from tfmedcai.tasks.fitting import Arrays, Keeper, array_source
from tfmedcai.tasks.relaxed import Relaxed, halves

SETTINGS = SupernetSettings(epochs=4, start_epoch=1, batch_size=4, learning_rate=0.05, architecture_rate=0.05)
SHAPE = (6, 6, 1)


def problem(build=None, weights=10, architecture=7):
    """Streams of different lengths, so that their epochs do not end together."""
    rng = np.random.default_rng(0)
    parts = [
        Arrays(rng.normal(size=(count, *SHAPE)).astype(np.float16), rng.normal(size=(count, 2)).astype(np.float32))
        for count in (weights, architecture)
    ]
    build = build or functools.partial(darts_supernet, input_shape=SHAPE, outputs=2, filters=2, cells=1)
    return Relaxed(build, *(array_source(part, 4, 3) for part in parts))


def relaxed_search(make, settings, seed, keeper=NO_KEEPER):
    return RelaxedSearch(settings).run(make, seed, keeper)


class Stop(Exception):
    pass


def stopping_after(checkpoint, epochs):
    def tell(row):
        if row["epoch"] == epochs:
            raise Stop

    return Keeper(checkpoint, tell)


def final_variables(checkpoint):
    with np.load(checkpoint) as file:
        return {name: file[name] for name in file if name != "history"}  # which tells the seconds too


def small():
    """A network that takes no time to build."""
    x, weights = keras.Input(SHAPE), keras.Input(batch_shape=(1, 2), name="choice", dtype="float32")
    flat = keras.layers.Flatten()(x)
    terms = [keras.layers.BatchNormalization()(keras.layers.Dense(2)(flat)) * weights[0, number] for number in (0, 1)]
    return keras.Model([x, weights], keras.layers.Dropout(0.2)(keras.layers.Add()(terms)))


@pytest.mark.parametrize(
    ("build", "options"),
    [(small, {}), (small, {"second_order": True, "schedule": "poly"}), pytest.param(None, {}, marks=pytest.mark.slow)],
    ids=["first order", "second order", "darts"],
)
def test_a_stopped_and_resumed_search_equals_an_uninterrupted_one(tmp_path, build, options):
    settings, make = SETTINGS.model_copy(update=options), functools.partial(problem, build)
    whole, resumed = tmp_path / "whole.npz", tmp_path / "resumed.npz"
    mixtures, rows = relaxed_search(make, settings, 5, Keeper(whole))
    with pytest.raises(Stop):
        relaxed_search(make, settings, 5, stopping_after(resumed, 2))
    told = []
    again, rows_again = relaxed_search(make, settings, 5, Keeper(resumed, told.append))
    assert [row["epoch"] for row in told] == [3, 4]
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in rows_again]
    for name, mixture in mixtures.items():
        np.testing.assert_array_equal(mixture, again[name])
    expected, found = final_variables(whole), final_variables(resumed)
    assert list(expected) == list(found)
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name])
    # A search that has ended is read, not built.
    ended, _ = relaxed_search(pytest.fail, settings, 5, Keeper(whole))
    assert list(ended) == list(mixtures)


def test_rows_tell_losses_and_entropy_and_the_architecture_waits():
    _, rows = relaxed_search(lambda: problem(small), SETTINGS, 0)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["architecture_loss"] == 0
    assert all(row["architecture_loss"] > 0 for row in rows[1:])
    assert all(0 < row["entropy"] <= np.log(2) + 1e-6 for row in rows)


def test_seeds_differ_and_repeat():
    def found(seed):
        return relaxed_search(lambda: problem(small), SETTINGS, seed)[0]["choice"]

    np.testing.assert_array_equal(found(0), found(0))
    assert not np.array_equal(found(0), found(1))


def test_a_damaged_or_foreign_checkpoint_is_one_line(tmp_path):
    checkpoint = tmp_path / "state.npz"
    with pytest.raises(Stop):
        relaxed_search(lambda: problem(small), SETTINGS, 0, stopping_after(checkpoint, 2))
    with pytest.raises(ValueError, match="is of another search") as caught:
        relaxed_search(problem, SETTINGS, 0, Keeper(checkpoint))
    assert str(checkpoint) in str(caught.value)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-300])
    with pytest.raises(ValueError, match="is damaged") as caught:
        relaxed_search(lambda: problem(small), SETTINGS, 0, Keeper(checkpoint))
    assert str(checkpoint) in str(caught.value)


def test_a_loss_that_is_not_a_number_stops(tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30, "clip": 1e30})
    with pytest.raises(ValueError, match=r"in epoch \d: lower `supernet.learning_rate`"):
        relaxed_search(lambda: problem(small), settings, 0)


def test_a_stream_begun_later_goes_on_as_it_would_have():
    numbered = Arrays(np.arange(7, dtype=np.float16)[:, None], np.zeros((7, 1), np.float32))
    batches = array_source(numbered, 3, seed=1)
    assert batches.steps == 3
    whole = [inputs.ravel().tolist() for inputs, _ in batches.from_step(0).take(11).as_numpy_iterator()]
    late = [inputs.ravel().tolist() for inputs, _ in batches.from_step(7).take(4).as_numpy_iterator()]
    assert late == whole[7:]
    assert sorted(itertools.chain(*whole[:3])) == list(range(7))


def test_halves_share_no_image():
    images = np.repeat(np.arange(20, dtype=np.float16), 3)[:, None]
    data = Arrays(images, images.astype(np.float32))
    one, other = halves(data, copies=3, share=0.7, seed=0)
    assert len(one) == 42
    assert len(other) == 18
    assert not set(one.inputs.ravel()) & set(other.inputs.ravel())
    assert not np.array_equal(one.inputs, halves(data, 3, 0.7, seed=1)[0].inputs)
    np.testing.assert_array_equal(one.inputs.ravel(), one.targets.ravel())


def test_searches_that_share_a_graph_end_as_each_alone(tmp_path):
    builds = []

    def make(weights=10):
        return problem(lambda: builds.append(small()) or builds[-1], weights)

    shared = RelaxedSearch(SETTINGS)
    for seed in (0, 1, 0):
        paths = tmp_path / f"{seed}_shared.npz", tmp_path / f"{seed}_alone.npz"
        together, rows = shared.run(make, seed, Keeper(paths[0]))
        alone, rows_alone = relaxed_search(make, SETTINGS, seed, Keeper(paths[1]))
        assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in rows_alone]
        np.testing.assert_array_equal(together["choice"], alone["choice"])
        for name, value in final_variables(paths[0]).items():
            np.testing.assert_array_equal(value, final_variables(paths[1])[name])
        for path in paths:
            path.unlink()
    assert len(shared._supernets) == 1
    shared.run(lambda: make(weights=13), 0)  # more batches, hence another course of the learning rate
    assert len(shared._supernets) == 2


def test_a_second_search_traces_nothing():
    traced = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            traced.append(not tf.executing_eagerly())
            return x

    def make():
        def build():
            network = small()
            return keras.Model(network.inputs, Counted()(network.output))

        return problem(build)

    shared = RelaxedSearch(SETTINGS)
    shared.run(make, 0)
    once = sum(traced)
    shared.run(make, 1)
    assert once > 1
    assert sum(traced) == once + 1  # Keras traces a layer when a network is put together
