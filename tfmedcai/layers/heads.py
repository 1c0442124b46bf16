"""What stands between the last maps of a network and its output: features for a vector, or values for every pixel."""

from __future__ import annotations

from typing import Literal

import keras
from keras import layers

from tfmedcai.layers.spatial import cropped, enlarged, spatial_convolution

Tensor = keras.KerasTensor
Head = Literal["grid", "average"]

CELL = 8  # edge of a cell of the grid head [px of the last maps]
AVERAGE = {4: layers.GlobalAveragePooling2D, 5: layers.GlobalAveragePooling3D}
CELLS = {4: layers.AveragePooling2D, 5: layers.AveragePooling3D}


def check_open_sizes(input_shape: tuple[int | None, ...], per_pixel: bool) -> None:
    """Checks that sizes are known where a vector is asked for.

    Raises:
        ValueError: if a size is None without `per_pixel`.
    """
    if None in input_shape and not per_pixel:
        raise ValueError(
            f"The sizes in `input_shape` must be given for a vector. Received {input_shape}: "
            "give them, or set `per_pixel` for a value at every pixel."
        )


def features(maps: Tensor, head: Head) -> Tensor:
    """Turns maps into a vector.

    Args:
        maps: `(batch, *spatial, channels)`.
        head: "average" averages each channel over the whole map, "grid" over cells of 8 px.

    Returns:
        `(batch, n)`.
    """
    if head == "average":
        return AVERAGE[len(maps.shape)](name="features")(maps)
    return layers.Flatten(name="features")(CELLS[len(maps.shape)](CELL, padding="same", name="cells")(maps))


def pixel_logits(maps: Tensor, outputs: int, factor: int, image: Tensor, canvas: Tensor) -> Tensor:
    """Gives every pixel of an image its logits: a 1x1 convolution, upsampling, and off with the padding.

    The convolution comes first, since it costs less on small maps and linear upsampling gives the same behind it.

    Args:
        maps: `(batch, *spatial, channels)`.
        outputs: number of logits of a pixel.
        factor: how often the maps are smaller than the canvas.
        image: the input of the network.
        canvas: the input as it was padded.

    Returns:
        `(batch, *spatial of the image, outputs)`.
    """
    logits = spatial_convolution(maps, outputs, 1, "logits", use_bias=True)
    return cropped(enlarged(logits, factor, "enlarge"), image, canvas)
