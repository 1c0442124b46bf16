"""A recomputed part gives the gradients and moves the averages of the plain part, and does not keep its inside."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.fused_normalisation import activated
from tfmedcai.layers.recomputed import Recomputed

SHAPE = (2, 4, 8, 8, 3)


def _network(part):
    """A part of two inputs between two layers."""
    keras.utils.set_random_seed(0)
    x, row = keras.Input(SHAPE[1:]), keras.Input(batch_shape=(1, 2), name="row")
    inner, inner_row = keras.Input((4, 8, 8, 5)), keras.Input(batch_shape=(1, 2))
    y = activated(keras.layers.Conv3D(5, 3, padding="same")(inner), "inner") * inner_row[0, 1]
    y = part([inner, inner_row], y, name="part")([keras.layers.Conv3D(5, 3, padding="same")(x), row])
    return keras.Model([x, row], keras.layers.Conv3D(2, 1)(y))


def _results(model, sample):
    with tf.GradientTape() as tape:
        tape.watch(sample)
        y = model(sample, training=True)
        loss = tf.reduce_sum(y**2)
    return [y, *tape.gradient(loss, [*sample, *model.trainable_variables])]


@pytest.mark.parametrize("graph", [False, True])
def test_gradients_and_averages_are_those_of_the_plain_part(graph):
    sample = [tf.random.stateless_normal(SHAPE, (0, 1)), tf.constant([[0.3, 0.7]])]
    found = []
    for part in (keras.Model, Recomputed):
        model = _network(part)
        step = (lambda x, row, model=model: _results(model, [x, row])) if not graph else None
        step = step or tf.function(lambda x, row, model=model: _results(model, [x, row]), autograph=False)
        found.append([*step(*sample), *model.non_trainable_variables])
    for plain, recomputed in zip(*found, strict=True):
        np.testing.assert_allclose(recomputed, plain, rtol=1e-5, atol=1e-5)
    average = found[1][-2]
    assert np.abs(average).max() > 0


def test_steps_without_side_effects():
    model = _network(Recomputed)
    before = [variable.numpy() for variable in model.variables]
    values = [
        [variable.value for variable in group] for group in (model.trainable_variables, model.non_trainable_variables)
    ]
    sample = [tf.ones(SHAPE), tf.constant([[0.3, 0.7]])]
    with tf.GradientTape() as tape:
        tape.watch(sample)
        y, state = model.stateless_call(*values, sample, training=True)
    assert tape.gradient(y, sample[1]) is not None
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert any(np.any(new != old) for new, old in zip(state, values[1], strict=True))


def test_inner_tensors_are_not_kept_for_the_gradient():
    """Counts the tensors inside that are alive after the forward pass, while a tape waits for the backward pass."""
    alive = {}
    for part in (keras.Model, Recomputed):
        seen = []

        class Watched(keras.layers.Layer):
            def call(self, inputs, seen=seen):
                output = tf.exp(inputs)
                seen.append(weakref.ref(output))
                return tf.exp(output)

        x, inner = keras.Input((3,)), keras.Input((3,))
        model = keras.Model(x, part(inner, Watched()(inner))(x))
        seen.clear()
        value = tf.Variable(tf.ones((1, 3)))
        with tf.GradientTape() as tape:
            y = model(value * 1.0, training=True)
        gc.collect()
        alive[part] = sum(reference() is not None for reference in seen)
        assert np.isfinite(tape.gradient(y, value)).all()
    assert alive == {keras.Model: 1, Recomputed: 0}


def test_saves_and_loads(tmp_path):
    model = _network(Recomputed)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(loaded.get_layer("part"), Recomputed)
    sample = [tf.ones(SHAPE), tf.constant([[0.3, 0.7]])]
    np.testing.assert_array_equal(loaded(sample), model(sample))
