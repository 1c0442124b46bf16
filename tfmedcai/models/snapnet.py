"""SNAPNet: a network that repeats the block described by a SNAP, with one halving of the resolution in its middle."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from tfmedcai.layers.convolution import convolution, depthwise_convolution, merge, pre_activation, separable_convolution
from tfmedcai.layers.heads import Head, check_open_sizes, features, pixel_logits
from tfmedcai.layers.spatial import padded
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.search_spaces.snap_graph import PARAMETER_FREE

Tensor = keras.KerasTensor

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
    input_shape: tuple[int | None, ...] = (48, 92, 1),
    outputs: int = 12,
    per_pixel: bool = False,
    filters: int = 24,
    blocks: tuple[int, int] = (2, 2),
    head: Head = "average",
) -> keras.Model:
    """Builds the network of a SNAP: stem, blocks, pooling with twice the channels, blocks, linear head.

    Every block takes the outputs of the two blocks before it; the first one takes the stem twice. The stem is a
    convolution without bias, since the normalisation of the blocks follows it. Two SNAPs with equal keys build equal
    networks, layer by layer.

    The logits of pixels, which the paper does not know, are a 1x1 convolution of the last maps, enlarged bilinearly to
    the twofold; odd sizes are padded inside.

    Args:
        snap: description of the block.
        input_shape: (height px, width px, channels) of a patch with values in [0, 1]; sizes may be None for
            `per_pixel`, the network then takes any, with two layers that only tfmedcai can load.
        outputs: number of regressed values, or of logits of a pixel.
        per_pixel: whether the network gives logits for every pixel instead of one vector.
        filters: channels before the pooling.
        blocks: number of blocks before and behind the pooling.
        head: what the linear layer sees: "average" averages each feature over the whole map, so that it knows where a
            feature lies only through the padding at the border, which shallow networks do not reach; "grid" averages
            over cells of 8 x 8 px. The paper leaves it open; both agree with the sizes it states (section 3.4).

    Returns:
        Functional model `(batch, height, width, channels)` -> `(batch, outputs)` or `(batch, height, width, outputs)`,
        made of plain Keras layers only where the sizes are given.

    Raises:
        ValueError: if `outputs`, `filters` or the number of blocks is not positive, or a size is open without
            `per_pixel`.

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
    check_open_sizes(input_shape, per_pixel)
    image = keras.Input(input_shape, name="image")
    canvas = padded(image, 2) if per_pixel else image
    stem = layers.Conv2D(filters, 3, padding="same", use_bias=False, name="stem")(canvas)
    stack = (stem, stem)
    for number in range(1, blocks[0] + 1):
        stack = (stack[1], _block(snap, stack, filters, f"block_{number}"))
    stack = _pooled(stack, 2 * filters)
    for number in range(blocks[0] + 1, sum(blocks) + 1):
        stack = (stack[1], _block(snap, stack, 2 * filters, f"block_{number}"))
    maps = pre_activation(stack[1], "head")
    if per_pixel:
        return keras.Model(image, pixel_logits(maps, outputs, 2, image, canvas), name="snapnet")
    return keras.Model(image, layers.Dense(outputs, name="landmarks")(features(maps, head)), name="snapnet")


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
