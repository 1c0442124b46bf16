"""Up-projection: doubles the resolution by convolving what would be mostly zeros, without touching the zeros."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers, ops

from tfmedcai.layers.blocks import normalised_convolution
from tfmedcai.layers.convolution import normalisation
from tfmedcai.layers.spatial import spatial_convolution

Tensor = keras.KerasTensor
Side = Literal["end", "start"]


def unpooled_convolution(x: Tensor, filters: int, size: int, name: str, side: Side = "end") -> Tensor:
    """Convolves an image of which every pixel became the upper left one of four, the others zero.

    Four convolutions see the pixels that are not zero, one for each place among the four, and their maps are
    interleaved: a quarter of the work, and the same values.

    Args:
        x: `(batch, height, width, channels)`. Where sizes are open, an `Interleave` is used, else plain Keras layers.
        filters: number of output channels.
        size: edge of the kernel on the enlarged image, odd, at least 3; 5 is that of the paper, whose parts are 3x3,
            2x3, 3x2 and 2x2.
        name: what the names of the layers begin with.
        side: where the even kernels are padded. "end" is exact; "start" is what the published TensorFlow weights of
            FCRN were trained with: odd rows and columns then lie one pixel of `x` off.

    Returns:
        `(batch, 2 height, 2 width, filters)`.

    Raises:
        ValueError: if `size` is even or below 3.

    Reference:
        Laina et al., Deeper depth prediction with fully convolutional residual networks, 3DV 2016, section 3.2.

    >>> unpooled_convolution(keras.Input((15, 20, 4)), 6, 5, "up").shape
    (None, 30, 40, 6)
    """
    if size < 3 or size % 2 == 0:
        raise ValueError(f"`size` must be an odd number of px from 3. Received {size}.")
    edges = {phase: _edge(size, phase) for phase in (0, 1)}
    maps = {(row, column): _part(x, filters, (edges[row], edges[column]), f"{name}_{row}{column}", side)
            for row in (0, 1) for column in (0, 1)}  # fmt: skip
    if None in x.shape[1:3]:
        return Interleave(name=f"{name}_interleave")(list(maps.values()))
    height, width = x.shape[1:3]
    # Channels of neighbours side by side in memory are the pixels of a wider image.
    rows = []
    for row in (0, 1):
        pair = layers.Concatenate(name=f"{name}_{row}_columns")([maps[row, 0], maps[row, 1]])
        rows.append(layers.Reshape((height, 2 * width, filters), name=f"{name}_{row}_widen")(pair))
    return layers.Reshape((2 * height, 2 * width, filters), name=f"{name}_heighten")(
        layers.Concatenate(axis=2, name=f"{name}_rows")(rows)
    )


def up_projection(x: Tensor, filters: int, name: str, size: int = 5, side: Side = "end") -> Tensor:
    """Doubles the resolution by an unpooled convolution with a residual branch.

    The first branch is an unpooled convolution, BN, ReLU, 3x3 convolution and BN, the second an unpooled convolution
    and BN; ReLU comes behind their sum.

    Args:
        x: `(batch, height, width, channels)`.
        filters: number of output channels.
        name: what the names of the layers begin with.
        size: edge of the unpooled convolutions in px.
        side: as in `unpooled_convolution`.

    Returns:
        `(batch, 2 height, 2 width, filters)`.

    Reference:
        Laina et al., 3DV 2016, figure 2 (d), fast form.
    """
    first = normalisation(unpooled_convolution(x, filters, size, f"{name}_1", side), f"{name}_1_bn")
    first = layers.ReLU(name=f"{name}_1_relu")(first)
    first = normalised_convolution(first, filters, 3, f"{name}_1_conv", use_bias=True)
    second = normalisation(unpooled_convolution(x, filters, size, f"{name}_2", side), f"{name}_2_bn")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([first, second]))


def summed_skip(x: Tensor, source: Tensor, name: str) -> Tensor:
    """Adds a map of an encoder, brought to the channels of `x` by a 1x1 convolution.

    Args:
        x: `(batch, height, width, channels)`.
        source: `(batch, height, width, any)`.
        name: what the names of the layers begin with.

    Returns:
        The sum, of the shape of `x`.
    """
    return layers.Add(name=f"{name}_add")([x, spatial_convolution(source, x.shape[-1], 1, name)])


def _edge(size: int, phase: int) -> int:
    """Counts the kernel's places over pixels that are not zero, in the even (0) or odd (1) rows of the result."""
    return len(range((size // 2 + phase) % 2, size, 2))


def _part(x: Tensor, filters: int, edges: tuple[int, int], name: str, side: Side) -> Tensor:
    # An even kernel with padding "same" is padded at the end.
    if side == "start" and any(edge % 2 == 0 for edge in edges):
        margins = tuple((edge // 2, (edge - 1) // 2) for edge in edges)
        x = layers.ZeroPadding2D(margins, name=f"{name}_pad")(x)
        return layers.Conv2D(filters, edges, name=name)(x)
    return layers.Conv2D(filters, edges, padding="same", name=name)(x)


@keras.saving.register_keras_serializable("tfmedcai")
class Interleave(layers.Layer):
    """Makes of four maps one of twice their size: the values of pixels 00, 01, 10 and 11 of every two by two."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Takes four `(batch, height, width, channels)`."""
        shape: Any = ops.shape(inputs[0])
        batch, height, width, channels = shape
        rows = [ops.reshape(ops.stack(inputs[k : k + 2], axis=3), (batch, height, 2 * width, channels)) for k in (0, 2)]
        return ops.reshape(ops.stack(rows, axis=2), (batch, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Doubles the known sizes."""
        batch, height, width, channels = input_shape[0]
        return (batch, height and 2 * height, width and 2 * width, channels)
