"""What a Keras model costs: parameters, multiply-accumulates and time of a prediction, memory of a training step."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers

CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D),
)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
# Layers whose gradient needs no input: what is only read by them is freed in the forward pass.
PASSING = (
    *(layers.ReLU, layers.Concatenate, layers.Add, layers.Flatten, layers.Reshape),
    *(layers.UpSampling2D, layers.UpSampling3D, layers.ZeroPadding2D, layers.ZeroPadding3D),
    *(layers.AveragePooling2D, layers.AveragePooling3D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
)
WORKSPACE = 1.25  # measured peaks of SNAPNet and i3PosNet on a CPU over the tensors that are kept: 1.21 to 1.29


def parameters(model: keras.Model, trainable_only: bool = False) -> int:
    """Counts the numbers in the weights of a model.

    Args:
        model: any built Keras model.
        trainable_only: leaves out what the optimiser does not change, for example moving means.

    Returns:
        Number of parameters.
    """
    weights = model.trainable_weights if trainable_only else model.weights
    return sum(math.prod(weight.shape) for weight in weights)


def multiply_accumulates(model: keras.Model) -> int:
    """Counts the multiply-accumulates of the convolutions and dense layers for one sample.

    Normalisation, activation, pooling, resizing and biases are not counted, as is usual. A layer that is called twice
    counts twice. A layer of another kind may say its own count: a method `multiply_accumulates(positions)`.

    Args:
        model: functional or sequential model whose inputs have fixed shapes.

    Returns:
        Number of multiply-accumulates; twice this is the number of floating point operations.

    Raises:
        ValueError: if the model is not a graph of layers, a shape is open, or a layer with matrices is of a kind that
            cannot be counted.

    >>> model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, padding="same")])
    >>> multiply_accumulates(model) == 8 * 8 * 4 * 9
    True
    """
    return sum(_layer_multiply_accumulates(node) for node in _calls(model))


def latency_ms(model: keras.Model, runs: int = 15) -> float:
    """Measures how long a prediction for one sample takes on this machine.

    Args:
        model: a model with one input of fixed shape.
        runs: predictions, after one that is not counted.

    Returns:
        Median in milliseconds.
    """
    predict = tf.function(lambda sample: model(sample, training=False), autograph=False)
    sample, seconds = tf.zeros((1, *model.input_shape[1:])), []
    for _ in range(runs + 1):
        start = time.perf_counter()
        tf.nest.map_structure(lambda output: output.numpy(), predict(sample))
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[1:])


def training_memory(model: keras.Model, batch_size: int, optimizer_slots: int = 2) -> int:
    """Estimates the memory that a training step holds at its peak.

    The estimate is the sum of the outputs that a gradient reads again, the two largest gradients in flight, a quarter
    more for the workspace of the kernels, and for every trainable parameter its value, gradient and slots of the
    optimiser. Of nested models that say that they are recomputed (`recomputes`) only the one that keeps most counts,
    beside the inputs of all. TensorFlow itself comes on top.

    Args:
        model: functional or sequential model whose inputs have fixed shapes.
        batch_size: number of samples in a step.
        optimizer_slots: numbers that the optimiser keeps for a parameter: 2 for Adam, 1 for RMSprop.

    Returns:
        Bytes.

    Raises:
        ValueError: if `batch_size` is below 1, the model is not a graph of layers, or a shape is open.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received {batch_size}.")
    nodes = list(_calls(model, recomputed=False))
    kept, sizes = _kept(nodes)
    inner = [_kept(list(_calls(node.operation, nested=True))) for node in nodes if _recomputes(node.operation)]
    kept += max((within for within, _ in inner), default=0)
    sizes += [size for _, within in inner for size in within]
    activations = int(WORKSPACE * batch_size * (kept + sum(sorted(sizes)[-2:])))
    weights = sum(math.prod(weight.shape) * _bytes(weight.dtype) for weight in model.weights)
    return activations + weights + (1 + optimizer_slots) * 4 * parameters(model, trainable_only=True)


def _kept(nodes: list[Any]) -> tuple[int, list[int]]:
    """Returns the bytes of one sample that the gradients of these calls read again, and those of each output."""
    read_again = {id(x) for node in nodes if not isinstance(node.operation, PASSING) for x in node.input_tensors}
    outputs = [output for node in nodes for output in node.outputs]
    sizes = {id(output): _elements(output) * _bytes(output.dtype) for output in outputs}
    return sum(size for output, size in sizes.items() if output in read_again), list(sizes.values())


def _recomputes(operation: Any) -> bool:
    return getattr(operation, "recomputes", False)


def _bytes(dtype: str) -> int:
    return {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "bool": 1}.get(dtype, 4)


def _elements(tensor: keras.KerasTensor) -> int:
    if None in tensor.shape[1:]:
        raise ValueError(
            f"The sizes of all tensors but the batch must be fixed. Received a tensor of shape {tensor.shape}: "
            "build the model with the input shape that it will see."
        )
    return math.prod(tensor.shape[1:])


def _calls(model: keras.Model, *, recomputed: bool = True, nested: bool = False) -> Iterator[Any]:
    """Yields one node for every call of a layer, those of nested models included, of recomputed ones if wanted.

    The inputs of nested models come as well: they stand for what they are called with, which may be read inside.
    """
    graph = getattr(model, "_functional", model)  # a Sequential keeps its graph one level down
    if not hasattr(graph, "_nodes_by_depth"):  # Keras has no public way to list the calls of shared layers
        raise ValueError(
            "The model must be a built functional or sequential Keras model. "
            f"Received `{model.name}` of type {type(model).__name__}."
        )
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            if isinstance(node.operation, keras.Model) and (recomputed or not _recomputes(node.operation)):
                yield from _calls(node.operation, recomputed=recomputed, nested=True)
            elif nested or not node.is_input:
                yield node


def _layer_multiply_accumulates(node: Any) -> int:
    layer, output = node.operation, node.outputs[0]
    weights = [weight for weight in getattr(layer, "weights", []) if len(weight.shape) > 1]
    kernels = sum(math.prod(weight.shape) for weight in weights)
    if not kernels or isinstance(layer, (layers.Embedding, layers.PReLU)):
        return 0
    if isinstance(layer, layers.Dense):
        return kernels * _elements(output) // layer.units
    if isinstance(layer, CONVOLUTIONS):
        return kernels * _elements(output) // _channels(layer, output)
    if isinstance(layer, TRANSPOSED):
        source = node.input_tensors[0]
        return kernels * _elements(source) // _channels(layer, source)
    if hasattr(layer, "multiply_accumulates"):
        return layer.multiply_accumulates(_elements(output) // output.shape[-1])
    raise ValueError(
        f"Multiply-accumulates of a layer of type {type(layer).__name__} are not known. "
        f"Received `{layer.name}`: count the layers around it."
    )


def _channels(layer: Any, tensor: keras.KerasTensor) -> int:
    return tensor.shape[1 if layer.data_format == "channels_first" else -1]
