"""Bilevel descent: gradients, order of the two steps, data kept apart, and a planted operation that is found."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.mixed_op import MixedOp
from tfmedcai.search.supernet import ArchitectureStart, Supernet, second_order_gradients

RNG = np.random.default_rng(0)


def network(normalised=False):
    """One choice between three operations on an image: doubling, a 1x1 and a 3x3 convolution."""
    image = keras.Input((6, 6, 2), name="image")
    weights = keras.Input(batch_shape=(1, 3), name="choice", dtype="float32")
    candidates = [
        2 * image,
        keras.layers.Conv2D(2, 1, name="one")(image),
        keras.layers.Conv2D(2, 3, padding="same", name="three")(image),
    ]
    mixed = MixedOp([False, normalised, normalised])(candidates, weights)
    answer = keras.layers.Dense(1)(keras.layers.Flatten()(keras.ops.tanh(mixed)))
    return keras.Model([image, weights], answer)


def supernet(rate=0.05, architecture_rate=0.1, **options):
    compiled = {name: options.pop(name) for name in ("clip", "weight_decay", "run_eagerly") if name in options}
    keras.utils.set_random_seed(1)
    made = Supernet(network(), **options)
    made.compile(keras.optimizers.SGD(rate, 0.9), keras.optimizers.Adam(architecture_rate, 0.5), loss="mse", **compiled)
    return made


def batch(count=4):
    return tuple(tf.constant(RNG.normal(size=size), tf.float32) for size in ((count, 6, 6, 2), (count, 1)))


def pairs(batches=4):
    data = [batch(4 * batches) for _ in range(2)]
    return tf.data.Dataset.zip(*(tf.data.Dataset.from_tensor_slices(part).batch(4) for part in data))


def values(variables):
    return [np.array(variable) for variable in variables]


def test_second_order_gradient_of_a_quadratic_is_exact():
    """L_train = (w - a)^2 / 2, L_validation = (w - 1)^2 / 2, w = 0, a = 0.5, a step of 0.1: gradient 0.1 (0.05 - 1)."""
    weight, parameter, rate = (tf.constant(value, tf.float64) for value in (0.0, 0.5, 0.1))
    gradients, loss = second_order_gradients(
        lambda w, a: (w[0] - a[0]) ** 2 / 2,
        lambda w, a: (w[0] - 1) ** 2 / 2,
        [weight],
        [parameter],
        rate,
        lambda w, g, step: [w[0] - step * g[0]],
    )
    assert float(gradients[0]) == pytest.approx(-0.095, abs=1e-9)
    assert float(loss) == pytest.approx(0.95**2 / 2)


def test_first_order_gradient_of_that_quadratic_is_zero_and_a_flat_direction_gives_no_nan():
    weight = tf.constant(1.0)
    gradients, _ = second_order_gradients(
        lambda w, a: (w[0] - a[0]) ** 2,
        lambda w, a: 0.0 * w[0],
        [weight],
        [tf.constant(0.5)],
        tf.constant(0.1),
        lambda w, g, step: [w[0] - step * g[0]],
    )
    assert float(gradients[0]) == 0


def architecture_gradient(model, training, validation):
    """What the architecture step hands to its optimiser."""
    seen = []
    model.architecture_optimizer.apply_gradients = lambda pairs: seen.extend(g.numpy() for g, _ in pairs)
    model._architecture_step(training, validation)
    return seen[0]


@pytest.mark.parametrize("second_order", [False, True])
def test_architecture_gradients_equal_finite_differences(second_order):
    model = supernet(second_order=second_order, spread=0.5)
    training, validation = batch(), batch()
    model._weight_step(training)  # so that there is momentum
    found = architecture_gradient(model, training, validation)
    start, weights = values(model.architecture)[0], model.network.trainable_variables

    def loss_after(alphas):
        """The loss on validation data, after a step on training data where the second order looks ahead."""
        model.architecture[0].assign(alphas)
        ahead = [tf.convert_to_tensor(weight) for weight in weights]
        if second_order:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(training[0], training=True) - training[1]) ** 2)
            momenta = model.optimizer.momentums
            ahead = [
                w + 0.9 * m - 0.05 * g for w, m, g in zip(weights, momenta, tape.gradient(loss, weights), strict=True)
            ]
        kept = values(weights)
        for weight, value in zip(weights, ahead, strict=True):
            weight.assign(value)
        loss = float(tf.reduce_mean((model(validation[0], training=True) - validation[1]) ** 2))
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)
        return loss

    for place in range(3):
        nudge = np.eye(3, dtype=np.float32)[place] * 1e-2
        difference = (loss_after(start + nudge) - loss_after(start - nudge)) / 2e-2
        assert found[0, place] == pytest.approx(difference, rel=0.02, abs=2e-3)


def test_the_two_orders_differ():
    training, validation = batch(), batch()
    one, two = (
        architecture_gradient(supernet(second_order=second, spread=0.5), training, validation)
        for second in (False, True)
    )
    assert np.abs(one - two).max() > 1e-4


def test_architecture_keeps_still_until_its_epoch():
    model = supernet()
    start, seen = values(model.architecture), []
    log = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(values(model.architecture)))
    model.fit(pairs(), epochs=4, shuffle=False, verbose=0, callbacks=[ArchitectureStart(2), log])
    np.testing.assert_array_equal(seen[0], start)
    np.testing.assert_array_equal(seen[1], start)
    assert not np.array_equal(seen[2], start)
    assert not np.array_equal(seen[3], seen[2])


@pytest.mark.parametrize("second_order", [False, True])
def test_each_learns_from_its_own_data(second_order):
    """With the other's data replaced by nonsense a step ends the same; the look ahead of the second order is said."""
    training, validation = batch(), batch()
    nonsense = (7 * tf.ones_like(training[0]), -3 * tf.ones_like(training[1]))

    def stepped(train, validate, moves=True):
        model = supernet(second_order=second_order)
        model.architecture_moves = moves
        model.train_step((train, validate))
        return values(model.network.trainable_variables), values(model.architecture)

    weights, architecture = stepped(training, validation)
    _, other_architecture = stepped(training, nonsense)
    assert not np.array_equal(architecture, other_architecture)
    # The weights see validation data only through architecture parameters: none, if these keep still.
    still, _ = stepped(training, validation, moves=False)
    for one, other in zip(still, stepped(training, nonsense, moves=False)[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(
        not np.array_equal(one, other) for one, other in zip(weights, stepped(nonsense, validation)[0], strict=True)
    )
    if not second_order:
        np.testing.assert_array_equal(architecture, stepped(nonsense, validation)[1])


def test_the_step_of_the_weights_is_torch_s_sgd_with_clipping_and_decay():
    training = batch()
    model = supernet(clip=0.01, weight_decay=0.3)
    weights = values(model.network.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(training[0], training=True) - training[1]) ** 2)
    gradients = tape.gradient(loss, model.network.trainable_variables)
    norm = float(tf.linalg.global_norm(gradients))
    assert norm > 0.01
    model._weight_step(training)
    for before, after, gradient in zip(weights, values(model.network.trainable_variables), gradients, strict=True):
        np.testing.assert_allclose(after, before - 0.05 * (0.01 / norm * gradient + 0.3 * before), rtol=1e-4, atol=1e-7)


def test_only_the_step_of_the_weights_moves_statistics():
    keras.utils.set_random_seed(0)
    model = Supernet(network(normalised=True), second_order=True)
    model.compile(keras.optimizers.SGD(0.1, 0.9), keras.optimizers.Adam(0.1), loss="mse")
    before = values(model.network.non_trainable_variables)
    model._architecture_step(batch(), batch())
    for one, other in zip(before, values(model.network.non_trainable_variables), strict=True):
        np.testing.assert_array_equal(one, other)
    model._weight_step(batch())
    assert not np.array_equal(before[0], values(model.network.non_trainable_variables)[0])


def test_logs_metrics_evaluation_and_temperature():
    model = supernet(spread=2.0)
    history = model.fit(pairs(), epochs=2, shuffle=False, verbose=0).history
    assert set(history) == {"loss", "architecture_loss", "entropy", "temperature"}
    assert set(model.evaluate(*batch(), return_dict=True, verbose=0)) == {"loss"}
    assert model.predict(batch()[0], verbose=0).shape == (4, 1)
    model.temperature.assign(1e6)
    assert float(model.entropy()) == pytest.approx(np.log(3), abs=1e-4)
    model.temperature.assign(1e-3)
    assert float(model.entropy()) < 0.1
    assert model.named_mixtures()["choice"].shape == (1, 3)


REPLICAS = """
import numpy as np, tensorflow as tf
device = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [device, device])
from tests.search.test_supernet import batch, supernet
training, validation = batch(), batch()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for second_order in (False, True):
    options = {"second_order": second_order, "clip": 0.5, "weight_decay": 0.1}
    one = supernet(**options)
    one.train_step((training, validation))
    with strategy.scope():
        many = supernet(**options)
    data = tf.data.Dataset.zip(*(tf.data.Dataset.from_tensor_slices(part).batch(4) for part in (training, validation)))
    many.fit(data, epochs=1, shuffle=False, verbose=0)
    for a, b in zip(one.trainable_variables, many.trainable_variables, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-4, atol=1e-6)
    print(strategy.num_replicas_in_sync)
"""


@pytest.mark.slow
def test_replicas_of_a_distribution_strategy_step_as_one_device():
    """Two virtual devices, each with half of a batch, take the step that one device takes with all of it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", REPLICAS], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "2"]


def test_mixed_precision_keeps_the_architecture_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = Supernet(network(normalised=True), second_order=True)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.1, 0.9), keras.optimizers.Adam(0.1), loss="mse")
    model.fit(pairs(), epochs=1, shuffle=False, verbose=0)
    assert model.architecture[0].dtype == "float32"
    assert np.isfinite(values(model.architecture)).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Supernet(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])), "mixing weights"),
        (lambda: Supernet(network(), temperature=0.0), "`temperature` must be positive"),
    ],
)
def test_wrong_arguments(make, says):
    with pytest.raises(ValueError, match=says):
        make()
