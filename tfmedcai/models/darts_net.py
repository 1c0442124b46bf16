"""The network of a genotype: stem, normal cells with a reduction cell at each third of the depth, linear head."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from tfmedcai.layers.convolution import normalisation
from tfmedcai.models import darts_operations as operations
from tfmedcai.models.darts_stack import Stem, head, stack
from tfmedcai.search_spaces.genotype import Edge, Genotype

Tensor = keras.KerasTensor


def darts_net(
    architecture: Genotype,
    *,
    input_shape: tuple[int, int, int] = (48, 92, 1),
    outputs: int = 12,
    per_pixel: bool = False,
    filters: int = 14,
    cells: int = 8,
    stem: Stem = "cifar",
    drop_path: float = 0.0,
) -> keras.Model:
    """Builds the discrete network of a genotype, without the auxiliary head of the paper's classifiers.

    Two genotypes with equal keys build equal networks, layer by layer. With the published cells, 36 filters and 20
    cells it is the paper's network for CIFAR-10, with 48, 14 and the stem "imagenet" the one for ImageNet.

    Args:
        architecture: the normal and the reduction cell.
        input_shape: (height px, width px, channels) of a sample.
        outputs: number of values to regress, or of classes, whose logits come out.
        per_pixel: answer at every pixel instead of once: logits of the last cell, made as large as the input by
            bilinear interpolation.
        filters: channels of a node in the first cells; twice as many behind each reduction.
        cells: number of cells.
        stem: "cifar" keeps the resolution, "imagenet" starts at an eighth of it.
        drop_path: probability with which an operation other than skip is left out for a sample while training.

    Returns:
        Functional model of plain Keras layers, `(batch, height, width, channels)` -> `(batch, outputs)`, or
        `(batch, height, width, outputs)` where `per_pixel`.

    Raises:
        ValueError: if a number is out of range or `filters` is odd.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, section 3 and appendix A.

    >>> cell = "skip(0)+skip(1) " * 4
    >>> darts_net(Genotype.parse(f"{cell}/ {cell}"), input_shape=(8, 12, 1), filters=4, cells=3).output_shape
    (None, 12)
    """
    if not 0 <= drop_path < 1:
        raise ValueError(f"`drop_path` must be a probability below 1. Received {drop_path}.")
    image = keras.Input(input_shape, name="image")
    cell = partial(_cell, architecture.canonical, drop_path)
    maps = stack(image, cell, normalisation, filters=filters, cells=cells, stem=stem)
    return keras.Model(image, head(image, maps, outputs, per_pixel=per_pixel), name="darts_net")


def _cell(
    genotype: Genotype, drop_path: float, inputs: tuple[Tensor, Tensor], filters: int, reduction: bool, name: str
) -> Tensor:
    tensors = list(inputs)
    for number, node in enumerate(genotype.reduction if reduction else genotype.normal, start=2):
        terms = []
        for edge in node:
            stride = 2 if reduction and edge.source < 2 else 1
            edge_name = f"{name}_node{number}_{edge.operation}_{edge.source}"
            made = _operation(edge, tensors[edge.source], filters, stride, edge_name)
            # An identity is never dropped; the strided skip is an operation with weights.
            if drop_path and made is not tensors[edge.source]:
                made = layers.Dropout(drop_path, noise_shape=(None, 1, 1, 1), name=f"{edge_name}_drop")(made)
            terms.append(made)
        tensors.append(layers.Add(name=f"{name}_node{number}")(terms))
    return layers.Concatenate(name=name)(tensors[2:])


def _operation(edge: Edge, x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    if edge.operation == "max3":
        return operations.max_pool(x, stride, name)
    if edge.operation == "avg3":
        return operations.average_pool(x, stride, name)
    if edge.operation == "skip":
        return x if stride == 1 else operations.factorised_reduction(x, filters, normalisation, name)
    size = int(edge.operation[-1])
    if edge.operation.startswith("sep"):
        return operations.separable(x, filters, size, stride, name)
    return operations.dilated(x, filters, size, stride, name)
