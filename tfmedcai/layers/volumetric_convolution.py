"""Convolution of volumes that lie in memory plane by plane, made of convolutions of planes: faster than Conv3D."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

Tensor = keras.KerasTensor

# Below this number of positions, moving the kernel into the form for planes costs more than the planes save.
FEW_POSITIONS = 256


@keras.saving.register_keras_serializable("tfmedcai")
class VolumetricConvolution(layers.Conv3D):
    """`keras.layers.Conv3D` with the same weights and results, two to five times as fast in a training step on a CPU.

    The first of the three axes of a kernel runs across the planes. A kernel of one position is a product of matrices,
    one that stays in the plane convolves the planes as a batch of images, one that goes straight across convolves
    columns. A kernel with all three extents convolves planes once, with the kernel's planes side by side as channels,
    and adds the results shifted; its gradient is then the gradient of one convolution of planes as well. Strides across
    planes, dilation, groups and kernels larger than the volume are left to Conv3D.

    Input: `(batch, depth, height, width, channels)` with fixed sizes but for the batch.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves; see `keras.layers.Conv3D`."""
        size, strides = self.kernel_size, self.strides
        plain = self.padding != "same" or self.groups > 1 or set(self.dilation_rate) != {1} or strides[0] > 1
        if plain or self.data_format != "channels_last" or None in inputs.shape[1:]:
            return super().convolution_op(inputs, kernel)
        if set(size) | set(strides) == {1}:
            return ops.matmul(inputs, kernel[0, 0, 0])
        if size[0] == 1:
            return _planes(inputs, kernel[0], strides[1:])
        if set(strides) != {1} or size[0] % 2 == 0:
            return super().convolution_op(inputs, kernel)
        if size[1:] == (1, 1):
            return _columns(inputs, kernel[:, :, 0])
        if math.prod(inputs.shape[1:4]) < FEW_POSITIONS or size[0] // 2 >= inputs.shape[1]:
            return super().convolution_op(inputs, kernel)
        return _shifted_planes(inputs, kernel)


def volumetric_convolution(
    x: Tensor, filters: int, size: tuple[int, int, int], name: str, strides: tuple[int, int, int] = (1, 1, 1)
) -> Tensor:
    """Applies a convolution without bias, padding "same", weights drawn after He.

    Args:
        x: `(batch, depth, height, width, channels)`.
        filters: number of output channels.
        size: edges of the kernel across planes, down and along a plane [voxel].
        name: name of the layer.
        strides: steps in the same order [voxel].

    Returns:
        `(batch, depth / stride, height / stride, width / stride, filters)`.

    >>> volumetric_convolution(keras.Input((4, 8, 8, 2)), 6, (1, 3, 3), "conv", strides=(1, 2, 2)).shape
    (None, 4, 4, 4, 6)
    """
    return VolumetricConvolution(
        filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def _planes(x: Any, kernel: Any, strides: tuple[int, int] = (1, 1)) -> Any:
    planes = ops.reshape(x, (-1, *x.shape[2:]))
    planes = ops.conv(planes, kernel, strides=strides, padding="same", data_format="channels_last")
    return ops.reshape(planes, (-1, x.shape[1], *planes.shape[1:]))


def _columns(x: Any, kernel: Any) -> Any:
    columns = ops.reshape(x, (-1, x.shape[1], x.shape[2] * x.shape[3], x.shape[4]))
    columns = ops.conv(columns, kernel, padding="same", data_format="channels_last")
    return ops.reshape(columns, (-1, *x.shape[1:4], kernel.shape[-1]))


def _shifted_planes(x: Any, kernel: Any) -> Any:
    side_by_side = ops.reshape(ops.transpose(kernel, (1, 2, 3, 0, 4)), (*kernel.shape[1:4], -1))
    return _shifted_sum(kernel.shape[0])(_planes(x, side_by_side))


def _shifted_sum(count: int) -> Any:
    """Returns the function that adds `count` groups of channels, each shifted by its place across the planes.

    The gradient is given by hand: TensorFlow's own one pads every part to the full size before it adds them.
    """
    shifts = [count // 2 - place for place in range(count)]

    @ops.custom_gradient
    def shifted_sum(groups: Any) -> Any:
        parts = ops.split(groups, count, axis=-1)
        total = sum((_shift(part, by) for part, by in zip(parts, shifts, strict=True) if by), start=parts[count // 2])
        return total, lambda upstream: ops.concatenate([_shift(upstream, -by) for by in shifts], axis=-1)

    return shifted_sum


def _shift(x: Any, by: int) -> Any:
    """Moves the planes of `(batch, depth, ...)` by `by` places to the back and fills with zeros."""
    if by == 0:
        return x
    depth = x.shape[1]
    empty = ops.zeros_like(x[:, : abs(by)])
    return ops.concatenate([empty, x[:, : depth - by]] if by > 0 else [x[:, -by:], empty], axis=1)
