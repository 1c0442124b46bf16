"""The search network of DARTS: every edge of every cell is the weighted sum of all candidate operations."""

from __future__ import annotations

from functools import partial

import keras
from keras import layers, ops

from tfmedcai.layers.mixed_op import GroupedProjection, MixedOp, Standardisation
from tfmedcai.models import darts_operations as operations
from tfmedcai.models.darts_stack import Stem, head, stack
from tfmedcai.search_spaces.genotype import CANDIDATES, CELLS, EDGES, INPUTS, NODES

Tensor = keras.KerasTensor


def darts_supernet(
    *,
    input_shape: tuple[int, int, int] = (48, 92, 1),
    outputs: int = 12,
    per_pixel: bool = False,
    filters: int = 16,
    cells: int = 8,
    stem: Stem = "cifar",
) -> keras.Model:
    """Builds the continuous relaxation of `darts_net`, whose mixing weights are inputs beside the sample.

    The edges that leave one tensor of a cell are computed together, and what has no weights, as pooling, once for all
    of them.

    Args:
        input_shape: (height px, width px, channels) of a sample.
        outputs: number of values to regress, or of classes, whose logits come out.
        per_pixel: answer at every pixel instead of once.
        filters: channels of a node in the first cells; twice as many behind each reduction.
        cells: number of cells.
        stem: "cifar" keeps the resolution, "imagenet" starts at an eighth of it.

    Returns:
        Functional model of [`(batch, height, width, channels)`, "normal" `(14, 8)`, "reduction" `(14, 8)`]; the rows of
        the mixing weights are `EDGES` of a genotype, the columns `CANDIDATES`, each row a probability distribution.

    Raises:
        ValueError: if a number is out of range or `filters` is odd.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, sections 2.2 and 3.1.
    """
    image = keras.Input(input_shape, name="image")
    shape = (len(EDGES), len(CANDIDATES))
    mixtures = {name: keras.Input(batch_shape=shape, name=name, dtype="float32") for name in CELLS}
    cell = partial(_cell, mixtures)
    maps = stack(image, cell, standardised, filters=filters, cells=cells, stem=stem)
    answer = head(image, maps, outputs, per_pixel=per_pixel)
    return keras.Model([image, *mixtures.values()], answer, name="darts_supernet")


def standardised(x: Tensor, name: str) -> Tensor:
    """Normalises `(batch, ..., channels)` without learnt scale and offset, which mixing weights would compete with."""
    return Standardisation(name=name)(x)


def mixed_edges(x: Tensor, weights: Tensor, filters: int, stride: int, name: str) -> Tensor:
    """Applies all operations to one tensor for several edges.

    Args:
        x: `(batch, height, width, filters)`.
        weights: `(edges, 7)`, the mixing weights of the operations other than `none`.
        filters: number of channels.
        stride: 1 or 2.
        name: what the names of the layers begin with.

    Returns:
        `(batch, height, width, edges * filters)`, one weighted sum for each edge.
    """
    edges = weights.shape[0]
    pools = [
        standardised(pool(x, stride, f"{name}_{kind}"), f"{name}_{kind}_bn")
        for kind, pool in (("max3", operations.max_pool), ("avg3", operations.average_pool))
    ]
    active = layers.ReLU(name=f"{name}_relu")(x)
    skip = x if stride == 1 else _reduced(active, filters, edges, f"{name}_skip")
    copies = layers.Concatenate(name=f"{name}_copies")([active] * edges) if edges > 1 else active
    convolved = [
        convolve(copies, size, stride, edges, f"{name}_{kind}{size}")
        for kind, convolve in (("sep", _separable), ("dil", _dilated))
        for size in (3, 5)
    ]
    mixed = MixedOp([False, False, stride == 2, True, True, True, True], edges, name=name)
    return mixed([*pools, skip, *convolved], weights)


def _cell(
    mixtures: dict[str, Tensor], inputs: tuple[Tensor, Tensor], filters: int, reduction: bool, name: str
) -> Tensor:
    mixture = mixtures[CELLS[reduction]]
    terms: list[list[Tensor]] = [[] for _ in range(NODES)]
    nodes = []
    for source in range(INPUTS + NODES - 1):
        if source >= INPUTS:
            nodes.append(layers.Add(name=f"{name}_node{source}")(terms[source - INPUTS]))
        x = (*inputs, *nodes)[source]
        rows = [row for row, edge in enumerate(EDGES) if edge[1] == source]
        weights = ops.take(mixture, rows, axis=0)[:, 1:]  # `none` adds nothing
        made = mixed_edges(x, weights, filters, 2 if reduction and source < INPUTS else 1, f"{name}_from{source}")
        for row, term in zip(rows, ops.split(made, len(rows), axis=-1), strict=True):
            terms[EDGES[row][0]].append(term)
    nodes.append(layers.Add(name=f"{name}_node{INPUTS + NODES - 1}")(terms[-1]))
    return layers.Concatenate(name=name)(nodes)


# The last normalisation of an operation is left to `MixedOp`.
def _separable(x: Tensor, size: int, stride: int, edges: int, name: str) -> Tensor:
    x = operations.depthwise(x, size, stride, f"{name}_dw1", _start(size**2))
    x = standardised(_projected(x, edges, f"{name}_pw1"), f"{name}_bn")
    x = layers.ReLU(name=f"{name}_relu")(x)
    return _projected(operations.depthwise(x, size, 1, f"{name}_dw2", _start(size**2)), edges, f"{name}_pw2")


def _dilated(x: Tensor, size: int, stride: int, edges: int, name: str) -> Tensor:
    x = operations.dilated_depthwise(x, size, stride, f"{name}_dw", _start(size**2))
    return _projected(x, edges, f"{name}_pw")


def _start(inputs: int) -> keras.initializers.Initializer:
    """Initialises from what one convolution reads, so that it does not matter how many are computed together."""
    return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)


def _projected(x: Tensor, edges: int, name: str) -> Tensor:
    return GroupedProjection(x.shape[-1], edges, name=name)(x)


def _reduced(x: Tensor, filters: int, edges: int, name: str) -> Tensor:
    """Returns the strided skip of all edges before its normalisation; the channels of an edge lie together."""
    halves = []
    for part, pixels in operations.even_and_odd_pixels(x, name).items():
        options = {"use_bias": False, "kernel_initializer": _start(filters), "name": f"{name}_{part}"}
        half = layers.Conv2D(edges * filters // 2, 1, **options)(pixels)
        halves.append(layers.Reshape((*half.shape[1:3], edges, filters // 2), name=f"{name}_{part}_edges")(half))
    both = layers.Concatenate(name=f"{name}_concat")(halves)
    return layers.Reshape((*both.shape[1:3], edges * filters), name=f"{name}_channels")(both)
