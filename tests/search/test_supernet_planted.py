"""Problems whose labels one kernel alone can explain: the search finds it, in maps and in volumes."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.mixed_op import MixedOp
from tfmedcai.search.supernet import Supernet

CANDIDATES = {
    "maps": [{"kernel_size": 1}, {"kernel_size": 3}, {"kernel_size": 3, "dilation_rate": 2}],
    "volumes": [{"kernel_size": (3, 3, 1)}, {"kernel_size": (1, 1, 3)}, {"kernel_size": 1}],
}
SEEDS, WANTED, STEPS = 10, 9, 25


def convolution(kind, number, **more):
    layer = keras.layers.Conv2D if kind == "maps" else keras.layers.Conv3D
    return layer(1, padding="same", use_bias=False, **CANDIDATES[kind][number], **more)


def relaxed(kind):
    """A supernet of one edge. Candidates are standardised, else weights make up for any mixing weight."""
    x = keras.Input((7,) * (2 if kind == "maps" else 3) + (1,))
    weights = keras.Input(batch_shape=(1, 3), name="choice", dtype="float32")
    mixed = MixedOp([True] * 3)([convolution(kind, number)(x) for number in range(3)], weights)
    model = Supernet(keras.Model([x, weights], mixed))
    model.compile(keras.optimizers.SGD(0.05, 0.9), keras.optimizers.Adam(0.05, 0.5), loss="mse")
    return model


def restart(model, rng):
    """Begins anew with other random weights; making the graph once for all seeds keeps the test fast."""
    for optimizer in (model.optimizer, model.architecture_optimizer):
        for variable in optimizer.variables:
            if variable.name != "learning_rate":
                variable.assign(tf.zeros(variable.shape, variable.dtype))
    for variables, spread in ((model.network.trainable_variables, 0.3), (model.architecture, 1e-3)):
        for variable in variables:
            variable.assign(spread * rng.normal(size=variable.shape))


def problem(kind, planted, rng):
    """Noise, and what a random kernel makes of it; its centre is zero, since every candidate has a centre."""
    inputs = tf.constant(rng.normal(size=(32, *(7,) * (2 if kind == "maps" else 3), 1)), tf.float32)
    truth = convolution(kind, planted)
    truth.build(inputs.shape)
    kernel = rng.choice([-1.0, 1.0], size=truth.kernel.shape)
    kernel[tuple(size // 2 for size in kernel.shape[:-2])] = 0
    truth.kernel.assign(kernel)
    labels = truth(inputs) / np.sqrt(np.square(kernel).sum())
    return (inputs[:16], labels[:16]), (inputs[16:], labels[16:])


def train_step(model, moves, data):
    """A step in which the architecture parameters move or wait, until the weights mean something."""
    model.architecture_moves = moves
    return model.train_step(data)


@pytest.mark.parametrize(("kind", "planted"), [("maps", 1), ("maps", 2), ("volumes", 0), ("volumes", 1)])
def test_a_planted_kernel_is_found(kind, planted):
    model = relaxed(kind)
    steps = [tf.function(functools.partial(train_step, model, moves), autograph=False) for moves in (False, True)]
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        restart(model, rng)
        data = problem(kind, planted, rng)
        for step in steps:
            for _ in range(STEPS):
                step(data)
        found.append(int(model.named_mixtures()["choice"].argmax()))
    assert found.count(planted) >= WANTED, found
