"""Blocks of known classification networks, for images and volumes: VGG, residual, dense and inception."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfmedcai.layers.convolution import normalisation, pre_activation
from tfmedcai.layers.spatial import POOLING, spatial_convolution

Tensor = keras.KerasTensor

DENSE_LAYERS = 4
SHARE = 4  # a dense layer and a branch of inception have a quarter of the channels of the block


def normalised_convolution(x: Tensor, filters: int, size: int, name: str, **options: Any) -> Tensor:
    """Applies Conv - BN, padding "same" unless the options say otherwise.

    Args:
        x: `(batch, *spatial, channels)`.
        filters: number of output channels.
        size: edge of the kernel in px.
        name: name of the convolution.
        options: of `keras.layers.Conv2D`.

    Returns:
        `(batch, *spatial, filters)`.
    """
    return normalisation(spatial_convolution(x, filters, size, name, **options), f"{name}_bn")


def activated_convolution(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Applies Conv - BN - ReLU, stride 1, padding "same"; arguments and result as of `normalised_convolution`."""
    return layers.ReLU(name=f"{name}_relu")(normalised_convolution(x, filters, size, name))


def vgg_block(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Applies two convolutions, each with BN and ReLU.

    Args:
        x: `(batch, *spatial, channels)`.
        filters: number of output channels.
        size: edge of the kernels in px.
        name: what the names of the layers begin with.

    Returns:
        `(batch, *spatial, filters)`.

    Reference:
        Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2014; BN was added
        to it later.
    """
    for number in (1, 2):
        x = activated_convolution(x, filters, size, f"{name}_{number}")
    return x


def residual_block(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Adds the input, projected where the channels differ, to two convolutions; ReLU comes behind the sum.

    Args:
        x: `(batch, *spatial, channels)`.
        filters: number of output channels.
        size: edge of the kernels in px.
        name: what the names of the layers begin with.

    Returns:
        `(batch, *spatial, filters)`.

    Reference:
        He et al., Deep residual learning for image recognition, CVPR 2016.
    """
    made = activated_convolution(x, filters, size, f"{name}_1")
    return _sum(x, normalised_convolution(made, filters, size, f"{name}_2"), name)


def dense_block(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Concatenates the input and four layers, each of which sees all before it; a 1x1 convolution follows.

    BN and ReLU come before every convolution, so the input must be no raw image, whose values below the mean ReLU
    would cut.

    Args:
        x: `(batch, *spatial, channels)`.
        filters: number of output channels, a multiple of 4; each of the layers has a quarter.
        size: edge of the kernels in px.
        name: what the names of the layers begin with.

    Returns:
        `(batch, *spatial, filters)`.

    Raises:
        ValueError: if `filters` is no multiple of 4.

    Reference:
        Huang et al., Densely connected convolutional networks, CVPR 2017.
    """
    growth = _quarter(filters)
    for number in range(1, DENSE_LAYERS + 1):
        layer = f"{name}_{number}"
        made = spatial_convolution(pre_activation(x, layer), growth, size, layer)
        x = layers.Concatenate(name=f"{layer}_concat")([x, made])
    return spatial_convolution(pre_activation(x, f"{name}_transition"), filters, 1, f"{name}_transition")


def inception_block(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Adds four branches of different reach, expanded by a linear 1x1 convolution, to the input; ReLU comes last.

    The branches are 1x1; 1x1 and one convolution; 1x1 and two; maximum over 3x3 and 1x1.

    Args:
        x: `(batch, *spatial, channels)`.
        filters: number of output channels, a multiple of 4; each of the branches has a quarter.
        size: edge of the kernels in px.
        name: what the names of the layers begin with.

    Returns:
        `(batch, *spatial, filters)`.

    Raises:
        ValueError: if `filters` is no multiple of 4.

    Reference:
        Szegedy et al., Inception-v4, Inception-ResNet and the impact of residual connections, AAAI 2017.
    """
    width = _quarter(filters)
    pooled = POOLING[len(x.shape)](3, strides=1, padding="same", name=f"{name}_4_pool")(x)
    branches = []
    for number, (source, convolutions) in enumerate(((x, 0), (x, 1), (x, 2), (pooled, 0)), start=1):
        made = activated_convolution(source, width, 1, f"{name}_{number}_1x1")
        for place in range(1, convolutions + 1):
            made = activated_convolution(made, width, size, f"{name}_{number}_{place}")
        branches.append(made)
    made = layers.Concatenate(name=f"{name}_concat")(branches)
    return _sum(x, normalised_convolution(made, filters, 1, f"{name}_expand"), name)


def _sum(x: Tensor, made: Tensor, name: str) -> Tensor:
    if x.shape[-1] != made.shape[-1]:
        x = normalised_convolution(x, made.shape[-1], 1, f"{name}_project")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, made]))


def _quarter(filters: int) -> int:
    if filters < 1 or filters % SHARE:
        raise ValueError(f"`filters` of a dense or inception block must be a multiple of {SHARE}. Received {filters}.")
    return filters // SHARE
