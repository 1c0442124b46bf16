"""i3PosNet: the hand-made VGG-like network for landmark regression that searched networks are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from tfmedcai.layers.convolution import normalisation


def i3posnet(
    *,
    input_shape: tuple[int, int, int] = (48, 92, 1),
    outputs: int = 12,
    per_pixel: bool = False,
    filters: int = 32,
    blocks: int = 3,
    dense: Sequence[int] = (256, 128, 64),
) -> keras.Model:
    """Builds the network of the i3PosNet publication.

    A convolution, then blocks of two convolutions with batch normalisation behind the activation and a third one of
    stride 2; every block has twice the channels of the one before. Fully connected layers with batch normalisation and
    a linear layer follow.

    Args:
        input_shape: (height px, width px, channels) of a patch with values in [0, 1].
        outputs: number of regressed values.
        per_pixel: must be False: the fully connected layers know no pixels.
        filters: channels of the first block.
        blocks: number of blocks, each of which halves the resolution.
        dense: units of the fully connected layers.

    Returns:
        Functional model `(batch, height, width, channels)` -> `(batch, outputs)`, made of plain Keras layers only.

    Raises:
        ValueError: if a number is not positive, or values of pixels are asked for.

    Reference:
        Kuegler et al., i3PosNet: instrument pose estimation from X-ray in temporal bone surgery, IJCARS 2020.

    >>> i3posnet().count_params()
    2894508
    """
    if min(outputs, filters, blocks, *dense) < 1:
        raise ValueError(
            "`outputs`, `filters`, `blocks` and all of `dense` must be positive. "
            f"Received {outputs}, {filters}, {blocks} and {tuple(dense)}."
        )
    if per_pixel:
        raise ValueError(
            "`per_pixel` must be False: i3posnet gives one vector for an image. Received True: choose another network, "
            "for example unet."
        )
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", name="stem")(image)
    for block in range(1, blocks + 1):
        channels = filters * 2 ** (block - 1)
        for number in (1, 2):
            name = f"block_{block}_conv_{number}"
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(x)
            x = normalisation(x, f"{name}_bn")
        name = f"block_{block}_halve"
        x = layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu", name=name)(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(dense, start=1):
        x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
        x = normalisation(x, f"dense_{number}_bn")
    return keras.Model(image, layers.Dense(outputs, name="landmarks")(x), name="i3posnet")
