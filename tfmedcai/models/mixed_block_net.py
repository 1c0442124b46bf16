"""The network of a mixed-block architecture: a chain of cells with skips, for values of every pixel or one vector."""

from __future__ import annotations

import keras
from keras import layers

from tfmedcai.layers.blocks import activated_convolution, dense_block, inception_block, residual_block, vgg_block
from tfmedcai.layers.heads import Head, check_open_sizes, features, pixel_logits
from tfmedcai.layers.spatial import doubled, halved, padded
from tfmedcai.search_spaces.mixed_block_nodes import MixedBlock, Node

Tensor = keras.KerasTensor

BLOCKS = {"vgg": vgg_block, "residual": residual_block, "dense": dense_block, "inception": inception_block}
SCALINGS = {"down": halved, "up": doubled}


def mixed_block_net(
    architecture: MixedBlock,
    *,
    input_shape: tuple[int | None, ...] = (128, 128, 1),
    outputs: int = 1,
    per_pixel: bool = False,
    filters: int = 32,
    head: Head = "average",
) -> keras.Model:
    """Builds the network of a mixed-block architecture.

    A 3x3 convolution with BN and ReLU is the cell before the first one. A cell concatenates its skip to the output of
    the cell before, scales by max pooling or by repeating pixels, and applies its block, which sets the channels:
    `filters` at full resolution, twice as many after every halving. Images whose sizes are no multiples of the total
    stride are padded with zeros at the end inside the network.

    Args:
        architecture: what a search found.
        input_shape: (height px, width px, channels) of an image or (depth, height, width, channels) of a volume; sizes
            may be None for `per_pixel`, the network then takes any, with two layers that only tfmedcai can load.
        outputs: number of regressed values, or of logits of a pixel.
        per_pixel: whether the network gives logits for every pixel instead of one vector.
        filters: channels at full resolution; a multiple of 4.
        head: what the linear layer of a vector sees: averages over whole maps, or over cells of 8 px ("grid").

    Returns:
        Functional model `(batch, *spatial, channels)` -> `(batch, outputs)` or `(batch, *spatial, outputs)`, made of
        plain Keras layers only where the sizes are given and, of a volume, need no padding.

    Raises:
        ValueError: if a number is not positive, `filters` is no multiple of 4, or a size is open without `per_pixel`.

    Reference:
        MB-NAS, section 2.1; the interior of the blocks and of the scaling is ours, the paper does not state it.

    >>> net = mixed_block_net(MixedBlock.unet(4), input_shape=(None, None, 1), outputs=3, per_pixel=True, filters=4)
    >>> net.output_shape
    (None, None, None, 3)
    """
    check_open_sizes(input_shape, per_pixel)
    _check(outputs, filters)
    image = keras.Input(input_shape, name="image")
    canvas = padded(image, 2 ** max(architecture.levels))
    x = activated_convolution(canvas, filters, 3, "stem")
    made: list[Tensor] = []
    for number, (node, level) in enumerate(zip(architecture.nodes, architecture.levels, strict=True), start=1):
        x = _cell(x, made, node, filters * 2**level, f"node_{number}")
        made.append(x)
    if per_pixel:
        result = pixel_logits(x, outputs, 2 ** architecture.levels[-1], image, canvas)
    else:
        result = layers.Dense(outputs, name="vector")(features(x, head))
    return keras.Model(image, result, name="mixed_block_net")


def _cell(x: Tensor, made: list[Tensor], node: Node, filters: int, name: str) -> Tensor:
    if node.skip:
        x = layers.Concatenate(name=f"{name}_skip")([x, made[node.skip - 1]])
    if node.scaling in SCALINGS:
        x = SCALINGS[node.scaling](x, f"{name}_{node.scaling}")
    return BLOCKS[node.block](x, filters, node.kernel, f"{name}_{node.block}")


def _check(outputs: int, filters: int) -> None:
    if min(outputs, filters) < 1 or filters % 4:
        raise ValueError(
            "`outputs` and `filters` must be positive, `filters` a multiple of 4, since dense and inception blocks "
            f"divide it. Received {outputs} and {filters}."
        )
