"""3D U-Net, the hand-made network for dense segmentation of volumes."""

from __future__ import annotations

import keras
from keras import layers

from tfmedcai.layers.fused_normalisation import activated
from tfmedcai.layers.volumetric_convolution import VolumetricConvolution
from tfmedcai.layers.volumetric_ends import check_volume, volume_logits, volume_planes, volume_vector
from tfmedcai.layers.volumetric_pooling import volumetric_max_pooling
from tfmedcai.layers.volumetric_tiles import doubling_convolution

Tensor = keras.KerasTensor


def unet3d(
    *,
    input_shape: tuple[int, int, int, int] = (64, 64, 64, 1),
    outputs: int = 2,
    per_pixel: bool = True,
    filters: int = 32,
    depth: int = 3,
) -> keras.Model:
    """Builds the 3D U-Net of the publication, with padded convolutions so that the answer is as large as the patch.

    At every resolution two 3x3x3 convolutions, batch normalisation and ReLU behind each; the second one doubles the
    channels on the way down, before the pooling, so that nothing narrows there. On the way up a transposed 2x2x2
    convolution and the features of that resolution. With three channels and three classes it has the 19 069 955 weights
    and biases of convolutions that the publication counts, and two more a channel for the normalisations.

    Args:
        input_shape: (height, width, depth, channels) of a patch of any size [voxel]; zeros are put around it.
        outputs: number of classes, or of values to regress.
        per_pixel: logits of every voxel; or else one vector of values for the whole patch.
        filters: channels of the first convolution.
        depth: number of halvings of the resolution.

    Returns:
        Functional model `(batch, height, width, depth, channels)` -> `(batch, height, width, depth, outputs)` or
        `(batch, outputs)`.

    Raises:
        ValueError: if a number is not positive.

    Reference:
        Cicek et al., 3D U-Net: learning dense volumetric segmentation from sparse annotation, MICCAI 2016, section 2.

    >>> unet3d(input_shape=(16, 12, 9, 1), outputs=3, filters=4, depth=2).output_shape
    (None, 16, 12, 9, 3)
    """
    check_volume(input_shape, outputs=outputs, filters=filters, depth=depth)
    image = keras.Input(input_shape, name="image")
    x, skips = volume_planes(image, 2**depth), []
    for level in range(depth + 1):
        if level:
            skips.append(x)
            x = volumetric_max_pooling(x, (2, 2, 2), (2, 2, 2), f"down_{level}")
        width = filters * 2**level
        x = _pair(x, (width, 2 * width), f"encoder_{level + 1}")
    for level in range(depth, 0, -1):
        width = filters * 2**level
        x = doubling_convolution(x, 2 * width, f"up_{level}", use_bias=False)
        x = layers.Concatenate(name=f"skip_{level}")([x, skips.pop()])
        x = _pair(x, (width, width), f"decoder_{level}")
    if not per_pixel:
        return keras.Model(image, volume_vector(x, outputs), name="unet3d")
    x = VolumetricConvolution(outputs, 1, padding="same", name="head")(x)
    return keras.Model(image, volume_logits(x, image), name="unet3d")


def _pair(x: Tensor, widths: tuple[int, int], name: str) -> Tensor:
    for number, width in enumerate(widths, start=1):
        layer = f"{name}_{number}"
        options = {"padding": "same", "kernel_initializer": "he_normal", "name": layer}
        x = activated(VolumetricConvolution(width, 3, **options)(x), layer)
    return x
