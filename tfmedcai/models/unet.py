"""U-Net with a VGG-13 encoder and ResU-Net with a ResNet-50 encoder, the hand-made networks for segmentation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import layers

from tfmedcai.layers.blocks import activated_convolution, normalised_convolution, vgg_block
from tfmedcai.layers.heads import Head, check_open_sizes, features
from tfmedcai.layers.spatial import PADDING, POOLING, cropped, doubled, halved, padded, spatial_convolution

Tensor = keras.KerasTensor

DEEPEST = 5
VGG_WIDTHS = (1, 2, 4, 8, 8)  # channels of the stages over those of the first; the sixth stage only pools
RESNET_WIDTHS = (1, 2, 4, 8)  # channels inside the bottlenecks of the stages over those of the first
RESNET_CELLS = (3, 4, 6, 3)
DECODER_WIDTHS = (4, 2, 1, 1 / 2, 1 / 4)
EXPANSION = 4


class Encoder(NamedTuple):
    """Attributes: the model's name, what makes the maps of all stages from the first, and whether a block follows."""

    name: str
    stages: Callable[[Tensor, int, int], list[Tensor]]
    centre: bool


def unet(
    *,
    input_shape: tuple[int | None, ...] = (128, 128, 1),
    outputs: int = 1,
    per_pixel: bool = False,
    filters: int = 64,
    depth: int = DEEPEST,
    head: Head = "average",
    encoder: str = "vgg13",
) -> keras.Model:
    """Builds the U-Net of Segmentation Models PyTorch, without pretrained weights.

    The decoder repeats pixels, concatenates the maps of the encoder at that resolution, none at full resolution, and
    applies two 3x3 convolutions with BN and ReLU. Images whose sizes are no multiples of the total stride are padded
    with zeros at the end inside the network. A vector is read from the last maps of the encoder, without a decoder.

    Args:
        input_shape: (height px, width px, channels) of an image or (depth, height, width, channels) of a volume; sizes
            may be None for `per_pixel`, the network then takes any, with two layers that only tfmedcai can load.
        outputs: number of regressed values, or of logits of a pixel.
        per_pixel: whether the network gives logits for every pixel instead of one vector.
        filters: channels of the encoder's first stage, a multiple of 4; all others grow with it.
        depth: number of halvings, at most 5.
        head: what the linear layer of a vector sees: averages over whole maps, or over cells of 8 px ("grid").
        encoder: "vgg13", which has no normalisation, or "resnet50".

    Returns:
        Functional model `(batch, *spatial, channels)` -> `(batch, outputs)` or `(batch, *spatial, outputs)`, made of
        plain Keras layers only where the sizes are given and, of a volume, need no padding.

    Raises:
        ValueError: if a number is out of range, the encoder is unknown, or a size is open without `per_pixel`.

    Reference:
        Ronneberger et al., U-Net, MICCAI 2015; MB-NAS, table 1; Segmentation Models PyTorch, `Unet`.

    >>> unet(input_shape=(None, None, 3), per_pixel=True, filters=4, depth=2).output_shape
    (None, None, None, 1)
    """
    _check(outputs, filters, depth, encoder)
    check_open_sizes(input_shape, per_pixel)
    made = ENCODERS[encoder]
    image = keras.Input(input_shape, name="image")
    canvas = padded(image, 2**depth)
    stages = made.stages(canvas, filters, depth)
    if not per_pixel:
        return keras.Model(image, layers.Dense(outputs, name="vector")(features(stages[-1], head)), name=made.name)
    x = vgg_block(stages[-1], stages[-1].shape[-1], 3, "centre") if made.centre else stages[-1]
    skips = [*stages[-2:0:-1], None]
    for number, (skip, width) in enumerate(zip(skips, DECODER_WIDTHS[-depth:], strict=True), start=1):
        x = doubled(x, f"decoder_{number}_double")
        if skip is not None:
            x = layers.Concatenate(name=f"decoder_{number}_skip")([x, skip])
        x = vgg_block(x, int(filters * width), 3, f"decoder_{number}")
    logits = spatial_convolution(x, outputs, 3, "logits", use_bias=True)
    return keras.Model(image, cropped(logits, image, canvas), name=made.name)


resunet = functools.partial(unet, encoder="resnet50")


def _vgg13_stages(x: Tensor, filters: int, depth: int) -> list[Tensor]:
    """Makes the maps of all stages, the first at full resolution."""
    stages = []
    for stage in range(depth + 1):
        if stage:
            x = halved(x, f"encoder_{stage}_halve")
        for number in (1, 2) if stage < len(VGG_WIDTHS) else ():
            # He's initialisation, since nothing normalises what shrinks or grows through ten layers.
            options = {"activation": "relu", "use_bias": True, "kernel_initializer": "he_normal"}
            x = spatial_convolution(x, filters * VGG_WIDTHS[stage], 3, f"encoder_{stage}_{number}", **options)
        stages.append(x)
    return stages


def _resnet50_stages(x: Tensor, filters: int, depth: int) -> list[Tensor]:
    """Makes the maps of all stages, the first the image itself."""
    stages = [x, layers.ReLU(name="encoder_1_relu")(_halving(x, filters, 7, "encoder_1"))]
    for stage in range(2, depth + 1):
        x = stages[-1]
        if stage == 2:
            x = PADDING[len(x.shape)](1, name="encoder_2_pad")(x)
            x = POOLING[len(x.shape)](3, strides=2, name="encoder_2_halve")(x)
        for number in range(1, RESNET_CELLS[stage - 2] + 1):
            halve = stage > 2 and number == 1
            x = _bottleneck(x, filters * RESNET_WIDTHS[stage - 2], halve, f"encoder_{stage}_{number}")
        stages.append(x)
    return stages


def _bottleneck(x: Tensor, filters: int, halve: bool, name: str) -> Tensor:
    made = activated_convolution(x, filters, 1, f"{name}_reduce")
    if halve:
        made = layers.ReLU(name=f"{name}_relu")(_halving(made, filters, 3, name))
    else:
        made = activated_convolution(made, filters, 3, name)
    made = normalised_convolution(made, EXPANSION * filters, 1, f"{name}_expand")
    if halve:
        x = normalised_convolution(x, EXPANSION * filters, 1, f"{name}_project", strides=2)
    elif x.shape[-1] != made.shape[-1]:
        x = normalised_convolution(x, EXPANSION * filters, 1, f"{name}_project")
    return layers.ReLU(name=f"{name}_sum_relu")(layers.Add(name=f"{name}_add")([x, made]))


def _halving(x: Tensor, filters: int, size: int, name: str) -> Tensor:
    """Applies Conv - BN around the pixels 0, 2, ...; with padding "same" Keras would take the pixels 1, 3, ..."""
    x = PADDING[len(x.shape)](size // 2, name=f"{name}_pad")(x)
    return normalised_convolution(x, filters, size, name, strides=2, padding="valid")


ENCODERS = {
    "vgg13": Encoder("unet", _vgg13_stages, centre=True),
    "resnet50": Encoder("resunet", _resnet50_stages, centre=False),
}


def _check(outputs: int, filters: int, depth: int, encoder: str) -> None:
    if min(outputs, filters) < 1 or filters % 4:
        raise ValueError(
            "`outputs` and `filters` must be positive, `filters` a multiple of 4, since the last maps have a quarter. "
            f"Received {outputs} and {filters}."
        )
    if not 1 <= depth <= DEEPEST:
        raise ValueError(f"`depth` must be 1 to {DEEPEST} halvings. Received {depth}.")
    if encoder not in ENCODERS:
        raise ValueError(f"`encoder` must be one of {', '.join(ENCODERS)}. Received `{encoder}`.")
