"""The input of networks that compare images: the moving one and, as last channel, the target."""

from __future__ import annotations

from typing import Any

import keras

Tensor = keras.KerasTensor


def moving_and_target(
    input_shape: tuple[int, int, int], outputs: int, per_pixel: bool, network: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Makes the input of a network that gives a vector for a pair of images, and takes it apart.

    Args:
        input_shape: (rows px, columns px, channels) of both together.
        outputs: number of values of the vector.
        per_pixel: must be False.
        network: its name, for errors.

    Returns:
        The input, the moving image `(batch, rows, columns, channels - 1)` and the target `(batch, rows, columns, 1)`.

    Raises:
        ValueError: if there are fewer than two channels, a number is not positive, or values of pixels are asked for.

    >>> [x.shape for x in moving_and_target((8, 6, 4), 1, False, "prost")]
    [(None, 8, 6, 4), (None, 8, 6, 3), (None, 8, 6, 1)]
    """
    if len(input_shape) != 3 or min(*input_shape, outputs) < 1 or input_shape[-1] < 2:
        raise ValueError(
            "`input_shape` must be rows, columns and two channels or more, the last one the target image, and "
            f"`outputs` positive. Received {input_shape} and {outputs}."
        )
    if per_pixel:
        raise ValueError(
            f"`per_pixel` must be False: {network} gives one vector for a pair of images. Received True: choose "
            "another network, for example unet."
        )
    images: Any = keras.Input(input_shape, name="images")
    return images, images[..., :-1], images[..., -1:]
