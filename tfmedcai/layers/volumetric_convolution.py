"""Convolution of volumes that lie in memory plane by plane, made of products and convolutions of planes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

Tensor = keras.KerasTensor

# Below this number of voxels, moving the kernel into another form costs more than that form saves.
FEW_VOXELS = 256
# From so many filters an input channel on, the planes around become input channels: less is moved in memory so.
MANY = 2


@keras.saving.register_keras_serializable("tfmedcai")
class VolumetricConvolution(layers.Conv3D):
    """`keras.layers.Conv3D` with the same weights and results, several times as fast in a training step on a CPU.

    The first of the three axes of a kernel runs across the planes. A kernel of one voxel is a product of matrices. One
    that goes straight across convolves columns. One with extents in the plane convolves planes as a batch of images:
    its taps across become output channels, the results of which are added with a shift, or the planes around become
    input channels. Gradients of such shifts are given by hand, since TensorFlow's own pads every part. Strides across
    planes, dilation, groups and volumes of few voxels are left to Conv3D.

    Input: `(batch, depth, height, width, channels)` with fixed sizes but for the batch.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves; see `keras.layers.Conv3D`."""
        sizes, edges, strides = inputs.shape[1:4], self.kernel_size, self.strides
        same = self.padding == "same" and self.data_format == "channels_last" and None not in sizes
        if not same or self.groups > 1 or set(self.dilation_rate) != {1} or strides[0] > 1:
            return super().convolution_op(inputs, kernel)
        if set(edges) | set(strides) == {1}:
            return _product(inputs, kernel)
        if set(edges) == {1} and strides == (1, 2, 2) and not (sizes[1] % 2 or sizes[2] % 2):
            return _product(_every_second(inputs), kernel)
        if math.prod(sizes) < FEW_VOXELS:
            return super().convolution_op(inputs, kernel)
        if edges[0] == 1:
            return _planes(inputs, ops.reshape(kernel, kernel.shape[1:]), strides[1:])
        odd = all(edge % 2 and edge // 2 < extent for edge, extent in zip(edges, sizes, strict=True))
        if odd and set(strides) == {1}:
            return _columns(inputs, kernel) if edges[1:] == (1, 1) else _across(inputs, kernel)
        return super().convolution_op(inputs, kernel)


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


def _product(x: Any, kernel: Any) -> Any:
    return ops.matmul(x, ops.reshape(kernel, kernel.shape[3:]))


def _every_second(x: Any) -> Any:
    """Keeps every second row and column; the gradient of a split is a concatenation, that of a stride is slow."""
    _, depth, height, width, channels = x.shape
    rows = ops.split(ops.reshape(x, (-1, 2 * width * channels)), 2, axis=1)[0]
    columns = ops.split(ops.reshape(rows, (-1, 2 * channels)), 2, axis=1)[0]
    return ops.reshape(columns, (-1, depth, height // 2, width // 2, channels))


def _planes(x: Any, kernel: Any, strides: tuple[int, int] = (1, 1)) -> Any:
    planes = ops.reshape(x, (-1, *x.shape[2:]))
    planes = ops.conv(planes, kernel, strides=strides, padding="same", data_format="channels_last")
    return ops.reshape(planes, (-1, x.shape[1], *planes.shape[1:]))


def _columns(x: Any, kernel: Any) -> Any:
    columns = ops.reshape(x, (-1, x.shape[1], x.shape[2] * x.shape[3], x.shape[4]))
    kernel = ops.reshape(kernel, (kernel.shape[0], 1, *kernel.shape[3:]))
    columns = ops.conv(columns, kernel, padding="same", data_format="channels_last")
    return ops.reshape(columns, (-1, *x.shape[1:4], kernel.shape[-1]))


def _across(x: Any, kernel: Any) -> Any:
    count, *plane, channels, filters = kernel.shape
    summed, shifted = _shifts(count)
    if filters >= MANY * channels:
        kernel = ops.transpose(ops.flip(kernel, axis=0), (1, 2, 0, 3, 4))
        return _planes(shifted(x), ops.reshape(kernel, (*plane, count * channels, filters)))
    kernel = ops.transpose(kernel, (1, 2, 3, 0, 4))
    return summed(_planes(x, ops.reshape(kernel, (*plane, channels, count * filters))))


def _shifts(count: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Returns two functions, each of which is the other's gradient.

    One adds `count` groups of channels, each shifted across the planes by its place; the other makes such groups, each
    of all channels, shifted the other way.
    """
    reach = count // 2

    def padded(x: Any) -> Any:
        return ops.pad(x, [(0, 0), (reach, reach), (0, 0), (0, 0), (0, 0)])

    def part(x: Any, start: int, channel: int, sizes: list[int]) -> Any:
        """Cuts a part out of what is padded: one operation, since a network has hundreds of these."""
        return tf.slice(x, [0, start, 0, 0, channel], [-1, *sizes])

    @ops.custom_gradient
    def summed(groups: Any) -> Any:
        *sizes, channels = groups.shape[1:]
        each, around = channels // count, padded(groups)
        total = tf.add_n([part(around, place, place * each, [*sizes, each]) for place in range(count)])
        return total, shifted

    @ops.custom_gradient
    def shifted(x: Any) -> Any:
        around, sizes = padded(x), x.shape[1:]
        groups = tf.concat([part(around, 2 * reach - place, 0, sizes) for place in range(count)], axis=-1)
        return groups, summed

    return summed, shifted
