"""Weighted sums of candidates: the same as summing one by one, for maps and volumes, one edge or many."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.mixed_op import GroupedProjection, MixedOp, Standardisation
from tfmedcai.metrics.complexity import multiply_accumulates

RNG = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(RNG.normal(1.5, 2.0, size=shape), tf.float32)


def standardised(x, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + epsilon)


@pytest.mark.parametrize("size", [(5, 6), (4, 3, 5)], ids=["maps", "volumes"])
def test_many_edges_equal_one_by_one(size):
    edges, channels = 3, 2
    shared, own, raw = (
        normal(4, *size, channels),
        normal(4, *size, edges * channels),
        normal(4, *size, edges * channels),
    )
    weights = tf.constant(RNG.dirichlet(np.ones(4), edges)[:, 1:], tf.float32)
    found = MixedOp([False, False, True], edges)([shared, own, raw], weights, training=True).numpy()
    for edge in range(edges):
        part = slice(edge * channels, (edge + 1) * channels)
        w = weights[edge].numpy()
        expected = w[0] * shared.numpy() + w[1] * own.numpy()[..., part] + w[2] * standardised(raw.numpy())[..., part]
        np.testing.assert_allclose(found[..., part], expected, rtol=1e-4, atol=1e-5)


def test_gradients_to_weights_equal_those_of_the_plain_sum():
    x = [normal(4, 3, 3, 2), normal(4, 3, 3, 4), normal(4, 3, 3, 4)]
    weights, target = tf.constant([[0.1, 0.2, 0.3], [0.4, 0.3, 0.2]]), normal(4, 3, 3, 4)
    layer = MixedOp([False, False, True], edges=2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([weights, *x])
        loss = tf.reduce_mean(target * layer(x, weights, training=True) ** 2)
        axes = (0, 1, 2)
        plain = (x[2] - tf.reduce_mean(x[2], axes)) / tf.sqrt(tf.math.reduce_variance(x[2], axes) + 1e-3)
        terms = [tf.tile(x[0], (1, 1, 1, 2)), x[1], plain]
        mixed = tf.add_n([term * tf.repeat(weights[:, number], 2) for number, term in enumerate(terms)])
        reference = tf.reduce_mean(target * mixed**2)
    assert float(loss) == pytest.approx(float(reference), rel=1e-4)
    for ours, theirs in zip(tape.gradient(loss, [weights, *x]), tape.gradient(reference, [weights, *x]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-5)


def test_moving_statistics_follow_and_are_used_outside_training():
    x, layer = normal(16, 8, 8, 3), Standardisation(momentum=0.5)
    for _ in range(20):
        layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, tf.reduce_mean(x, (0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(layer(x), layer(x, training=True), atol=2e-2)
    half = layer(x, tf.constant([0.5, 0.5, 0.5])).numpy()
    np.testing.assert_allclose(half, 0.5 * layer(x).numpy(), rtol=1e-5, atol=1e-6)


def test_grouped_projection_equals_one_dense_layer_a_group():
    x, layer = normal(2, 3, 4, 6), GroupedProjection(9, groups=3)
    found = layer(x).numpy()
    for group in range(3):
        expected = x.numpy()[..., 2 * group : 2 * group + 2] @ np.array(layer.kernel[group])
        np.testing.assert_allclose(found[..., 3 * group : 3 * group + 3], expected, rtol=1e-5, atol=1e-5)
    image = keras.Input((8, 8, 6))
    assert multiply_accumulates(keras.Model(image, GroupedProjection(9, groups=3)(image))) == 8 * 8 * 9 * 2


def test_layers_survive_saving(tmp_path):
    image, weights = keras.Input((4, 4, 2)), keras.Input(batch_shape=(2, 2), dtype="float32")
    projected = Standardisation(epsilon=0.1)(GroupedProjection(4, groups=2)(keras.ops.tile(image, (1, 1, 1, 2))))
    model = keras.Model([image, weights], MixedOp([False, True], edges=2)([image, projected], weights))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = [normal(3, 4, 4, 2), tf.constant([[0.3, 0.7], [0.6, 0.4]])]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: MixedOp([False])([normal(1, 2, 2, 2)], tf.ones((1, 2))), r"`weights` must have shape \(1, 1\)"),
        (
            lambda: MixedOp([False] * 2)([normal(1, 2, 2, 2), normal(1, 2, 2, 3)], tf.ones((1, 2))),
            "`candidates` must be",
        ),
        (lambda: GroupedProjection(4, groups=2)(normal(1, 2, 2, 3)), "multiples of 2 groups. Received 4 and 3"),
    ],
)
def test_shapes_that_do_not_fit(call, says):
    with pytest.raises(ValueError, match=says):
        call()
