"""Tokens: what Keras's normalisation gives, with the second derivative that Keras's has not; patches in order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import double_backward_deviation, output_and_gradients
from tfmedcai.layers.tokens import ClassToken, TokenNormalisation, patch_tokens


def test_normalisation_equals_that_of_keras():
    rng = np.random.default_rng(0)
    pair = TokenNormalisation(epsilon=1e-5), keras.layers.LayerNormalization(epsilon=1e-5)
    values = [rng.normal(size=6), rng.normal(size=6)]
    x = tf.constant(rng.normal(3, 2, size=(2, 5, 6)), tf.float32)
    for layer in pair:
        layer.build(x.shape)
        layer.set_weights(values)
    for found, expected in zip(*(output_and_gradients(layer, x) for layer in pair), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_second_derivatives():
    layer = TokenNormalisation(epsilon=1e-5, dtype="float64")
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 6)))
    layer.build(x.shape)
    weights = [tf.Variable(x), layer.gamma, layer.beta]
    deviation = double_backward_deviation(lambda y: tf.sin(layer(layer(y + weights[0]))), x, weights, reach=1e-5)
    assert deviation < 1e-7


def test_patches_in_order():
    image = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype("float32")
    x = keras.Input(image.shape[1:])
    model = keras.Model(x, patch_tokens(x, patch=2, size=5, dropout=0.5, name="tokens"))
    assert model.output_shape == (None, 7, 5)
    patches = keras.Model(x, model.get_layer("tokens_patches").output)(image).numpy()
    expected = [image[:, row : row + 2, column : column + 2].reshape(2, -1) for row in (0, 2, 4) for column in (0, 2)]
    np.testing.assert_array_equal(patches, np.stack(expected, axis=1))


def test_class_token_and_places(tmp_path):
    x = keras.Input((3, 4))
    model = keras.Model(x, ClassToken()(x))
    token, places = (weight.numpy() for weight in model.weights)
    tokens = np.ones((2, 3, 4), np.float32)
    expected = np.concatenate([token.repeat(2, axis=0), tokens], axis=1) + places
    np.testing.assert_allclose(model(tokens), expected, rtol=1e-6)
    assert not np.isclose(token, places[:, :1]).any()
    assert model.layers[-1].multiply_accumulates(4) == 0
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(tokens), model(tokens))


def test_patches_must_fill_the_image():
    with pytest.raises(ValueError, match=r"multiples of its patches of 8 px. Received 32 x 20 px"):
        patch_tokens(keras.Input((32, 20, 1)), patch=8, size=4, dropout=0.0, name="tokens")
