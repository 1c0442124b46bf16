"""The volumetric network of V-NAS: a ResNet-50-like encoder and a dense decoder, each cell with kernels of its own."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from tfmedcai.layers.trilinear_upsampling import TrilinearUpsampling
from tfmedcai.layers.volumetric_cells import EXPANSION, PLANE, POINT, bottleneck, dense_features, shortcut
from tfmedcai.layers.volumetric_convolution import volumetric_convolution
from tfmedcai.layers.volumetric_normalisation import activated
from tfmedcai.layers.volumetric_pooling import pyramid_pooling, volumetric_max_pooling
from tfmedcai.search_spaces.volumetric import STAGES, VolumetricCode

Tensor = keras.KerasTensor
# (input, filters, place of the cell in the code, name) -> what is added to the shortcut, or appended to the input
Cell = Callable[[Tensor, int, int, str], Tensor]

MULTIPLE = 32  # sizes that the encoder halves without remainder [voxel]
WINDOWS = (8, 16, 32)  # of the pyramid, at half the resolution: the largest square is as wide as the paper's patches


def volumetric_net(
    code: VolumetricCode,
    *,
    input_shape: tuple[int, int, int, int] = (64, 64, 64, 1),
    outputs: int = 2,
    per_pixel: bool = True,
    width: int = 64,
) -> keras.Model:
    """Builds the network of a code.

    Stem of 7x7x1 and 1x1x3, four stages of bottleneck cells, five dense blocks with sums of encoder features between
    them, pyramid pooling, a 3x3x1 convolution. The third axis of the input is the one across the slices of a scan.

    Args:
        code: kernels of the cells.
        input_shape: (height, width, depth, channels) of a patch of any size [voxel]; zeros are put around it up to a
            multiple of 32.
        outputs: number of classes, or of values to regress.
        per_pixel: logits of every voxel; or else one vector of values for the whole patch.
        width: channels of the stem, which all other numbers of channels follow; the paper has 64.

    Returns:
        Functional model `(batch, height, width, depth, channels)` -> `(batch, height, width, depth, outputs)` or
        `(batch, outputs)`.

    Raises:
        ValueError: if a size is not positive or `width` is below 4.

    Reference:
        V-NAS, section 3; Liu et al., 3D anisotropic hybrid network, MICCAI 2018.

    >>> code = VolumetricCode.uniform("P3D", "2D")
    >>> volumetric_net(code, input_shape=(40, 32, 20, 1), outputs=3, width=4).output_shape
    (None, 40, 32, 20, 3)
    """

    def cell(x: Tensor, filters: int, place: int, name: str) -> Tensor:
        return bottleneck(x, filters, code.encoder[place], name)

    def block(x: Tensor, growth: int, place: int, name: str) -> Tensor:
        return dense_features(x, growth, code.decoder[place], name)

    image, features = volumetric_features(cell, block, input_shape=input_shape, width=width)
    result = volumetric_head(image, features, outputs=outputs, per_pixel=per_pixel)
    return keras.Model(image, result, name="volumetric_net")


def volumetric_features(
    cell: Cell, block: Cell, *, input_shape: tuple[int, int, int, int], width: int
) -> tuple[Tensor, Tensor]:
    """Builds all but the head, around cells and blocks made by the caller.

    Args:
        cell: makes what is added to the shortcut of an encoder cell, of four times the given number of channels.
        block: makes what is appended to the input of a decoder block, of three times the given number of channels.
        input_shape: (height, width, depth, channels) of a patch [voxel].
        width: channels of the stem.

    Returns:
        The input and the features `(batch, depth / 2, height / 2, width / 2, channels)`.

    Raises:
        ValueError: if a size is not positive or `width` is below 4.
    """
    if len(input_shape) != 4 or min(input_shape) < 1 or width < 4:
        raise ValueError(
            "`input_shape` must be (height, width, depth, channels), all positive, and `width` at least 4 channels. "
            f"Received {tuple(input_shape)} and {width}."
        )
    image = keras.Input(input_shape, name="image")
    stem, pooled = _stem(_padded(layers.Permute((3, 1, 2, 4), name="planes")(image)), width)
    maps, place, x = [], 0, pooled
    for stage, count in enumerate(STAGES, start=1):
        filters = width * 2 ** (stage - 1)
        if stage > 1:
            x = _down(x, EXPANSION * filters, f"down_{stage - 1}")
        for number in range(1, count + 1):
            name = f"encoder_{stage}_{number}"
            x = layers.Add(name=f"{name}_sum")([cell(x, filters, place, name), shortcut(x, EXPANSION * filters, name)])
            x = layers.ReLU(name=f"{name}_relu")(x)
            place += 1
        maps.append(x)
    growth = width * 5 // 16
    for place, skip in enumerate((maps[2], maps[1], maps[0], pooled, stem)):
        x = _projected(x, skip, f"up_{place + 1}")
        name = f"decoder_{place + 1}"
        x = layers.Concatenate(name=name)([x, block(x, growth, place, name)])
    return image, pyramid_pooling(x, WINDOWS, "pyramid")


def volumetric_head(image: Tensor, features: Tensor, *, outputs: int, per_pixel: bool) -> Tensor:
    """Builds the logits of every voxel of the image, or one vector of values.

    Args:
        image: the input.
        features: what `volumetric_features` returned with it.
        outputs: number of classes, or of values to regress.
        per_pixel: which of the two.

    Returns:
        `(batch, height, width, depth, outputs)` or `(batch, outputs)`.

    Raises:
        ValueError: if `outputs` is not positive.
    """
    if outputs < 1:
        raise ValueError(f"`outputs` must be at least 1. Received {outputs}.")
    x = activated(features, "head")
    if not per_pixel:
        return layers.Dense(outputs, name="values")(layers.GlobalAveragePooling3D(name="features")(x))
    x = volumetric_convolution(x, outputs, PLANE, "head")
    x = TrilinearUpsampling(name="head_up")(x)
    height, width, depth, _ = image.shape[1:]
    margins = _margins((depth, height, width))
    if any(map(any, margins)):
        x = layers.Cropping3D(margins, name="crop")(x)
    return layers.Permute((2, 3, 1, 4), name="logits")(x)


def _margins(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    surplus = [-size % MULTIPLE for size in sizes]
    return [(extra // 2, extra - extra // 2) for extra in surplus]


def _padded(x: Tensor) -> Tensor:
    margins = _margins(x.shape[1:4])
    return layers.ZeroPadding3D(margins, name="pad")(x) if any(map(any, margins)) else x


def _stem(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Returns features at half and at a quarter of the resolution."""
    x = volumetric_convolution(x, width, (1, 7, 7), "stem_plane", strides=(1, 2, 2))
    x = volumetric_max_pooling(x, (2, 1, 1), (2, 1, 1), "stem_pool")
    x = volumetric_convolution(x, width, (3, 1, 1), "stem")
    x = activated(x, "stem")
    return x, volumetric_max_pooling(x, (3, 3, 3), (2, 2, 2), "pool")


def _down(x: Tensor, filters: int, name: str) -> Tensor:
    x = volumetric_convolution(x, filters, POINT, name, strides=(1, 2, 2))
    x = volumetric_max_pooling(x, (2, 1, 1), (2, 1, 1), f"{name}_pool")
    return activated(x, name)


def _projected(x: Tensor, skip: Tensor, name: str) -> Tensor:
    """Brings a tensor to channels and resolution of an encoder tensor and adds the two."""
    factor = skip.shape[1] // x.shape[1]
    x = volumetric_convolution(activated(x, name), skip.shape[-1], POINT, name)
    if factor > 1:
        x = TrilinearUpsampling((factor,) * 3, name=f"{name}_trilinear")(x)
    return layers.Add(name=f"{name}_sum")([x, skip])
