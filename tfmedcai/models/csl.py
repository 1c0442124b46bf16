"""CSL: classes and heatmaps of landmarks out of one decoder; also L, a vector, and SL, classes and a vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
from keras import layers

from tfmedcai.layers.blocks import normalised_convolution
from tfmedcai.layers.heads import check_open_sizes
from tfmedcai.layers.spatial import cropped, enlarged, padded, spatial_convolution
from tfmedcai.layers.upsampling import summed_skip, up_projection
from tfmedcai.models.resnet import EXPANSION, bottleneck, read_published_weights, resnet50_stages
from tfmedcai.models.unet import ENCODERS
from tfmedcai.search_spaces.csl_decoder import STAGES, CslDecoder, Stage

Tensor = keras.KerasTensor
Form = Literal["heatmaps", "points", "points_only"]

STRIDE = 32  # of the encoder
HALF = 2  # px of the image in one of the decoder's last map
PUBLISHED = 64  # filters of the encoder that has published weights

# Name -> makes maps at 1/2 to 1/32 of the resolution of an image, given the channels of the first.
BACKBONES: dict[str, Callable[[Tensor, int], list[Tensor]]] = {
    "resnet50": resnet50_stages,
    "vgg13": lambda image, filters: ENCODERS["vgg13"].stages(image, filters, 5)[1:],
}


def csl(*, skips: bool = True, name: str = "csl", **options: Any) -> keras.Model:
    """Builds CSL with the published decoder, with or without its skips.

    Args:
        skips: add the maps of the encoder to those of the decoder.
        name: of the model.
        options: of `csl_net`.

    Returns:
        Functional model, as of `csl_net`.

    Reference:
        Laina, Rieke et al., Concurrent segmentation and localization, MICCAI 2017.

    >>> csl(input_shape=(64, 64, 3), outputs=5, per_pixel=True, landmarks=3, stride=2, filters=4).output_shape
    (None, 32, 32, 5)
    """
    return csl_net(CslDecoder((Stage(skip=skips),) * STAGES), name=name, **options)


csl_without_skips = functools.partial(csl, skips=False, name="csl_without_skips")


def csl_net(
    architecture: CslDecoder,
    *,
    input_shape: tuple[int | None, ...] = (480, 480, 3),
    outputs: int = 5,
    per_pixel: bool = False,
    landmarks: int = 0,
    stride: int = 1,
    form: Form = "heatmaps",
    name: str = "csl_net",
    **encoder: Any,
) -> keras.Model:
    """Builds an encoder and what is behind it: a decoder, a vector, or both.

    Args:
        architecture: the decoder; a vector does not depend on it.
        input_shape: (height px, width px, channels); sizes may be None for pixels without a vector, the network then
            takes any, with layers that only tfmedcai can load.
        outputs: number of regressed values, or of values of a pixel: logits of the classes, then heatmaps.
        per_pixel: whether the network gives values for every pixel instead of one vector.
        landmarks: how many of the values of a pixel are landmarks. Heatmaps are made last, out of the logits as well.
        stride: px of the image for one value: 2 as the decoder ends, 1 enlarges it bilinearly.
        form: what becomes of landmarks: "heatmaps" (CSL), coordinates in a vector beside the pixels ("points", SL), or
            such a vector alone ("points_only", L).
        name: of the model.
        encoder: of `encode`.

    Returns:
        Functional model to `(batch, height / stride, width / stride, outputs)`; "points" to that without the landmarks
        and `(batch, 2 landmarks)`, "points_only" to the latter; without `per_pixel` to `(batch, outputs)`.

    Raises:
        ValueError: if numbers do not fit together or are out of range.

    Reference:
        Laina, Rieke et al., MICCAI 2017, section 2; a 1x1 convolution without bias brings skips to the channels of the
        decoder, which the paper does not say.
    """
    vector = 2 * landmarks if per_pixel else outputs
    pixels = per_pixel and form != "points_only"
    check_open_sizes(input_shape, pixels and form == "heatmaps")
    _check(input_shape, outputs, landmarks, stride, needed=per_pixel and form != "heatmaps")
    image, canvas, stages = encode(input_shape, **encoder)
    result = []
    if pixels:
        heatmaps, classes = (landmarks if form == "heatmaps" else 0), outputs - landmarks
        maps = _outputs(_decoded(stages, architecture), classes, heatmaps, architecture.concatenated)
        maps = enlarged(maps, HALF // stride, "enlarge")
        result.append(cropped(maps, *(_at_stride(x, stride, canvas is image) for x in (image, canvas))))
    if not pixels or form == "points":
        result.append(_vector(stages[-1], vector))
    model = keras.Model(image, result[0] if len(result) == 1 else result, name=name)
    if weights := encoder.get("weights"):
        read_published_weights(model, weights)
    return model


_PLAIN = CslDecoder((Stage(skip=False),) * STAGES)
sl = functools.partial(csl_net, _PLAIN, form="points", name="sl")
l_net = functools.partial(csl_net, _PLAIN, form="points_only", name="l_net")


def encode(
    input_shape: tuple[int | None, ...],
    filters: int = PUBLISHED,
    backbone: str = "resnet50",
    weights: Path | None = None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Makes the maps of an encoder.

    Args:
        input_shape: (height px, width px, channels).
        filters: channels of the first stage.
        backbone: "resnet50" or "vgg13".
        weights: file of the published ResNet-50, which fits 64 filters and 3 channels alone.

    Returns:
        The image, the image padded to a multiple of the total stride, and the maps at 1/2 to 1/32 of its resolution.

    Raises:
        ValueError: if the backbone is unknown or the weights do not fit.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"`backbone` must be one of {', '.join(BACKBONES)}. Received `{backbone}`.")
    if weights is not None and (backbone, filters, input_shape[-1]) != ("resnet50", PUBLISHED, 3):
        raise ValueError(
            f"`weights` are those of resnet50 with {PUBLISHED} filters for 3 channels. "
            f"Received {backbone} with {filters} for {input_shape[-1]}."
        )
    image = keras.Input(input_shape, name="image")
    canvas = padded(image, STRIDE)
    return image, canvas, BACKBONES[backbone](canvas, filters)


def _decoded(stages: list[Tensor], architecture: CslDecoder) -> Tensor:
    *sources, x = stages
    filters = sources[0].shape[-1]
    x = normalised_convolution(x, 16 * filters, 1, "reduce", use_bias=True)
    for number, (stage, source) in enumerate(zip(architecture.stages, reversed(sources), strict=True), start=1):
        width = max(1, round(filters * 2 ** (len(sources) - number) * stage.width / 100))
        x = up_projection(x, width, f"up_{number}", stage.kernel)
        if stage.skip:
            x = summed_skip(x, source, f"skip_{number}")
    return x


def _outputs(maps: Tensor, classes: int, landmarks: int, concatenated: bool) -> Tensor:
    made = []
    if classes:
        made.append(spatial_convolution(maps, classes, 3, "logits", use_bias=True))
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


def _check(input_shape: tuple[int | None, ...], outputs: int, landmarks: int, stride: int, *, needed: bool) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"`input_shape` must be (height, width, channels), no volume. Received {input_shape}.")
    if outputs < 1 or not int(needed) <= landmarks <= outputs:
        raise ValueError(
            f"`outputs` must be 1 or more, and `landmarks` {int(needed)} to as many of them. "
            f"Received {outputs} and {landmarks}."
        )
    if stride not in (1, HALF):
        raise ValueError(f"`stride` must be 1 or {HALF} px. Received {stride}.")
