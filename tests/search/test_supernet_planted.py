"""Problems whose labels one kernel explains best: the search finds it, in maps and in volumes."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.mixed_op import MixedOp
from tfmedcai.search.supernet import Supernet

# Each candidate is a chain of kernels, one after the other; in volumes they are the three of V-NAS.
CANDIDATES = {
    "maps": [[((1, 1), 1)], [((3, 3), 1)], [((3, 3), 2)]],
    "volumes": [[((3, 3, 1), 1)], [((3, 3, 3), 1)], [((3, 3, 1), 1), ((1, 1, 3), 1)]],
}
EDGE = {"maps": 7, "volumes": 4}
SEEDS, WANTED, STEPS = 10, 9, 25


def applied(kind, number, x, kernels=None):
    """Applies the kernels of a candidate, given ones or such as are learnt."""
    layer = keras.layers.Conv2D if kind == "maps" else keras.layers.Conv3D
    for place, (size, dilation) in enumerate(CANDIDATES[kind][number]):
        made = layer(1, size, dilation_rate=dilation, padding="same", use_bias=False)
        if kernels is not None:
            made.build(x.shape)
            made.kernel.assign(kernels[place][..., None, None])
        x = made(x)
    return x


def relaxed(kind):
    """A supernet of one edge. Candidates are standardised, else weights make up for any mixing weight."""
    x = keras.Input((EDGE[kind],) * (2 if kind == "maps" else 3) + (1,))
    weights = keras.Input(batch_shape=(1, 3), name="choice", dtype="float32")
    mixed = MixedOp([True] * 3)([applied(kind, number, x) for number in range(3)], weights)
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


def problem(kind, planted, samples, noise, rng):
    """Random images, and what a random kernel makes of them, with noise; a half for weights and for architecture."""
    inputs = tf.constant(rng.normal(size=(2 * samples, *(EDGE[kind],) * (2 if kind == "maps" else 3), 1)), tf.float32)
    kernels = [rng.choice([-1.0, 1.0], size=size) for size, _ in CANDIDATES[kind][planted]]
    if kind == "maps":
        for kernel in kernels:
            kernel[1, 1] = 0  # every candidate has a centre
    scales = [np.sqrt(np.square(kernel).sum()) for kernel in kernels]
    labels = applied(kind, planted, inputs, [kernel / scale for kernel, scale in zip(kernels, scales, strict=True)])
    labels += noise * rng.normal(size=labels.shape)
    return (inputs[:samples], labels[:samples]), (inputs[samples:], labels[samples:])


def train_step(model, moves, data):
    """A step in which the architecture parameters move or wait, until the weights mean something."""
    model.architecture_moves = moves
    return model.train_step(data)


@pytest.mark.parametrize(
    ("kind", "planted", "samples", "noise"),
    [
        ("maps", 1, 16, 0.0),
        ("maps", 2, 16, 0.0),
        # A 3D kernel can do what a 2D one does. With a single noisy sample it fits the noise, and only the 2D one holds
        # on what the architecture learns from.
        pytest.param("volumes", 0, 1, 1.0, id="2D"),
        pytest.param("volumes", 1, 8, 0.5, id="3D"),
    ],
)
def test_a_planted_kernel_is_found(kind, planted, samples, noise):
    model = relaxed(kind)
    steps = [tf.function(functools.partial(train_step, model, moves), autograph=False) for moves in (False, True)]
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        restart(model, rng)
        data = problem(kind, planted, samples, noise, rng)
        for step in steps:
            for _ in range(STEPS):
                step(data)
        found.append(int(model.named_mixtures()["choice"].argmax()))
    assert found.count(planted) >= WANTED, found
