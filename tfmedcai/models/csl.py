"""CSL: classes and heatmaps of landmarks out of one decoder; also L, a vector, and SL, classes and a vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from tfmedcai.layers.blocks import normalised_convolution
from tfmedcai.layers.heads import check_open_sizes
from tfmedcai.layers.spatial import cropped, enlarged, padded, spatial_convolution
from tfmedcai.layers.upsampling import summed_skip, up_projection
from tfmedcai.models.resnet import EXPANSION, bottleneck, read_published_weights, resnet50_stages
from tfmedcai.models.unet import ENCODERS
from tfmedcai.search_spaces.csl_decoder import CslDecoder, Stage

Tensor = keras.KerasTensor

STRIDE = 32  # of the encoder
HALF = 2  # px of the image in one of the decoder's last map
PUBLISHED = 64  # filters of the encoder that has published weights

# Name -> makes maps at 1/2 to 1/32 of the resolution of an image, given the channels of the first.
BACKBONES: dict[str, Callable[[Tensor, int], list[Tensor]]] = {
    "resnet50": resnet50_stages,
    "vgg13": lambda image, filters: ENCODERS["vgg13"].stages(image, filters, 5)[1:],
}


def csl(*, skips: bool = True, concatenate: bool = True, **options) -> keras.Model:
    """Builds CSL with the published decoder, or without its skips or the concatenated logits.

    Args:
        skips: add the maps of the encoder to those of the decoder; SL never does.
        concatenate: let the heatmaps see the logits.
        options: of `csl_net`.

    Reference:
        Laina, Rieke et al., Concurrent segmentation and localization, MICCAI 2017.

    >>> csl(input_shape=(64, 64, 3), outputs=5, per_pixel=True, landmarks=3, stride=2, filters=4).output_shape
    (None, 32, 32, 5)
    """
    decoder = CslDecoder((Stage(skip=skips and not options.get("points")),) * 4, concatenate)
    return csl_net(decoder, name="csl", **options)


def csl_net(
    architecture: CslDecoder,
    *,
    input_shape: tuple[int | None, ...] = (480, 480, 3),
    outputs: int = 5,
    per_pixel: bool = False,
    landmarks: int = 0,
    points: int = 0,
    stride: int = 1,
    filters: int = PUBLISHED,
    backbone: str = "resnet50",
    weights: Path | None = None,
    name: str = "csl_net",
) -> keras.Model:
    """Builds an encoder and what is behind it: with `per_pixel` a decoder (CSL, SL), else a vector (L).

    Args:
        architecture: the decoder; a vector does not depend on it.
        input_shape: (height px, width px, channels); sizes may be None for `per_pixel`, the network then takes any,
            with layers that only tfmedcai can load.
        outputs: number of regressed values, or of values of a pixel: logits of the classes, then heatmaps.
        per_pixel: whether the network gives values for every pixel instead of one vector.
        landmarks: how many of the values of a pixel are heatmaps; they are made last, out of the logits as well.
        points: length of a vector that is given beside the pixels (SL); 0 gives none.
        stride: px of the image for one value: 2 as the decoder ends, 1 enlarges it bilinearly.
        filters: channels of the encoder's first stage and of the decoder's last.
        backbone: "resnet50" or "vgg13".
        weights: file of the published ResNet-50, for 64 filters and 3 channels.
        name: of the model.

    Returns:
        Functional model to `(batch, height / stride, width / stride, outputs)`, with `points` to that and
        `(batch, points)`, or without `per_pixel` to `(batch, outputs)`.

    Raises:
        ValueError: if numbers do not fit together or are out of range.

    Reference:
        Laina, Rieke et al., MICCAI 2017, section 2; a 1x1 convolution without bias brings skips to the channels of the
        decoder, which the paper does not say.
    """
    check_open_sizes(input_shape, per_pixel and not points)
    _check(input_shape, outputs, landmarks, points, stride, backbone)
    if weights is not None and (backbone, filters, input_shape[-1]) != ("resnet50", PUBLISHED, 3):
        raise ValueError(
            f"`weights` are those of resnet50 with {PUBLISHED} filters for 3 channels. "
            f"Received {backbone} with {filters} for {input_shape[-1]}."
        )
    image = keras.Input(input_shape, name="image")
    canvas = padded(image, STRIDE)
    stages = BACKBONES[backbone](canvas, filters)
    if not per_pixel:
        result = _vector(stages[-1], outputs)
    else:
        maps = _decoded(stages, architecture, filters)
        maps = enlarged(_outputs(maps, outputs, landmarks, architecture.concatenated), HALF // stride, "enlarge")
        result = cropped(maps, *(_at_stride(x, stride, canvas is image) for x in (image, canvas)))
        result = [result, _vector(stages[-1], points)] if points else result
    model = keras.Model(image, result, name=name)
    if weights is not None:
        read_published_weights(model, weights)
    return model


def _decoded(stages: list[Tensor], architecture: CslDecoder, filters: int) -> Tensor:
    *sources, x = stages
    x = normalised_convolution(x, 16 * filters, 1, "reduce", use_bias=True)
    for number, (stage, source) in enumerate(zip(architecture.stages, reversed(sources), strict=True), start=1):
        width = max(1, round(filters * 2 ** (len(sources) - number) * stage.width / 100))
        x = up_projection(x, width, f"up_{number}", stage.kernel)
        if stage.skip:
            x = summed_skip(x, source, f"skip_{number}")
    return x


def _outputs(maps: Tensor, outputs: int, landmarks: int, concatenated: bool) -> Tensor:
    made = []
    if outputs > landmarks:
        made.append(spatial_convolution(maps, outputs - landmarks, 3, "logits", use_bias=True))
    if landmarks:
        seen = layers.Concatenate(name="features_and_logits")([maps, *made]) if concatenated and made else maps
        made.append(spatial_convolution(seen, landmarks, 3, "heatmaps", use_bias=True))
    return made[0] if len(made) == 1 else layers.Concatenate(name="logits_and_heatmaps")(made)


def _vector(maps: Tensor, outputs: int) -> Tensor:
    """Halves the last maps once more and averages them, so that not too large a region is averaged."""
    x = bottleneck(maps, maps.shape[-1] // EXPANSION, "vector_block", stride=2, project=True)
    return layers.Dense(outputs, name="vector")(layers.GlobalAveragePooling2D(name="features")(x))


def _at_stride(image: Tensor, stride: int, whole: bool) -> Tensor:
    """Makes a tensor of the size of the output; its values are not used."""
    if whole or stride == 1:
        return image
    return layers.MaxPooling2D(stride, padding="same", name=f"{image.name}_at_stride")(image)


def _check(
    input_shape: tuple[int | None, ...], outputs: int, landmarks: int, points: int, stride: int, backbone: str
) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"`input_shape` must be (height, width, channels), no volume. Received {input_shape}.")
    if outputs < 1 or not 0 <= landmarks <= outputs or points < 0:
        raise ValueError(
            "`outputs` must be 1 or more, `landmarks` 0 to as many, `points` 0 or more. "
            f"Received {outputs}, {landmarks} and {points}."
        )
    if stride not in (1, HALF):
        raise ValueError(f"`stride` must be 1 or {HALF} px. Received {stride}.")
    if backbone not in BACKBONES:
        raise ValueError(f"`backbone` must be one of {', '.join(BACKBONES)}. Received `{backbone}`.")
