"""SNAPNet: a network that repeats the block described by a SNAP, with one halving of the resolution in its middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import keras
from keras import layers

from tfmedcai.layers.convolution import convolution, depthwise_convolution, merge, pre_activation, separable_convolution
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.search_spaces.snap_graph import PARAMETER_FREE

Tensor = keras.KerasTensor
Head = Literal["grid", "average"]

CELL = 8  # edge of a cell of the grid head [px of the last maps]

# Symbol -> (input, filters, name of the layer) -> output
LAYERS: dict[str, Callable[[Tensor, int, str], Tensor]] = {
    "conv1x1": lambda x, filters, name: convolution(x, filters, 1, name),
    "conv3x3": lambda x, filters, name: convolution(x, filters, 3, name),
    "dw3x3": lambda x, filters, name: depthwise_convolution(x, 3, name),
    "dws3x3": lambda x, filters, name: separable_convolution(x, filters, 3, name),
    "maxpool3x3": lambda x, filters, name: layers.MaxPooling2D(3, strides=1, padding="same", name=name)(x),
}


def snapnet(
    snap: Snap,
    *,
    input_shape: tuple[int, int, int] = (48, 92, 1),
    outputs: int = 12,
    filters: int = 24,
    blocks: tuple[int, int] = (2, 2),
    head: Head = "average",
) -> keras.Model:
    """Builds the network of a SNAP: stem, blocks, pooling with twice the channels, blocks, linear head.

    Every block takes the outputs of the two blocks before it; the first one takes the stem twice. The stem is a
    convolution without bias, since the normalisation of the blocks follows it. Two SNAPs with equal keys build equal
    networks, layer by layer.

    Args:
        snap: description of the block.
        input_shape: (height px, width px, channels) of a patch with values in [0, 1].
        outputs: number of regressed values.
        filters: channels before the pooling.
        blocks: number of blocks before and behind the pooling.
        head: what the linear layer sees: "average" averages each feature over the whole map, so that it knows where a
            feature lies only through the padding at the border, which shallow networks do not reach; "grid" averages
            over cells of 8 x 8 px. The paper leaves it open; both agree with the sizes it states (section 3.4).

    Returns:
        Functional model `(batch, height, width, channels)` -> `(batch, outputs)`, made of plain Keras layers only.

    Raises:
        ValueError: if `outputs`, `filters` or the number of blocks is not positive.

    Reference:
        AutoSNAP, sections 2.2, 3.2 and 3.4.

    >>> snapnet(Snap.parse("branch conv3x3 merge"), input_shape=(8, 12, 1), filters=4, blocks=(1, 1)).output_shape
    (None, 12)
    """
    if min(outputs, filters, *blocks) < 0 or 0 in (outputs, filters, sum(blocks)):
        raise ValueError(
            "`outputs`, `filters` and the sum of `blocks` must be positive. "
            f"Received {outputs}, {filters} and {blocks}."
        )
    image = keras.Input(input_shape, name="image")
    stem = layers.Conv2D(filters, 3, padding="same", use_bias=False, name="stem")(image)
    stack = (stem, stem)
    for number in range(1, blocks[0] + 1):
        stack = (stack[1], _block(snap, stack, filters, f"block_{number}"))
    stack = _pooled(stack, 2 * filters)
    for number in range(blocks[0] + 1, sum(blocks) + 1):
        stack = (stack[1], _block(snap, stack, 2 * filters, f"block_{number}"))
    landmarks = layers.Dense(outputs, name="landmarks")(_features(pre_activation(stack[1], "head"), head))
    return keras.Model(image, landmarks, name="snapnet")


def _block(snap: Snap, stack: tuple[Tensor, Tensor], filters: int, name: str) -> Tensor:
    made = list(stack)
    shared: dict[tuple[str, int], Tensor] = {}
    for number, node in enumerate(snap.graph[2:], start=2):
        tensors = [made[parent] for parent in node.inputs]
        layer_name = f"{name}_{number}_{node.operation}"
        # Both inputs of the first block are the stem: a parameter-free layer on either of them is one and the same.
        value = (node.operation, id(tensors[0]))
        if node.operation == "merge":
            made.append(merge(tensors, filters, layer_name))
        elif value in shared:
            made.append(shared[value])
        else:
            made.append(LAYERS[node.operation](tensors[0], filters, layer_name))
        if node.operation in PARAMETER_FREE:
            shared[value] = made[-1]
    return made[-1]


def _pooled(stack: tuple[Tensor, Tensor], filters: int) -> tuple[Tensor, Tensor]:
    older = layers.MaxPooling2D(2, name="pool_1")(stack[0])
    newer = older if stack[0] is stack[1] else layers.MaxPooling2D(2, name="pool_2")(stack[1])
    return convolution(older, filters, 1, "pool_1_conv1x1"), convolution(newer, filters, 1, "pool_2_conv1x1")


def _features(maps: Tensor, head: Head) -> Tensor:
    if head == "average":
        return layers.GlobalAveragePooling2D(name="features")(maps)
    cells = layers.AveragePooling2D(CELL, padding="same", name="cells")(maps)
    return layers.Flatten(name="features")(cells)
