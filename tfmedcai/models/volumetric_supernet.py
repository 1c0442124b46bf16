"""The relaxation of the volumetric network: every cell is a weighted sum of its 2D, its 3D and its pseudo-3D form."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers, ops

from tfmedcai.layers.fused_normalisation import activated
from tfmedcai.layers.mixed_op import MixedOp
from tfmedcai.layers.recomputed import Recomputed
from tfmedcai.layers.volumetric_cells import POINT, dense_features, expanded
from tfmedcai.layers.volumetric_convolution import volumetric_convolution
from tfmedcai.models.volumetric_net import Cell, recomputed, volumetric_features, volumetric_head
from tfmedcai.search_spaces.volumetric import BLOCKS, CELLS, KERNELS

Tensor = keras.KerasTensor
Candidates = Callable[[Tensor, int, str], list[Tensor]]


def volumetric_supernet(
    *,
    input_shape: tuple[int, int, int, int] = (64, 64, 64, 1),
    outputs: int = 2,
    per_pixel: bool = True,
    filters: int = 64,
    recompute: bool = False,
) -> keras.Model:
    """Builds the continuous relaxation of `volumetric_net`, whose mixing weights are inputs beside the sample.

    Candidates have weights of their own; the shortcut of a cell and the input of a block, which do not depend on the
    kernel, stay outside the sum. The first convolutions of the three candidates of an encoder cell are computed as one.

    Args:
        input_shape: (height, width, depth, channels) of a patch of any size [voxel].
        outputs: number of classes, or of values to regress.
        per_pixel: logits of every voxel; or else one vector of values for the whole patch.
        filters: channels of the stem; the paper has 64.
        recompute: computes the inner tensors of cells again for the gradient instead of keeping them: of four patches
            of 64^3 with 16 filters 0.87 instead of 1.52 GB, for a third more work.

    Returns:
        Functional model of [`(batch, height, width, depth, channels)`, "encoder" `(16, 3)`, "decoder" `(5, 3)`]; the
        columns of the mixing weights are 2D, 3D and P3D, each row a probability distribution.

    Raises:
        ValueError: if a size is not positive or `filters` is below 4.

    Reference:
        V-NAS, equations 2 and 4.

    >>> sizes = {"input_shape": (32, 32, 16, 1), "filters": 4}
    >>> [tuple(tensor.shape) for tensor in volumetric_supernet(**sizes).inputs[1:]]
    [(16, 3), (5, 3)]
    """
    shapes = {"encoder": (CELLS, len(KERNELS)), "decoder": (BLOCKS, len(KERNELS))}
    mixtures = {name: keras.Input(batch_shape=shape, name=name, dtype="float32") for name, shape in shapes.items()}

    def mixed(candidates: Candidates, mixture: Tensor) -> Cell:
        return _mixed(candidates, mixture, recompute=recompute)

    cell, block = mixed(_expansions, mixtures["encoder"]), mixed(_features, mixtures["decoder"])
    image, features = volumetric_features(cell, block, input_shape=input_shape, filters=filters)
    result = volumetric_head(image, features, outputs=outputs, per_pixel=per_pixel)
    return keras.Model([image, *mixtures.values()], result, name="volumetric_supernet")


def volumetric_mix(
    *,
    input_shape: tuple[int, int, int, int] = (64, 64, 64, 1),
    outputs: int = 2,
    per_pixel: bool = True,
    filters: int = 64,
    recompute: bool = False,
) -> keras.Model:
    """Builds the baseline whose cells are the mean of their three forms, in training and afterwards.

    Args:
        input_shape: (x, y, z, channels) of a patch in voxels.
        outputs: number of logits of a voxel.
        per_pixel: whether every voxel gets its logits, or the patch one vector.
        filters: channels of the stem; the paper has 64.
        recompute: compute the cells again in the backward pass instead of keeping their maps.

    Returns:
        Functional model `(batch, x, y, z, channels)` -> `(batch, x, y, z, outputs)`, or `(batch, outputs)`.

    Raises:
        ValueError: if a size is not possible, as in `volumetric_net`.

    Reference:
        V-NAS, section 4.2, "Mix".
    """

    def averaged(candidates: Candidates) -> Cell:
        def cell(x: Tensor, channels: int, place: int, name: str) -> Tensor:
            return layers.Average(name=f"{name}_mix")(candidates(x, channels, name))

        return recomputed(cell) if recompute else cell

    image, features = volumetric_features(
        averaged(_expansions), averaged(_features), input_shape=input_shape, filters=filters
    )
    result = volumetric_head(image, features, outputs=outputs, per_pixel=per_pixel)
    return keras.Model(image, result, name="volumetric_mix")


def _mixed(candidates: Candidates, mixture: Tensor, *, recompute: bool) -> Cell:
    def summed(x: Tensor, weights: Tensor, channels: int, name: str) -> Tensor:
        return MixedOp([False] * len(KERNELS), name=f"{name}_mix")(candidates(x, channels, name), weights)

    def cell(x: Tensor, channels: int, place: int, name: str) -> Tensor:
        weights = ops.take(mixture, [place], axis=0)
        if not recompute:
            return summed(x, weights, channels, name)
        inner, row = keras.Input(x.shape[1:]), keras.Input(batch_shape=weights.shape, dtype="float32")
        return Recomputed([inner, row], summed(inner, row, channels, name), name=f"{name}_recomputed")([x, weights])

    return cell


def _expansions(x: Tensor, filters: int, name: str) -> list[Tensor]:
    x = volumetric_convolution(x, len(KERNELS) * filters, POINT, f"{name}_in")
    parts = ops.split(activated(x, f"{name}_in"), len(KERNELS), axis=-1)
    return [expanded(part, kernel, f"{name}_{kernel}") for part, kernel in zip(parts, KERNELS, strict=True)]


def _features(x: Tensor, growth: int, name: str) -> list[Tensor]:
    return [dense_features(x, growth, kernel, f"{name}_{kernel}") for kernel in KERNELS]
