"""The relaxation of the volumetric network: published sizes, that a sure choice is the discrete cell, and Mix."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.metrics.complexity import multiply_accumulates, parameters, training_memory
from tfmedcai.models.volumetric_net import volumetric_net
from tfmedcai.models.volumetric_supernet import volumetric_mix, volumetric_supernet
from tfmedcai.search.supernet import Supernet
from tfmedcai.search_spaces.volumetric import KERNELS, PLACES, VolumetricSpace

TINY = {"input_shape": (32, 32, 32, 1), "filters": 4}
IMAGE = tf.constant(np.random.default_rng(0).normal(size=(1, 32, 32, 32, 1)), tf.float32)


@pytest.fixture
def zero_weights(monkeypatch):
    """Weights that take no time to draw."""
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", lambda _, shape, dtype=None: tf.zeros(shape))


@pytest.mark.slow
def test_full_size(zero_weights):
    network = volumetric_supernet()
    assert parameters(network, trainable_only=True) == 105_388_059
    assert multiply_accumulates(network) / 1e9 == pytest.approx(24.31, abs=0.005)
    assert parameters(Supernet(network), trainable_only=True) == 105_388_059 + 63
    assert parameters(volumetric_mix(), trainable_only=True) == 105_388_059


def test_there_are_63_architecture_numbers():
    supernet = Supernet(volumetric_supernet(**TINY), spread=0)
    assert sum(alphas.numpy().size for alphas in supernet.architecture) == 63
    for mixture in supernet.named_mixtures().values():
        np.testing.assert_allclose(mixture, 1 / 3, rtol=1e-6)


def test_a_sure_choice_is_the_network_of_that_code():
    code = VolumetricSpace().sample(np.random.default_rng(1))
    relaxed, network = volumetric_supernet(**TINY), volumetric_net(code, **TINY)
    kernels = dict(zip(PLACES, (*code.encoder, *code.decoder), strict=True))

    def candidate(name):
        """Where the supernet has a weight; the first convolutions of an encoder cell lie side by side."""
        cell = next((cell for cell in PLACES if name.startswith(f"{cell}_")), None)
        if cell is None or "shortcut" in name:
            return name, slice(None)
        if cell.startswith("encoder") and name.removeprefix(cell).startswith("_in"):
            width, part = relaxed.get_layer(f"{cell}_in").filters // 3, KERNELS.index(kernels[cell])
            return name, slice(width * part, width * (part + 1))
        return name.replace(cell, f"{cell}_{kernels[cell]}", 1), slice(None)

    share(relaxed, network, candidate)
    digits = tf.one_hot(code.digits, 3)
    found = relaxed([IMAGE, digits[:16], digits[16:]], training=True)
    np.testing.assert_allclose(found, network(IMAGE, training=True), atol=2e-3)


def share(source, target, place=lambda name: (name, slice(None))):
    """Copies weights by name."""
    known = {"/".join(variable.path.split("/")[-2:]): variable for variable in source.variables}
    for variable in target.variables:
        name, channels = place("/".join(variable.path.split("/")[-2:]))
        variable.assign(known[name].numpy()[..., channels])


@pytest.mark.slow
def test_mix_is_the_supernet_at_equal_weights():
    relaxed, mix = volumetric_supernet(**TINY), volumetric_mix(**TINY)
    share(relaxed, mix)
    thirds = tf.fill((16, 3), 1 / 3), tf.fill((5, 3), 1 / 3)
    found = relaxed([IMAGE, *thirds], training=True)
    np.testing.assert_allclose(found, mix(IMAGE, training=True), atol=2e-3)
    assert parameters(mix) == parameters(relaxed)


@pytest.mark.slow
def test_recomputed_cells_change_nothing_but_memory():
    plain, recomputed = volumetric_supernet(**TINY), volumetric_supernet(**TINY, recompute=True)
    share(plain, recomputed)
    mixtures = [tf.Variable(tf.fill(shape, 1 / 3)) for shape in ((16, 3), (5, 3))]
    found = []
    for network in (plain, recomputed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network([IMAGE, *mixtures], training=True) ** 2)
        found.append([loss, *(tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, mixtures))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)
    assert training_memory(recomputed, 4) < 0.8 * training_memory(plain, 4)


def test_a_vector():
    assert volumetric_supernet(**TINY, outputs=5, per_pixel=False).output_shape == (None, 5)
