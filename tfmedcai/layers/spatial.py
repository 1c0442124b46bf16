"""Layers that Keras has once for images and once for volumes, chosen by rank; padding to a total stride."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = keras.KerasTensor

CONVOLUTION = {4: layers.Conv2D, 5: layers.Conv3D}
POOLING = {4: layers.MaxPooling2D, 5: layers.MaxPooling3D}
UPSAMPLING = {4: layers.UpSampling2D, 5: layers.UpSampling3D}
PADDING = {4: layers.ZeroPadding2D, 5: layers.ZeroPadding3D}
CROPPING = {4: layers.Cropping2D, 5: layers.Cropping3D}


def spatial_convolution(x: Tensor, filters: int, size: int, name: str, **options: Any) -> Tensor:
    """Convolves with padding "same", without bias unless the options ask for one.

    Args:
        x: `(batch, *spatial, channels)`, an image or a volume.
        filters: number of output channels.
        size: edge of the kernel in px.
        name: name of the layer.
        options: of `keras.layers.Conv2D`.

    Returns:
        `(batch, *spatial, filters)`.

    >>> spatial_convolution(keras.Input((8, 8, 4, 1)), filters=6, size=3, name="conv").shape
    (None, 8, 8, 4, 6)
    """
    options = {"padding": "same", "use_bias": False} | options
    return CONVOLUTION[len(x.shape)](filters, size, name=name, **options)(x)


def halved(x: Tensor, name: str) -> Tensor:
    """Halves the resolution of `(batch, *spatial, channels)` by max pooling."""
    return POOLING[len(x.shape)](2, name=name)(x)


def doubled(x: Tensor, name: str) -> Tensor:
    """Doubles the resolution of `(batch, *spatial, channels)` by repeating every value."""
    return UPSAMPLING[len(x.shape)](2, name=name)(x)


def enlarged(x: Tensor, factor: int, name: str) -> Tensor:
    """Multiplies the resolution: bilinearly for images; for volumes, for which Keras has no other layer, by repeating.

    Args:
        x: `(batch, *spatial, channels)`.
        factor: 1 returns `x` itself.
        name: name of the layer.

    Returns:
        `(batch, *spatial times factor, channels)`.
    """
    if factor == 1:
        return x
    options = {"interpolation": "bilinear"} if len(x.shape) == 4 else {}
    return UPSAMPLING[len(x.shape)](factor, name=name, **options)(x)


def padded(x: Tensor, multiple: int, name: str = "pad") -> Tensor:
    """Appends zeros at the end of every axis, up to the next multiple of a size.

    Args:
        x: `(batch, *spatial, channels)`. An image of known size is padded by a plain Keras layer, or by none; volumes
            and open sizes by a `PadToMultiple`, which looks at each batch.
        multiple: what every size shall be a multiple of, in px.
        name: name of the layer.

    Returns:
        `(batch, *spatial, channels)` with sizes that are multiples.
    """
    margins = [None if size is None else -size % multiple for size in x.shape[1:-1]]
    if multiple == 1 or not any(margin != 0 for margin in margins):
        return x
    if None in margins or len(margins) == 3:
        return PadToMultiple(multiple, name=name)(x)
    return layers.ZeroPadding2D([(0, margin) for margin in margins], name=name)(x)


def cropped(x: Tensor, image: Tensor, canvas: Tensor, name: str = "crop") -> Tensor:
    """Takes off what `padded` appended.

    Args:
        x: `(batch, *spatial, channels)`, as large as the canvas.
        image: the image before padding.
        canvas: what `padded` made of it.
        name: name of the layer.

    Returns:
        `(batch, *spatial, channels)` with the sizes of the image.
    """
    if canvas is image:
        return x
    if None in image.shape[1:-1]:
        return CropLike(name=name)([x, image])
    margins = tuple((0, large - small) for large, small in zip(canvas.shape[1:-1], image.shape[1:-1], strict=True))
    return CROPPING[len(x.shape)](margins, name=name)(x)


@keras.saving.register_keras_serializable("tfmedcai")
class PadToMultiple(layers.Layer):
    """Appends zeros to images or volumes of any size, up to the next multiple of a size.

    Zeros are concatenated: of a padding and the convolution of a volume after it TensorFlow 2.21 with oneDNN makes one
    operation in graphs without gradients, which forgets the convolution's own padding.

    Args:
        multiple: what every size shall be a multiple of, in px.
        options: of `keras.layers.Layer`.
    """

    def __init__(self, multiple: int, **options: Any) -> None:
        super().__init__(**options)
        self.multiple = multiple

    def call(self, inputs: Tensor) -> Tensor:
        """Pads `(batch, *spatial, channels)`."""
        x: Any = inputs
        for axis in range(1, len(x.shape) - 1):
            shape = list(ops.shape(x))
            shape[axis] = -shape[axis] % self.multiple
            x = ops.concatenate([x, ops.zeros(shape, x.dtype)], axis)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Rounds the known sizes up."""
        sizes = (size and size + -size % self.multiple for size in input_shape[1:-1])
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the layer again."""
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable("tfmedcai")
class CropLike(layers.Layer):
    """Crops the end of a tensor to the size of an image: takes `[tensor, image]`."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Crops `(batch, *spatial, channels)`."""
        tensor, image = inputs
        shape: Any = ops.shape(image)
        return tensor[(slice(None), *(slice(size) for size in shape[1:-1]))]

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Takes the sizes of the image and the channels of the tensor."""
        tensor, image = input_shape
        return (*image[:-1], tensor[-1])
