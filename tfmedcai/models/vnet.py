"""V-Net, the hand-made residual network for segmentation of volumes."""

from __future__ import annotations

import keras
from keras import layers

from tfmedcai.layers.fused_normalisation import fused_normalisation
from tfmedcai.layers.volumetric_convolution import VolumetricConvolution
from tfmedcai.layers.volumetric_ends import check_volume, volume_logits, volume_planes, volume_vector
from tfmedcai.layers.volumetric_tiles import doubling_convolution, halving_convolution

Tensor = keras.KerasTensor

DOWN = (1, 2, 3, 3, 3)  # 5x5x5 convolutions of the stages on the way down, the last one the lowest
UP = (3, 3, 2, 1)


def vnet(
    *,
    input_shape: tuple[int, int, int, int] = (64, 64, 64, 1),
    outputs: int = 2,
    per_pixel: bool = True,
    filters: int = 16,
    normalised: bool = False,
) -> keras.Model:
    """Builds the V-Net of the publication.

    Stages of one to three 5x5x5 convolutions with PReLU, to the last of which the input of the stage is added; 2x2x2
    convolutions of stride 2 between them, transposed ones on the way up. The publication gives no number of weights;
    one channel and two classes make 65 175 314 here. MONAI's `VNet` has 45 597 898: it has 2 instead of 3 convolutions
    in each of the three lowest stages but one and 1 instead of 2 in the last but one, and normalises, which the
    publication does not.

    Args:
        input_shape: (height, width, depth, channels) of a patch of any size [voxel]; zeros are put around it.
        outputs: number of classes, or of values to regress.
        per_pixel: logits of every voxel; or else one vector of values for the whole patch.
        filters: channels of the first stage.
        normalised: put a batch normalisation behind each convolution, which the publication does not; without, it
            stands smaller learning rates only.

    Returns:
        Functional model `(batch, height, width, depth, channels)` -> `(batch, height, width, depth, outputs)` or
        `(batch, outputs)`.

    Raises:
        ValueError: if a number is not positive.

    Reference:
        Milletari et al., V-Net: fully convolutional neural networks for volumetric medical image segmentation, 3DV
        2016, section 2 and figure 2.

    >>> vnet(input_shape=(20, 16, 16, 1), outputs=3, filters=2).output_shape
    (None, 20, 16, 16, 3)
    """
    check_volume(input_shape, outputs=outputs, filters=filters)
    image = keras.Input(input_shape, name="image")
    x, skips = volume_planes(image, 2 ** len(UP)), []
    for level, count in enumerate(DOWN):
        if level:
            skips.append(x)
            x = _activated(halving_convolution(x, filters * 2**level, f"down_{level}"), f"down_{level}", normalised)
        x = _stage(x, filters * 2**level, count, f"encoder_{level + 1}", normalised)
    for level, count in zip(range(len(UP) - 1, -1, -1), UP, strict=True):
        width = filters * 2**level
        x = _activated(doubling_convolution(x, width, f"up_{level + 1}"), f"up_{level + 1}", normalised)
        x = layers.Concatenate(name=f"skip_{level + 1}")([x, skips.pop()])
        x = _stage(x, 2 * width, count, f"decoder_{level + 1}", normalised)
    if not per_pixel:
        return keras.Model(image, volume_vector(x, outputs), name="vnet")
    x = VolumetricConvolution(outputs, 1, padding="same", name="head")(x)
    return keras.Model(image, volume_logits(x, image), name="vnet")


def _stage(x: Tensor, filters: int, count: int, name: str, normalised: bool) -> Tensor:
    start = _spread(x, filters, name)
    for number in range(1, count + 1):
        layer = f"{name}_{number}"
        options = {"padding": "same", "kernel_initializer": "he_normal", "name": layer}
        x = VolumetricConvolution(filters, 5, **options)(x)
        if number == count:
            x = layers.Add(name=f"{name}_sum")([x, start])
        x = _activated(x, layer, normalised)
    return x


def _spread(image: Tensor, filters: int, name: str) -> Tensor:
    """Gives the input of a stage its channels: copies of an image with one, a product where copies do not fit."""
    channels = image.shape[-1]
    if channels == filters:
        return image
    if filters % channels:
        return VolumetricConvolution(filters, 1, padding="same", name=f"{name}_spread")(image)
    return layers.Concatenate(name=f"{name}_spread")([image] * (filters // channels))


def _activated(x: Tensor, name: str, normalised: bool) -> Tensor:
    if normalised:
        x = fused_normalisation(x, f"{name}_norm")
    start = keras.initializers.Constant(0.25)
    return layers.PReLU(alpha_initializer=start, shared_axes=[1, 2, 3], name=f"{name}_prelu")(x)
