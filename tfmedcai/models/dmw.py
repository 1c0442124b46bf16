"""DMW: regresses the geodesic gradient from the pose of a moving image to that of a target image."""

from __future__ import annotations

import keras
from keras import layers

from tfmedcai.layers.blocks import dense_block
from tfmedcai.layers.convolution import pre_activation
from tfmedcai.layers.image_pair import moving_and_target
from tfmedcai.layers.spatial import halved

Tensor = keras.KerasTensor


def dmw(
    *,
    input_shape: tuple[int, int, int] = (128, 128, 2),
    outputs: int = 6,
    per_pixel: bool = False,
    filters: int = 16,
    blocks: int = 4,
    units: int = 256,
) -> keras.Model:
    """Builds dense blocks on each image, another one on both together, and dense layers.

    A branch starts with a convolution; max pooling follows each block, and every block has twice the channels of the
    one before. The branches share no weights, since an X-ray looks other than a rendering. The publication names the
    blocks and what they regress; the sizes are our choice, 2 421 958 parameters by default.

    Args:
        input_shape: (rows px, columns px, channels): the moving image, and as last channel the target image; sizes at
            least 2^(blocks + 1).
        outputs: number of values; the gradient has 6.
        per_pixel: must be False.
        filters: channels of the first block, a multiple of 4.
        blocks: number of dense blocks in a branch.
        units: of the dense layer before the last one.

    Returns:
        Functional model `(batch, rows, columns, channels)` -> `(batch, outputs)`: the geodesic gradient, rotation in
        rad, then translation, as `geometry.pose_updates.geodesic_step` takes it.

    Raises:
        ValueError: if a number is not positive, the images are too small, or values of pixels are asked for.

    Reference:
        Gu et al., Extended capture range of rigid 2D/3D registration by estimating Riemannian pose gradients, MLMI
        2020; Huang et al., Densely connected convolutional networks, CVPR 2017.

    >>> dmw(input_shape=(64, 64, 2), filters=4, blocks=2, units=8).output_shape
    (None, 6)
    """
    if min(*input_shape, filters, blocks, units) < 1:
        raise ValueError(
            "`input_shape`, `filters`, `blocks` and `units` must be positive. "
            f"Received {input_shape}, {filters}, {blocks} and {units}."
        )
    if min(input_shape[:2]) < 2 ** (blocks + 1):
        raise ValueError(
            f"`input_shape` must have at least {2 ** (blocks + 1)} px each way for {blocks} blocks. "
            f"Received {input_shape}."
        )
    images, *pair = moving_and_target(input_shape, outputs, per_pixel, "dmw")
    branches = [_branch(x, filters, blocks, name) for x, name in zip(pair, ("moving", "target"), strict=True)]
    x = layers.Concatenate(name="both")(branches)
    x = halved(dense_block(x, filters * 2**blocks, 3, "both_block"), "both_pool")
    x = layers.Flatten(name="features")(pre_activation(x, "features"))
    x = layers.Dense(units, activation="relu", name="dense")(x)
    return keras.Model(images, layers.Dense(outputs, name="gradient")(x), name="dmw")


def _branch(x: Tensor, filters: int, blocks: int, name: str) -> Tensor:
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
    for number in range(1, blocks + 1):
        place = f"{name}_block_{number}"
        x = halved(dense_block(x, filters * 2 ** (number - 1), 3, place), f"{place}_pool")
    return x
