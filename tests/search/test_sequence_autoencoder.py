"""The auto-encoder of the latent oracle: it learns, it repeats exactly, its state can be kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfmedcai.search.oracles.sequence_autoencoder import SequenceAutoEncoder

LENGTH, SYMBOLS = 3, 4
SETTINGS = SimpleNamespace(latent_size=4, lstm_units=8, batch_size=32, learning_rate=1e-2)


def make(seed=0):
    return SequenceAutoEncoder(LENGTH, SYMBOLS, SETTINGS, seed)


def sequences(*shape, seed=0):
    return np.random.default_rng(seed).integers(SYMBOLS, size=(*shape, LENGTH))


KNOWN = sequences(40)
VALUES = 100 - 5.0 * KNOWN[:, 0] + 2 * KNOWN[:, 1]


@pytest.fixture(scope="module")
def fitted():
    autoencoder = make()
    first = autoencoder.fit(sequences(5, 32), KNOWN, VALUES, seed=0)
    return autoencoder, first, autoencoder.fit(sequences(200, 32, seed=1), KNOWN, VALUES, seed=1)


def test_fit_lowers_all_three_losses(fitted):
    _, first, last = fitted
    assert set(last) == {"reconstruction", "value", "consistency"}
    assert all(last[name] < first[name] / 2 for name in last)


def test_unseen_sequences_are_decoded_again(fitted):
    autoencoder, *_ = fitted
    tokens = sequences(300, seed=7)
    latent = autoencoder.encode(tokens)
    assert latent.shape == (300, 4)
    assert np.abs(latent).max() <= 1
    assert np.mean(autoencoder.decode(latent) == tokens) > 0.9


def test_values_of_unseen_sequences_are_ranked(fitted):
    autoencoder, *_ = fitted
    tokens = sequences(300, seed=7)
    estimates = autoencoder.value(autoencoder.encode(tokens))
    assert np.corrcoef(estimates, -5.0 * tokens[:, 0] + 2 * tokens[:, 1])[0, 1] > 0.9


def test_the_gradient_points_up(fitted):
    autoencoder, *_ = fitted
    gradient = autoencoder.gradient()
    assert np.linalg.norm(gradient) == pytest.approx(1, abs=1e-5)
    latent = np.random.default_rng(0).uniform(-0.5, 0.5, (10, 4)).astype(np.float32)
    assert np.all(autoencoder.value(latent + 0.1 * gradient) > autoencoder.value(latent))


def test_the_same_seeds_give_the_same_weights_and_a_state_goes_on_exactly(fitted):
    autoencoder, *_ = fitted
    state = autoencoder.state()
    autoencoder.load_state(make().state())
    autoencoder.fit(sequences(5, 32), KNOWN, VALUES, seed=0)
    autoencoder.fit(sequences(200, 32, seed=1), KNOWN, VALUES, seed=1)
    again = autoencoder.state()
    assert all(np.array_equal(old, new) for old, new in zip(state, again, strict=True))


def test_another_seed_gives_other_weights_and_no_two_layers_are_alike():
    first, second = make(0).state(), make(1).state()
    assert not np.array_equal(first[0], second[0])
    kernels = [weights for weights in first if weights.shape == first[0].shape and weights.any()]
    assert not np.array_equal(kernels[0], kernels[1])


def test_a_state_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="same sizes"):
        make().load_state(make().state()[:-1])


def test_only_the_order_of_the_values_counts(fitted):
    autoencoder, *_ = fitted
    states = []
    for values in (VALUES, np.where(VALUES == VALUES.min(), -1e9, VALUES)):
        autoencoder.load_state(make().state())
        autoencoder.fit(sequences(5, 32), KNOWN, values, seed=0)
        states.append(autoencoder.state())
    assert all(np.array_equal(first, second) for first, second in zip(*states, strict=True))
