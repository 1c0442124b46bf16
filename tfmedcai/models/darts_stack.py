"""How cells of DARTS are stacked into a network, the same for discrete and for relaxed cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import keras
from keras import layers

from tfmedcai.layers.convolution import normalisation
from tfmedcai.models.darts_operations import Normalise, factorised_reduction

Tensor = keras.KerasTensor
Stem = Literal["cifar", "imagenet"]
# (inputs, filters, reduction, name) -> output of the cell
Cell = Callable[[tuple[Tensor, Tensor], int, bool, str], Tensor]


def stack(image: Tensor, cell: Cell, normalise: Normalise, *, filters: int, cells: int, stem: Stem) -> Tensor:
    """Stacks cells, each on the outputs of the two before it, which are first brought to one size.

    Args:
        image: `(batch, height, width, channels)`.
        cell: makes a cell; its inputs have `filters` channels and one resolution.
        normalise: the normalisation behind the convolutions that bring the inputs to one size.
        filters: channels of a node in the first cells; doubled in each reduction cell.
        cells: number of cells.
        stem: "cifar" keeps the resolution, "imagenet" starts at an eighth of it.

    Returns:
        Output of the last cell.

    Raises:
        ValueError: if `cells` is below 1 or `filters` is not positive and even.
    """
    if cells < 1 or filters < 2 or filters % 2:
        raise ValueError(
            "`cells` must be at least 1 and `filters` positive and even, since a reduction makes two halves. "
            f"Received {cells} and {filters}."
        )
    older, newer = _imagenet_stem(image, filters) if stem == "imagenet" else _cifar_stem(image, filters)
    halved = stem == "imagenet"
    for number in range(cells):
        reduction = number in (cells // 3, 2 * cells // 3)
        filters *= 1 + reduction
        name = f"cell{number}"
        if halved:
            first = factorised_reduction(older, filters, normalise, f"{name}_input0")
        else:
            first = _projection(older, filters, normalise, f"{name}_input0")
        second = _projection(newer, filters, normalise, f"{name}_input1")
        older, newer = newer, cell((first, second), filters, reduction, name)
        halved = reduction
    return newer


def head(image: Tensor, maps: Tensor, outputs: int, *, per_pixel: bool) -> Tensor:
    """Averages the maps and applies a linear layer; or applies it everywhere and enlarges the answer.

    Args:
        image: input of the network, whose size the answer gets where `per_pixel`.
        maps: output of the last cell.
        outputs: number of values.
        per_pixel: answer at every pixel.

    Returns:
        `(batch, outputs)`, or `(batch, height, width, outputs)` where `per_pixel`.

    Raises:
        ValueError: if `outputs` is not positive.
    """
    if outputs < 1:
        raise ValueError(f"`outputs` must be positive. Received {outputs}.")
    if not per_pixel:
        return layers.Dense(outputs, name="outputs")(layers.GlobalAveragePooling2D(name="features")(maps))
    factor = 1
    while maps.shape[1] * factor < image.shape[1] or maps.shape[2] * factor < image.shape[2]:
        factor *= 2
    logits = layers.Conv2D(outputs, 1, name="logits")(maps)
    large = layers.UpSampling2D(factor, interpolation="bilinear", name="outputs")(logits)
    surplus = [(0, large.shape[axis] - image.shape[axis]) for axis in (1, 2)]
    return layers.Cropping2D(surplus, name="crop")(large) if any(after for _, after in surplus) else large


def _projection(x: Tensor, filters: int, normalise: Normalise, name: str) -> Tensor:
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=name)(x)
    return normalise(x, f"{name}_bn")


def _cifar_stem(image: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    x = _stem_convolution(image, 3 * filters, 1, "stem")
    return x, x


def _imagenet_stem(image: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    x = _stem_convolution(image, filters // 2, 2, "stem0")
    older = _stem_convolution(layers.ReLU(name="stem0_relu")(x), filters, 2, "stem1")
    return older, _stem_convolution(layers.ReLU(name="stem1_relu")(older), filters, 2, "stem2")


def _stem_convolution(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=name)(x)
    return normalisation(x, f"{name}_bn")
