"""Trilinear interpolation of volumes to a multiple of their size, which Keras has for images only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("tfmedcai")
class TrilinearUpsampling(layers.Layer):
    """Interpolates linearly along all three axes; voxels keep their place in space and the border is continued.

    The centre of voxel `i` lies at `i + 1/2` of its own edge lengths before and behind. Across the planes the
    interpolation is a product with a narrow matrix, in the planes that of images.

    Args:
        factors: multiples of the size across planes, down and along a plane.
        **kwargs: name and type of the layer.

    Raises:
        ValueError: if a factor is below 1.

    Input: `(batch, depth, height, width, channels)`, depth, height and width fixed.

    Output: `(batch, depth * factor, height * factor, width * factor, channels)`.

    >>> line = np.arange(3.0).reshape(1, 3, 1, 1, 1)
    >>> TrilinearUpsampling((2, 1, 1))(line).numpy().ravel().tolist()
    [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]
    """

    def __init__(self, factors: tuple[int, int, int] = (2, 2, 2), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(factors) < 1:
            raise ValueError(f"`factors` must be at least 1. Received {tuple(factors)}.")
        self.factors = tuple(factors)

    def call(self, inputs: Any) -> Any:
        """Interpolates."""
        depth, height, width, channels = inputs.shape[1:]
        across, down, along = self.factors
        if across > 1:
            matrix = ops.cast(interpolation_matrix(depth, across), inputs.dtype)
            inputs = ops.matmul(matrix, ops.reshape(inputs, (-1, depth, height * width * channels)))
        if (down, along) != (1, 1):
            planes = ops.reshape(inputs, (-1, height, width, channels))
            inputs = ops.image.resize(
                planes, (height * down, width * along), interpolation="bilinear", data_format="channels_last"
            )
        return ops.reshape(inputs, (-1, depth * across, height * down, width * along, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the output."""
        batch, *sizes, channels = input_shape
        return (batch, *(size * factor for size, factor in zip(sizes, self.factors, strict=True)), channels)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer is made from."""
        return {**super().get_config(), "factors": self.factors}


def interpolation_matrix(size: int, factor: int) -> np.ndarray:
    """Returns the weights of linear interpolation of a line to `factor` times its length.

    Args:
        size: number of samples.
        factor: multiple.

    Returns:
        `(size * factor, size)` float32; rows add up to 1.

    >>> interpolation_matrix(2, 2).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    places = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    return np.maximum(0, 1 - abs(places[:, None] - np.arange(size))).astype(np.float32)
