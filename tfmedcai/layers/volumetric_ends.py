"""Both ends of a volumetric network: a patch comes in and its planes go first, logits come out as the patch lay."""

from __future__ import annotations

import keras
from keras import layers

Tensor = keras.KerasTensor


def check_volume(input_shape: tuple[int, ...], **sizes: int) -> None:
    """Checks what a volumetric network is built with.

    Args:
        input_shape: (height, width, depth, channels) of a patch [voxel].
        sizes: numbers that must be positive, by the name of their argument.

    Raises:
        ValueError: if there are not four sizes or a number is not positive.
    """
    if len(input_shape) != 4 or None in input_shape or min(input_shape) < 1:
        raise ValueError(
            "`input_shape` must be (height, width, depth, channels) of a patch, all positive. "
            f"Received {tuple(input_shape)}."
        )
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be positive. Received {size}.")


def volume_planes(image: Tensor, multiple: int) -> Tensor:
    """Puts the planes of a patch first, in which order its layers are fastest, and zeros around it.

    Args:
        image: `(batch, height, width, depth, channels)`, the input of the network.
        multiple: sizes are padded to a multiple of this, on both sides [voxel].

    Returns:
        `(batch, depth, height, width, channels)`.
    """
    surplus = [-size % multiple for size in image.shape[1:4]]
    # Zeros before planes, not before a convolution that pads: see `PadToMultiple`.
    x = layers.ZeroPadding3D(_margins(surplus), name="pad")(image) if any(surplus) else image
    return layers.Permute((3, 1, 2, 4), name="planes")(x)


def volume_logits(x: Tensor, image: Tensor) -> Tensor:
    """Takes off the padding and puts the axes into the order of the image.

    Args:
        x: `(batch, depth, height, width, channels)`, as large as `volume_planes` made the image.
        image: the input of the network.

    Returns:
        `(batch, height, width, depth, channels)`.
    """
    height, width, depth = image.shape[1:4]
    surplus = [padded - size for padded, size in zip(x.shape[1:4], (depth, height, width), strict=True)]
    if any(surplus):
        x = layers.Cropping3D(_margins(surplus), name="crop")(x)
    return layers.Permute((2, 3, 1, 4), name="logits")(x)


def volume_vector(x: Tensor, outputs: int) -> Tensor:
    """Averages each channel and maps the averages to values.

    Args:
        x: `(batch, depth, height, width, channels)`.
        outputs: number of values.

    Returns:
        `(batch, outputs)`.
    """
    return layers.Dense(outputs, name="vector")(layers.GlobalAveragePooling3D(name="features")(x))


def _margins(surplus: list[int]) -> list[tuple[int, int]]:
    return [(extra // 2, extra - extra // 2) for extra in surplus]
