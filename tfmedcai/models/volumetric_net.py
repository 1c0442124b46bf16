"""The volumetric network of V-NAS: a ResNet-50-like encoder and a dense decoder, each cell with kernels of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import keras
from keras import layers

from tfmedcai.layers.fused_normalisation import activated
from tfmedcai.layers.recomputed import Recomputed
from tfmedcai.layers.trilinear_upsampling import TrilinearUpsampling
from tfmedcai.layers.volumetric_cells import EXPANSION, PLANE, POINT, bottleneck, dense_features, shortcut
from tfmedcai.layers.volumetric_convolution import volumetric_convolution
from tfmedcai.layers.volumetric_ends import check_volume, volume_logits, volume_planes, volume_vector
from tfmedcai.layers.volumetric_pooling import pyramid_pooling, volumetric_max_pooling
from tfmedcai.search_spaces.volumetric import STAGES, VolumetricCode

Tensor = keras.KerasTensor
# (input, filters, place of the cell in the code, name) -> what is added to the shortcut, or appended to the input
Cell = Callable[[Tensor, int, int, str], Tensor]

MULTIPLE = 32  # sizes that the encoder halves without remainder [voxel]
FEWEST = 4  # channels of the stem, of which the growth of a dense block is 5/16
WINDOWS = (8, 16, 32)  # of the pyramid, at half the resolution: the largest square is as wide as the paper's patches


def volumetric_net(
    code: VolumetricCode,
    *,
    input_shape: tuple[int, int, int, int] = (64, 64, 64, 1),
    outputs: int = 2,
    per_pixel: bool = True,
    filters: int = 64,
    recompute: bool = False,
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
        filters: channels of the stem, which all other numbers of channels follow; the paper has 64.
        recompute: computes the inner tensors of cells again for the gradient instead of keeping them: less memory.

    Returns:
        Functional model `(batch, height, width, depth, channels)` -> `(batch, height, width, depth, outputs)` or
        `(batch, outputs)`.

    Raises:
        ValueError: if a size is not positive or `filters` is below 4.

    Reference:
        V-NAS, section 3; Liu et al., 3D anisotropic hybrid network, MICCAI 2018.

    >>> code = VolumetricCode.uniform("P3D", "2D")
    >>> volumetric_net(code, input_shape=(40, 32, 20, 1), outputs=3, filters=4).output_shape
    (None, 40, 32, 20, 3)
    """

    def cell(x: Tensor, inner: int, place: int, name: str) -> Tensor:
        return bottleneck(x, inner, code.encoder[place], name)

    def block(x: Tensor, growth: int, place: int, name: str) -> Tensor:
        return dense_features(x, growth, code.decoder[place], name)

    parts = (recomputed(cell), recomputed(block)) if recompute else (cell, block)
    image, features = volumetric_features(*parts, input_shape=input_shape, filters=filters)
    result = volumetric_head(image, features, outputs=outputs, per_pixel=per_pixel)
    return keras.Model(image, result, name="volumetric_net")


def recomputed(cell: Cell) -> Cell:
    """Makes a cell one layer that keeps nothing but its input for the gradient."""

    def wrapped(x: Tensor, channels: int, place: int, name: str) -> Tensor:
        inner = keras.Input(x.shape[1:])
        return Recomputed(inner, cell(inner, channels, place, name), name=f"{name}_recomputed")(x)

    return wrapped


def volumetric_features(
    cell: Cell, block: Cell, *, input_shape: tuple[int, int, int, int], filters: int
) -> tuple[Tensor, Tensor]:
    """Builds all but the head, around cells and blocks made by the caller.

    Args:
        cell: makes what is added to the shortcut of an encoder cell, of four times the given number of channels.
        block: makes what is appended to the input of a decoder block, of three times the given number of channels.
        input_shape: (height, width, depth, channels) of a patch [voxel].
        filters: channels of the stem.

    Returns:
        The input and the features `(batch, depth / 2, height / 2, width / 2, channels)`.

    Raises:
        ValueError: if a size is not positive or `filters` is below 4.
    """
    check_volume(input_shape)
    if filters < FEWEST:
        raise ValueError(f"`filters` must be at least {FEWEST}, a growth of one channel. Received {filters}.")
    image = keras.Input(input_shape, name="image")
    stem, pooled = _stem(volume_planes(image, MULTIPLE), filters)
    maps = _encoder(pooled, cell, filters)
    x, growth = maps[-1], filters * 5 // 16
    for place, skip in enumerate((maps[2], maps[1], maps[0], pooled, stem)):
        name = f"decoder_{place + 1}"
        x = _projected(x, skip, f"up_{place + 1}")
        x = layers.Concatenate(name=name)([x, block(x, growth, place, name)])
    return image, pyramid_pooling(x, WINDOWS, "pyramid")


def _encoder(x: Tensor, cell: Cell, filters: int) -> list[Tensor]:
    """Returns the output of each stage."""
    maps: list[Tensor] = []
    places = itertools.count()
    for stage, count in enumerate(STAGES, start=1):
        inner = filters * 2 ** (stage - 1)
        if stage > 1:
            x = _down(x, EXPANSION * inner, f"down_{stage - 1}")
        for number in range(1, count + 1):
            name = f"encoder_{stage}_{number}"
            branches = [cell(x, inner, next(places), name), shortcut(x, EXPANSION * inner, name)]
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_sum")(branches))
        maps.append(x)
    return maps


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
    check_volume(image.shape[1:], outputs=outputs)
    x = activated(features, "head")
    if not per_pixel:
        return volume_vector(x, outputs)
    x = volumetric_convolution(x, outputs, PLANE, "head")
    return volume_logits(TrilinearUpsampling(name="head_up")(x), image)


def _stem(x: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    """Returns features at half and at a quarter of the resolution."""
    x = volumetric_convolution(x, filters, (1, 7, 7), "stem_plane", strides=(1, 2, 2))
    x = volumetric_max_pooling(x, (2, 1, 1), (2, 1, 1), "stem_pool")
    x = volumetric_convolution(x, filters, (3, 1, 1), "stem")
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
