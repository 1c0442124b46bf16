"""Costs of models with known answers, and against the counter of TensorFlow."""

import keras
import pytest
import tensorflow as tf
from keras import layers

from tfmedcai.metrics.complexity import multiply_accumulates, parameters, training_memory


def _model(*stack, shape=(8, 10, 3)):
    return keras.Sequential([keras.Input(shape), *stack])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(4, 3, padding="same"), 80 * 4 * 27),
        (layers.Conv2D(4, 3, strides=2, padding="same"), 20 * 4 * 27),
        (layers.Conv2D(4, 3, padding="valid", use_bias=False), 48 * 4 * 27),
        (layers.Conv2D(6, 3, padding="same", groups=3), 80 * 6 * 9),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), 80 * 6 * 9),
        (layers.SeparableConv2D(4, 3, padding="same"), 80 * (27 + 12)),
        (layers.SeparableConv2D(4, 3, strides=2, padding="same"), 20 * (27 + 12)),
        (layers.Conv2DTranspose(4, 2, strides=2), 80 * 3 * 4 * 4),
        (layers.Dense(5), 80 * 15),
        (layers.BatchNormalization(), 0),
        (layers.MaxPooling2D(2), 0),
    ],
)
def test_layers(layer, expected):
    assert multiply_accumulates(_model(layer)) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv3D(4, 3, padding="same"), 120 * 4 * 54),
        (layers.Conv3D(4, (1, 3, 3), strides=(1, 2, 2), padding="same"), 4 * 3 * 3 * 4 * 18),
        (layers.Conv3D(4, 3, padding="same", groups=2), 120 * 4 * 27),  # depthwise: one group a channel
        (layers.Conv3DTranspose(4, 2, strides=2), 120 * 2 * 4 * 8),
        (layers.UpSampling3D(2), 0),
        (layers.GroupNormalization(2), 0),
    ],
)
def test_volumes(layer, expected):
    assert multiply_accumulates(_model(layer, shape=(4, 5, 6, 2))) == expected


def test_separable_3d_is_a_depthwise_and_a_pointwise_convolution():
    stack = layers.Conv3D(2, 3, padding="same", groups=2, use_bias=False), layers.Conv3D(5, 1)
    assert multiply_accumulates(_model(*stack, shape=(4, 5, 6, 2))) == 120 * (2 * 27 + 10)


def test_resizing_keeps_no_tensor_for_the_gradient():
    model = _model(layers.Conv2D(4, 1), layers.UpSampling2D(2))
    kept = training_memory(model, 1) - training_memory(_model(layers.Conv2D(4, 1), layers.ELU()), 1)
    # The two largest gradients in flight differ; what the convolution gave is read by the ELU only.
    assert kept == 1.25 * 4 * (80 * 4 * 5 - 80 * 4 * 3)


def test_agrees_with_the_counter_of_tensorflow():
    model = _model(layers.Conv2D(4, 3, strides=2), layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(5))
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, 8, 10, 3))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    operations = tf.compat.v1.profiler.profile(graph, options=options)
    counted = {"Conv2D", "MatMul", "DepthwiseConv2dNative"}
    flops = sum(child.total_float_ops for child in operations.children if _kind(graph, child.name) in counted)
    assert flops == 2 * multiply_accumulates(model)


def _kind(graph, name):
    return graph.get_operation_by_name(name).type


def test_shared_layer_and_nested_model_count_every_call():
    inner = _model(layers.Dense(3))
    x = keras.Input((8, 10, 3))
    shared = layers.Dense(3)
    model = keras.Model(x, inner(shared(shared(x))))
    assert multiply_accumulates(model) == 3 * 80 * 9
    assert parameters(model) == 2 * 12


def test_parameters():
    model = _model(layers.Conv2D(4, 3), layers.BatchNormalization())
    assert parameters(model) == 4 * 27 + 4 + 16
    assert parameters(model, trainable_only=True) == 4 * 27 + 4 + 8


def test_training_memory():
    model = _model(layers.Conv2D(4, 1, use_bias=False), layers.ReLU(), layers.MaxPooling2D(2))
    output = 80 * 4 * 4  # 80 x 4 float32; the ReLU frees the output of the convolution, the pooling reads the ReLU's
    one, two = training_memory(model, 1), training_memory(model, 2)
    assert two - one == 1.25 * (output + 2 * output)
    assert one == two - one + 4 * 4 * 12
    assert training_memory(model, 1, optimizer_slots=0) == one - 2 * 4 * 12


def test_open_shape():
    with pytest.raises(ValueError, match=r"Received a tensor of shape \(None, None, 10, 4\)"):
        multiply_accumulates(_model(layers.Conv2D(4, 3), shape=(None, 12, 1)))


def test_unknown_layer():
    with pytest.raises(ValueError, match="layer of type LSTM"):
        multiply_accumulates(_model(layers.LSTM(4), shape=(5, 3)))


def test_model_without_graph():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="of type Subclassed"):
        training_memory(Subclassed(), 4)


def test_wrong_batch_size():
    with pytest.raises(ValueError, match=r"`batch_size` must be at least 1. Received 0"):
        training_memory(_model(layers.Dense(2)), 0)


def test_of_recomputed_parts_the_one_that_keeps_most_counts():
    def build(part):
        x = image = keras.Input((8, 8, 4))
        for _ in range(3):
            inner = keras.Input((8, 8, 4))
            x = part(inner, layers.Conv2D(4, 3, padding="same")(layers.Activation("tanh")(inner)))(x)
        return keras.Model(image, x)

    class Again(keras.Model):
        recomputes = True

    plain, again = build(keras.Model), build(Again)
    # Of three parts, two no longer keep the tensor between their layers.
    tensor = 8 * 8 * 4 * 4
    assert training_memory(plain, 1) - training_memory(again, 1) == pytest.approx(1.25 * 2 * tensor, abs=1)
    assert multiply_accumulates(plain) == multiply_accumulates(again)
