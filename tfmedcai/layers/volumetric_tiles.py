"""Convolutions that halve or double a volume in tiles of 2x2x2 voxels, as one product of matrices."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = keras.KerasTensor


@keras.saving.register_keras_serializable("tfmedcai")
class TiledConvolution(layers.Conv3D):
    """`keras.layers.Conv3D` with the same weights and results, for strides as long as the kernel.

    Input: `(batch, depth, height, width, channels)`, sizes fixed but for the batch; those that are no multiples of the
    kernel are left to Conv3D, as are dilation and groups.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves; see `keras.layers.Conv3D`."""
        sizes, edges = inputs.shape[1:4], self.kernel_size
        tiled = edges == self.strides and self.groups == 1 and self.data_format == "channels_last"
        if not tiled or None in sizes or any(size % edge for size, edge in zip(sizes, edges, strict=True)):
            return super().convolution_op(inputs, kernel)
        counts = [size // edge for size, edge in zip(sizes, edges, strict=True)]
        pairs = [number for pair in zip(counts, edges, strict=True) for number in pair]
        tiles = ops.transpose(ops.reshape(inputs, (-1, *pairs, inputs.shape[-1])), (0, 1, 3, 5, 2, 4, 6, 7))
        rows = ops.reshape(tiles, (-1, kernel.shape[0] * kernel.shape[1] * kernel.shape[2] * kernel.shape[3]))
        made = ops.matmul(rows, ops.reshape(kernel, (-1, kernel.shape[-1])))
        return ops.reshape(made, (-1, *counts, kernel.shape[-1]))


@keras.saving.register_keras_serializable("tfmedcai")
class TiledTransposedConvolution(layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with the same weights and results, for strides as long as the kernel.

    Input: `(batch, depth, height, width, channels)`, sizes fixed but for the batch.
    """

    def call(self, inputs: Any) -> Any:
        """Convolves; see `keras.layers.Conv3DTranspose`."""
        sizes, edges = inputs.shape[1:4], self.kernel_size
        plain = self.output_padding is not None or self.activation is not keras.activations.linear
        if plain or edges != self.strides or self.data_format != "channels_last" or None in sizes:
            return super().call(inputs)
        matrix = ops.reshape(ops.transpose(self.kernel, (4, 0, 1, 2, 3)), (inputs.shape[-1], -1))
        tiles = ops.reshape(ops.matmul(inputs, matrix), (-1, *sizes, *edges, self.filters))
        grid = [size * edge for size, edge in zip(sizes, edges, strict=True)]
        made = ops.reshape(ops.transpose(tiles, (0, 1, 4, 2, 5, 3, 6, 7)), (-1, *grid, self.filters))
        return made + self.bias if self.use_bias else made


def halving_convolution(x: Tensor, filters: int, name: str) -> Tensor:
    """Applies a 2x2x2 convolution of stride 2 with bias.

    Args:
        x: `(batch, depth, height, width, channels)`.
        filters: number of output channels.
        name: name of the layer.

    Returns:
        `(batch, depth / 2, height / 2, width / 2, filters)`.
    """
    options = {"strides": 2, "padding": "same", "kernel_initializer": "he_normal", "name": name}
    return TiledConvolution(filters, 2, **options)(x)


def doubling_convolution(x: Tensor, filters: int, name: str, use_bias: bool = True) -> Tensor:
    """Applies a transposed 2x2x2 convolution of stride 2.

    Args:
        x: `(batch, depth, height, width, channels)`.
        filters: number of output channels.
        name: name of the layer.
        use_bias: whether a number is added to each channel.

    Returns:
        `(batch, 2 * depth, 2 * height, 2 * width, filters)`.
    """
    # Every output voxel sees one input voxel: He's rule for this fan, which Keras would count as eight.
    start = keras.initializers.RandomNormal(stddev=(2 / x.shape[-1]) ** 0.5)
    options = {"strides": 2, "padding": "same", "kernel_initializer": start, "use_bias": use_bias, "name": name}
    return TiledTransposedConvolution(filters, 2, **options)(x)
