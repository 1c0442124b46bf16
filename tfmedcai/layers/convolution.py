"""Pre-activation convolutions: batch normalisation and ReLU come before every convolution, which then needs no bias."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

Tensor = keras.KerasTensor

# Keras's 0.99 remembers hundreds of steps: after a short training, as in a search, the averages of the first steps
# still weigh in, and the error on unseen samples is several times what the network can do.
MOMENTUM = 0.9


def normalisation(x: Tensor, name: str) -> Tensor:
    """Applies batch normalisation whose running averages follow within tens of steps.

    Args:
        x: `(batch, ..., channels)`.
        name: name of the layer.

    Returns:
        Tensor of the same shape.
    """
    return layers.BatchNormalization(momentum=MOMENTUM, name=name)(x)


def pre_activation(x: Tensor, name: str) -> Tensor:
    """Applies batch normalisation, then ReLU.

    Args:
        x: `(batch, height, width, channels)`.
        name: what the names of the layers begin with.

    Returns:
        Tensor of the same shape.
    """
    x = normalisation(x, f"{name}_bn")
    return layers.ReLU(name=f"{name}_relu")(x)


def convolution(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Applies BN - ReLU - Conv, stride 1, padding "same".

    Args:
        x: `(batch, height, width, channels)`.
        filters: number of output channels.
        size: edge of the kernel in px.
        name: name of the convolution.

    Returns:
        `(batch, height, width, filters)`.

    Reference:
        AutoSNAP, section 2.2; He et al., Identity mappings in deep residual networks, ECCV 2016.

    >>> convolution(keras.Input((8, 8, 4)), filters=6, size=3, name="conv").shape
    (None, 8, 8, 6)
    """
    x = pre_activation(x, name)
    return layers.Conv2D(filters, size, padding="same", use_bias=False, name=name)(x)


def depthwise_convolution(x: Tensor, size: int, name: str) -> Tensor:
    """Applies BN - ReLU - depthwise Conv, stride 1, padding "same": one kernel for every channel.

    Args:
        x: `(batch, height, width, channels)`.
        size: edge of the kernel in px.
        name: name of the convolution.

    Returns:
        Tensor of the same shape.
    """
    x = pre_activation(x, name)
    return layers.DepthwiseConv2D(size, padding="same", use_bias=False, name=name)(x)


def separable_convolution(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Applies BN - ReLU - depthwise Conv - Conv 1x1, stride 1, padding "same".

    Args:
        x: `(batch, height, width, channels)`.
        filters: number of output channels.
        size: edge of the depthwise kernel in px.
        name: name of the pair of convolutions.

    Returns:
        `(batch, height, width, filters)`.
    """
    x = pre_activation(x, name)
    return layers.SeparableConv2D(filters, size, padding="same", use_bias=False, name=name)(x)


def merge(tensors: Sequence[Tensor], filters: int, name: str) -> Tensor:
    """Concatenates the channels of all tensors, then applies BN - ReLU - Conv 1x1.

    Args:
        tensors: each `(batch, height, width, channels)`; at least two.
        filters: number of output channels.
        name: name of the convolution.

    Returns:
        `(batch, height, width, filters)`.

    Reference:
        AutoSNAP, section 2.2.
    """
    x = layers.Concatenate(name=f"{name}_concat")(list(tensors))
    return convolution(x, filters, size=1, name=name)
