"""The searched parts of a volumetric network: bottleneck cells of the encoder, dense blocks of the decoder."""

from __future__ import annotations

import keras
from keras import layers

from tfmedcai.layers.fused_normalisation import activated, fused_normalisation
from tfmedcai.layers.volumetric_convolution import volumetric_convolution

Tensor = keras.KerasTensor
Size = tuple[int, int, int]

POINT: Size = (1, 1, 1)
PLANE: Size = (1, 3, 3)
LINE: Size = (3, 1, 1)
CUBE: Size = (3, 3, 3)

# Kernel -> sizes of the convolutions X and Y
ENCODER_SIZES: dict[str, tuple[Size, Size]] = {"2D": (PLANE, POINT), "3D": (CUBE, POINT), "P3D": (PLANE, LINE)}
DECODER_SIZES: dict[str, tuple[Size, Size]] = {"2D": (PLANE, PLANE), "3D": (CUBE, CUBE), "P3D": (PLANE, LINE)}

EXPANSION = 4  # outputs per inner channel of a bottleneck
DENSE_LAYERS = 3  # of a decoder block


def bottleneck(x: Tensor, filters: int, kernel: str, name: str) -> Tensor:
    """Applies Conv 1x1x1 - Conv X - Conv Y, each with batch normalisation, ReLU behind the first two.

    Args:
        x: `(batch, depth, height, width, channels)`.
        filters: inner channels.
        kernel: "2D", "3D" or "P3D".
        name: what the names of the layers begin with.

    Returns:
        `(batch, depth, height, width, 4 * filters)`, to be added to the shortcut of the cell.

    Reference:
        V-NAS, section 3.2; He et al., Deep residual learning, CVPR 2016.
    """
    x = volumetric_convolution(x, filters, POINT, f"{name}_in")
    return expanded(activated(x, f"{name}_in"), kernel, name)


def expanded(x: Tensor, kernel: str, name: str) -> Tensor:
    """Applies Conv X - BN - ReLU - Conv Y - BN, the part of `bottleneck` that kernels differ in.

    Args:
        x: `(batch, depth, height, width, filters)`.
        kernel: "2D", "3D" or "P3D".
        name: what the names of the layers begin with.

    Returns:
        `(batch, depth, height, width, 4 * filters)`.
    """
    first, second = ENCODER_SIZES[kernel]
    filters = x.shape[-1]
    x = activated(volumetric_convolution(x, filters, first, f"{name}_x"), f"{name}_x")
    x = volumetric_convolution(x, EXPANSION * filters, second, f"{name}_y")
    return fused_normalisation(x, f"{name}_y_bn")


def shortcut(x: Tensor, filters: int, name: str) -> Tensor:
    """Passes a tensor on, or brings it to the channels of the cell with a convolution and batch normalisation.

    Args:
        x: `(batch, depth, height, width, channels)`.
        filters: channels of the cell.
        name: what the names of the layers begin with.

    Returns:
        `(batch, depth, height, width, filters)`.
    """
    if x.shape[-1] == filters:
        return x
    return fused_normalisation(volumetric_convolution(x, filters, POINT, f"{name}_shortcut"), f"{name}_shortcut_bn")


def dense_features(x: Tensor, growth: int, kernel: str, name: str) -> Tensor:
    """Computes the features that a dense block appends to its input.

    Each of three layers sees the input and the features of the layers before it: Conv 1x1x1 to four times the growth,
    Conv X giving u, Conv Y giving v, Conv 1x1x1 of u + v; batch normalisation and ReLU before every convolution.

    Args:
        x: `(batch, depth, height, width, channels)`.
        growth: channels of a layer.
        kernel: "2D", "3D" or "P3D".
        name: what the names of the layers begin with.

    Returns:
        `(batch, depth, height, width, 3 * growth)`.

    Reference:
        V-NAS, section 3.3; Liu et al., 3D anisotropic hybrid network, MICCAI 2018.
    """
    first, second = DECODER_SIZES[kernel]
    features = [x]
    for number in range(1, DENSE_LAYERS + 1):
        layer = f"{name}_{number}"
        seen = layers.Concatenate(name=f"{layer}_seen")(features) if number > 1 else x
        y = volumetric_convolution(activated(seen, f"{layer}_in"), EXPANSION * growth, POINT, f"{layer}_in")
        u = volumetric_convolution(activated(y, f"{layer}_x"), growth, first, f"{layer}_x")
        v = volumetric_convolution(activated(u, f"{layer}_y"), growth, second, f"{layer}_y")
        y = activated(layers.Add(name=f"{layer}_sum")([u, v]), f"{layer}_out")
        features.append(volumetric_convolution(y, growth, POINT, f"{layer}_out"))
    return layers.Concatenate(name=f"{name}_features")(features[1:])
