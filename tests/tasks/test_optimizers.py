"""The optimisers of one operation a variable give what Keras's give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.tasks import optimizers

CASES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
]


def _trained(kind, options, policy):
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "tanh", dtype=policy), keras.layers.Dense(1)])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    net.compile(kind(schedule, **options), loss="mse")
    x = np.random.default_rng(0).normal(size=(64, 5))
    net.fit(x, x[:, :1] * x[:, 1:2], batch_size=16, epochs=3, verbose=0, shuffle=False)
    return net


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("policy", ["float32", "float64"])
def test_equals_keras(name, options, policy):
    ours, theirs = (_trained(getattr(home, name), options, policy) for home in (optimizers, keras.optimizers))
    for found, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for found, expected in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_builds_few_operations(name):
    def operations(kind):
        net = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(3) for _ in range(10))])
        optimizer = kind(0.1, **({"momentum": 0.9} if name == "SGD" else {}))
        optimizer.build(net.trainable_variables)
        step = tf.function(
            lambda: optimizer.apply([weight * 1.0 for weight in net.trainable_variables], net.trainable_variables)
        )
        return len(step.get_concrete_function().graph.get_operations())

    assert operations(getattr(optimizers, name)) < operations(getattr(keras.optimizers, name)) / 1.5


def test_saved_network_knows_its_optimizer(tmp_path):
    net = _trained(optimizers.Adam, {}, "float32")
    net.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    assert isinstance(loaded.optimizer, optimizers.Adam)
    np.testing.assert_array_equal(loaded.optimizer.variables[0], net.optimizer.variables[0])


def test_cyclical_rate():
    # tensorflow-addons' CyclicalLearningRate: cycle = floor(1 + step / (2 size)), x = |step / size - 2 cycle + 1|.
    rate, steps, size = optimizers.CyclicalRate(1e-5, 1e-3, half_cycle=100), np.arange(0, 501, 7), 100
    x = np.abs(steps / size - 2 * np.floor(1 + steps / (2 * size)) + 1)
    expected = 1e-5 + (1e-3 - 1e-5) * np.maximum(0, 1 - x)
    np.testing.assert_allclose([rate(step) for step in steps], expected, rtol=1e-4)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(again(50)) == float(rate(50))
    with pytest.raises(ValueError, match="`half_cycle` must be at least 1"):
        optimizers.CyclicalRate(1e-5, 1e-3, 0)
