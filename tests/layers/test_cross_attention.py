"""Attention against its formula; what the blocks add, see and know of second derivatives."""

import keras
import numpy as np
import tensorflow as tf

from tests.layers.gradients import double_backward_deviation, double_precision
from tfmedcai.layers.cross_attention import AttentionSizes, attention, crossed, transformer

SIZES = AttentionSizes(heads=2, head_size=3, hidden=5, dropout=0.0)


def _standardised(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def _attention(x, context, query, key, value, out, bias):
    parts = []
    for head in (slice(0, 3), slice(3, 6)):
        fit = x @ query[:, head] @ (context @ key[:, head]).transpose(0, 2, 1) / np.sqrt(3)
        weights = np.exp(fit) / np.exp(fit).sum(-1, keepdims=True)
        parts.append(weights @ (context @ value[:, head]))
    return np.concatenate(parts, axis=-1) @ out + bias


def test_attention_equals_its_formula():
    x, context = keras.Input((4, 6)), keras.Input((7, 5))
    model = keras.Model([x, context], attention(x, context, SIZES, "attention"))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=weight.shape) for weight in model.weights]
    model.set_weights(values)
    tokens = rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 7, 5))
    assert [weight.path.split("/")[0] for weight in model.weights[:3]] == [
        "attention_query",
        "attention_key",
        "attention_value",
    ]
    found = model([part.astype("float32") for part in tokens])
    np.testing.assert_allclose(found, _attention(*tokens, *values), rtol=1e-4, atol=1e-4)


def test_a_class_token_looks_at_itself_and_the_other_scale():
    token, others = keras.Input((1, 6)), keras.Input((4, 5))
    model = keras.Model([token, others], crossed(token, others, SIZES, "cross"))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    tokens = [rng.normal(size=(2, 1, 6)), rng.normal(size=(2, 4, 5))]
    (inner, inner_bias), (gamma, beta), (outer, outer_bias) = (
        model.get_layer(f"cross_{name}").get_weights() for name in ("in", "norm", "out")
    )
    made = _standardised(tokens[0] @ inner + inner_bias) * gamma + beta
    parts = [model.get_layer(f"cross_attention_{name}").get_weights() for name in ("query", "key", "value", "out")]
    seen = _attention(made, np.concatenate([made, tokens[1]], axis=1), *[value for part in parts for value in part])
    expected = tokens[0] + seen @ outer + outer_bias
    np.testing.assert_allclose(model([part.astype("float32") for part in tokens]), expected, rtol=1e-4, atol=1e-4)


def test_scales_of_one_size_need_no_projection():
    token, others = keras.Input((1, 6)), keras.Input((4, 6))
    names = [layer.name for layer in keras.Model([token, others], crossed(token, others, SIZES, "cross")).layers]
    assert not {"cross_in", "cross_out"} & set(names)


def test_a_transformer_that_adds_nothing_normalises():
    x = keras.Input((4, 6))
    model = keras.Model(x, transformer(x, 2, SIZES, "transformer"))
    assert model.count_params() == 2 * (12 + 3 * 36 + 42 + 12 + 35 + 36) + 12
    for layer in model.layers:
        if layer.name.endswith("_out"):
            layer.set_weights([np.zeros(weight.shape) for weight in layer.weights])
    tokens = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    np.testing.assert_allclose(model(tokens), _standardised(tokens), rtol=1e-4, atol=1e-5)


def test_second_derivatives():
    keras.utils.set_random_seed(0)
    with double_precision():
        x = keras.Input((4, 6))
        model = keras.Model(x, transformer(x, 1, SIZES, "transformer"))
    tokens = tf.random.normal((2, 4, 6), dtype="float64")
    deviation = double_backward_deviation(lambda y: tf.sin(model(y)), tokens, model.trainable_variables, reach=1e-5)
    assert deviation < 1e-7


def test_dropout_in_training_alone():
    x = keras.Input((4, 6))
    model = keras.Model(x, transformer(x, 1, AttentionSizes(heads=2, head_size=3, hidden=5, dropout=0.5), "block"))
    tokens = np.random.default_rng(0).normal(size=(1, 4, 6)).astype("float32")
    np.testing.assert_array_equal(model(tokens), model(tokens))
    assert not np.array_equal(model(tokens, training=True), model(tokens, training=True))
