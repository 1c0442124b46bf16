"""The operations of DARTS on the edges of a cell, of plain Keras layers; strided ones are centred on even pixels."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from tfmedcai.layers.convolution import normalisation

Tensor = keras.KerasTensor
Start = str | keras.initializers.Initializer
Normalise = Callable[[Tensor, str], Tensor]  # (input, name of the layer) -> output


def separable(x: Tensor, filters: int, size: int, stride: int, name: str) -> Tensor:
    """Applies ReLU - depthwise Conv - Conv 1x1 - BN twice, the stride in the first.

    Args:
        x: `(batch, height, width, filters)`.
        filters: number of channels.
        size: edge of the depthwise kernels in px.
        stride: 1 or 2.
        name: what the names of the layers begin with.

    Returns:
        `(batch, height, width, filters)`, both sizes divided by the stride and rounded up.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, section 3.1.
    """
    for part, step in (("1", stride), ("2", 1)):
        x = layers.ReLU(name=f"{name}_relu{part}")(x)
        x = depthwise(x, size, step, f"{name}_dw{part}")
        x = _pointwise(x, filters, f"{name}_pw{part}")
    return x


def dilated(x: Tensor, filters: int, size: int, stride: int, name: str) -> Tensor:
    """Applies ReLU - depthwise Conv of dilation 2 - Conv 1x1 - BN; arguments and result as of `separable`."""
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = dilated_depthwise(x, size, stride, f"{name}_dw")
    return _pointwise(x, filters, f"{name}_pw")


def factorised_reduction(x: Tensor, filters: int, normalise: Normalise, name: str) -> Tensor:
    """Halves the resolution by ReLU and two convolutions 1x1 of stride 2, one on even, one on odd pixels, then BN.

    Args:
        x: `(batch, height, width, channels)`.
        filters: number of output channels; even.
        normalise: the normalisation.
        name: what the names of the layers begin with.

    Returns:
        `(batch, height, width, filters)`, both sizes halved and rounded up.
    """
    x = layers.ReLU(name=f"{name}_relu")(x)
    halves = [
        layers.Conv2D(filters // 2, 1, use_bias=False, name=f"{name}_{part}")(pixels)
        for part, pixels in even_and_odd_pixels(x, name).items()
    ]
    return normalise(layers.Concatenate(name=f"{name}_concat")(halves), f"{name}_bn")


def max_pool(x: Tensor, stride: int, name: str) -> Tensor:
    """Applies max pooling 3x3; arguments and result as of `separable`."""
    if stride == 1:
        return layers.MaxPooling2D(3, 1, padding="same", name=name)(x)
    # TensorFlow pads even sizes at the end only, which would centre the windows on odd pixels. Copies of the rows and
    # columns at the border change no maximum, and move the windows.
    for axis in (1, 2):
        size = x.shape[axis]
        ends = [("first", (0, size - 1))] + [("last", (size - 1, 0))] * (size % 2)
        copies = [_cropped(x, axis, crop, f"{name}_{end}{axis}") for end, crop in ends]
        x = layers.Concatenate(axis, name=f"{name}_pad{axis}")([copies[0], x, *copies[1:]])
    return layers.MaxPooling2D(3, 2, name=name)(x)


def average_pool(x: Tensor, stride: int, name: str) -> Tensor:
    """Applies average pooling 3x3; pixels outside the map do not count; arguments as of `separable`."""
    x = layers.AveragePooling2D(3, 1, padding="same", name=name)(x)
    return x if stride == 1 else even_pixels(x, f"{name}_even")


def depthwise(x: Tensor, size: int, stride: int, name: str, start: Start = "glorot_uniform") -> Tensor:
    """Applies a depthwise convolution, with stride 2 centred on even pixels.

    Args:
        x: `(batch, height, width, channels)`.
        size: edge of the kernel in px, odd.
        stride: 1 or 2.
        name: name of the layer.
        start: initialises the kernels.

    Returns:
        `(batch, height, width, channels)`, both sizes divided by the stride and rounded up.
    """
    padding = "same" if stride == 1 else "valid"
    if stride == 2:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    options = {"use_bias": False, "depthwise_initializer": start, "name": name}
    return layers.DepthwiseConv2D(size, stride, padding, **options)(x)


def dilated_depthwise(x: Tensor, size: int, stride: int, name: str, start: Start = "glorot_uniform") -> Tensor:
    """Applies a depthwise convolution of dilation 2; arguments and result as of `depthwise`."""
    if stride == 2:
        # With stride and dilation 2 it reads even pixels only, on which it is a common convolution.
        return depthwise(even_pixels(x, f"{name}_even"), size, 1, name, start)
    options = {"use_bias": False, "depthwise_initializer": start, "name": name}
    return layers.DepthwiseConv2D(size, padding="same", dilation_rate=2, **options)(x)


def even_pixels(x: Tensor, name: str) -> Tensor:
    """Returns every second row and column of `(batch, height, width, channels)`, the first ones included."""
    return layers.AveragePooling2D(1, 2, name=name)(x)


def even_and_odd_pixels(x: Tensor, name: str) -> dict[str, Tensor]:
    """Returns every second row and column from the first on, and from the second on.

    What follows is a convolution of stride 1: the gradient of one of 1x1 and stride 2 to its kernel, of fewer than 8
    channels, writes beside its memory in oneDNN.

    Args:
        x: `(batch, height, width, channels)`.
        name: what the names of the layers begin with.

    Returns:
        "even" and "odd" of `(batch, height, width, channels)`, both sizes halved and rounded up.
    """
    return {
        "even": even_pixels(x, f"{name}_even_pixels"),
        "odd": even_pixels(odd_pixels(x, name), f"{name}_odd_pixels"),
    }


def odd_pixels(x: Tensor, name: str) -> Tensor:
    """Moves odd rows and columns to even places, where a stride of 2 reads them; behind odd sizes comes a zero.

    Args:
        x: `(batch, height, width, channels)`.
        name: what the names of the layers begin with.

    Returns:
        `(batch, height, width, channels)` of even sizes.
    """
    odd_sizes = (x.shape[1] % 2, x.shape[2] % 2)
    x = layers.Cropping2D([(1, 0), (1, 0)], name=f"{name}_crop")(x)
    if any(odd_sizes):
        x = layers.ZeroPadding2D([(0, odd_sizes[0]), (0, odd_sizes[1])], name=f"{name}_pad")(x)
    return x


def _cropped(x: Tensor, axis: int, crop: tuple[int, int], name: str) -> Tensor:
    return layers.Cropping2D([crop, (0, 0)] if axis == 1 else [(0, 0), crop], name=name)(x)


def _pointwise(x: Tensor, filters: int, name: str) -> Tensor:
    x = layers.Conv2D(filters, 1, use_bias=False, name=name)(x)
    return normalisation(x, f"{name}_bn")
