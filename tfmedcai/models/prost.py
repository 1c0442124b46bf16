"""ProST: the learned similarity of a volume at a pose and an X-ray image, but for the projection between its parts.

`models/pose_similarity.py` puts them together. Training takes the gradient with respect to the pose and then to the
weights, so all layers have right second derivatives, which `keras.layers.BatchNormalization` and `LayerNormalization`
have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers, ops

from tfmedcai.layers.convolution import MOMENTUM
from tfmedcai.layers.fused_normalisation import FusedNormalisation
from tfmedcai.layers.image_pair import moving_and_target
from tfmedcai.layers.sample_normalisation import EACH_CHANNEL, SampleNormalisation
from tfmedcai.layers.volumetric_convolution import VolumetricConvolution
from tfmedcai.models.cross_vit import CrossVitSizes, cross_vit

Tensor = keras.KerasTensor
Form = Literal["journal", "miccai"]

FORMS = ("journal", "miccai")
EPSILON = 1e-5  # of batch normalisation: densities are small numbers


def prost_volume_net(
    *,
    input_shape: tuple[int, int, int, int] = (128, 128, 128, 1),
    filters: Sequence[int] = (4, 8, 16, 8),
    channels: int = 3,
    form: Form = "journal",
) -> keras.Model:
    """Builds the network that adds to a volume what it learned about it, in several channels.

    3x3x3 convolutions; the volume is added to every channel of the last one. The journal's form has normalisation and
    ReLU behind all but the last one, that of MICCAI a ReLU behind each. A training step has one volume, of which batch
    normalisation takes the statistics; here it keeps to them afterwards.

    Args:
        input_shape: (voxels, voxels, voxels, 1) of a volume of densities.
        filters: channels of all convolutions but the last one.
        channels: of the last one; each is projected.
        form: "journal" or "miccai".

    Returns:
        Functional model `(batch, *voxels, 1)` -> `(batch, *voxels, channels)`.

    Raises:
        ValueError: if a number is not positive, the volume has several channels, or the form is unknown.

    Reference:
        Gao et al., A fully differentiable framework for 2D/3D registration, TMI 2024, figure 2; Gao et al.,
        Generalizing spatial transformers to projective geometry, MICCAI 2020.

    >>> prost_volume_net(input_shape=(16, 16, 16, 1), form="miccai").count_params()
    8571
    """
    if len(input_shape) != 4 or input_shape[-1] != 1:
        raise ValueError(f"`input_shape` must be three sizes in voxels and one channel. Received {input_shape}.")
    if min(*input_shape, *filters, channels) < 1:
        raise ValueError(
            "`input_shape`, all of `filters` and `channels` must be positive. "
            f"Received {input_shape}, {tuple(filters)} and {channels}."
        )
    if form not in FORMS:
        raise ValueError(f"`form` must be one of {', '.join(FORMS)}. Received {form!r}.")
    volume = x = keras.Input(input_shape, name="volume")
    for number, width in enumerate((*filters, channels), start=1):
        name, last = f"conv_{number}", number > len(filters)
        x = VolumetricConvolution(width, 3, padding="same", name=name)(x)
        if form == "journal" and not last:
            x = SampleNormalisation(groups=EACH_CHANNEL, epsilon=EPSILON, name=f"{name}_norm")(x)
        if form == "miccai" or not last:
            x = layers.ReLU(name=f"{name}_relu")(x)
    return keras.Model(volume, layers.Add(name="sum")([x, volume]), name="prost_volume_net")


def prost(
    *,
    input_shape: tuple[int, int, int] = (128, 128, 4),
    outputs: int = 1,
    per_pixel: bool = False,
    **sizes: Any,
) -> keras.Model:
    """Builds the similarity of the journal: CrossViT on the moving image, made one channel, and the target image.

    Args:
        input_shape: (rows px, columns px, channels): the projected volume, and as last channel the target image.
        outputs: number of values; a similarity is one.
        per_pixel: must be False: class tokens know no pixels.
        **sizes: of the CrossViT, see `CrossVitSizes`.

    Returns:
        Functional model `(batch, rows, columns, channels)` -> `(batch, outputs)`; lower is more alike.

    Raises:
        ValueError: if a number is not positive, the patches do not fill the images, or values of pixels are asked for.

    Reference:
        Gao et al., A fully differentiable framework for 2D/3D registration, TMI 2024, section II-B.

    >>> small = dict(patches=(8, 32), tokens=(4, 8), depths=(1, 1), levels=1, exchanges=1, logits=10)
    >>> prost(input_shape=(64, 64, 4), **small).output_shape
    (None, 1)
    """
    images, moving, target = moving_and_target(input_shape, outputs, per_pixel, "prost")
    moving = layers.Conv2D(1, 3, padding="same", name="moving_conv")(moving)
    logits = cross_vit(layers.Concatenate(name="both")([moving, target]), CrossVitSizes(**sizes))
    return keras.Model(images, layers.Dense(outputs, name="similarity")(logits), name="prost")


def prost_miccai(
    *,
    input_shape: tuple[int, int, int] = (128, 128, 4),
    outputs: int = 1,
    per_pixel: bool = False,
    filters: Sequence[int] = (16, 64, 128),
    features: int = 64,
) -> keras.Model:
    """Builds the similarity of MICCAI 2020: mean squared difference of what two encoders make of the images.

    An encoder has a 3x3 convolution and a bottleneck at each of the resolutions, max pooling behind each, and a last
    3x3 convolution. The bottleneck keeps its channels: 1x1, 3x3 and 1x1 convolutions without bias, batch normalisation
    behind each, added to the input. The encoders share no weights.

    Args:
        input_shape: (rows px, columns px, channels): the projected volume, and as last channel the target image.
        outputs: must be 1.
        per_pixel: must be False.
        filters: channels at each resolution.
        features: channels of the maps that are compared.

    Returns:
        Functional model `(batch, rows, columns, channels)` -> `(batch, outputs)`; lower is more alike.

    Raises:
        ValueError: if a number is not positive, or something else than a similarity is asked for.

    Reference:
        Gao et al., Generalizing spatial transformers to projective geometry with applications to 2D/3D registration,
        MICCAI 2020.

    >>> prost_miccai(input_shape=(16, 16, 4), filters=(4, 8), features=8).output_shape
    (None, 1)
    """
    if min(*filters, features) < 1:
        raise ValueError(f"All of `filters` and `features` must be positive. Received {tuple(filters)} and {features}.")
    if outputs != 1:
        raise ValueError(f"`outputs` must be 1: prost_miccai gives one similarity. Received {outputs}.")
    images, *pair = moving_and_target(input_shape, outputs, per_pixel, "prost_miccai")
    maps = [_encoded(x, filters, features, name) for x, name in zip(pair, ("moving", "target"), strict=True)]
    difference = layers.Subtract(name="difference")(maps)
    similarity = ops.mean(ops.square(difference), axis=(1, 2, 3))
    return keras.Model(images, layers.Reshape((1,), name="similarity")(similarity), name="prost_miccai")


def _encoded(x: Tensor, filters: Sequence[int], features: int, name: str) -> Tensor:
    for stage, width in enumerate(filters, start=1):
        place = f"{name}_{stage}"
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{place}_conv")(x)
        x = _bottleneck(x, f"{place}_bottleneck")
        x = layers.MaxPooling2D(2, name=f"{place}_pool")(x)
    return layers.Conv2D(features, 3, padding="same", activation="relu", name=f"{name}_features")(x)


def _bottleneck(x: Tensor, name: str) -> Tensor:
    width, made = x.shape[-1], x
    for number, size in enumerate((1, 3, 1), start=1):
        place = f"{name}_{number}"
        made = layers.Conv2D(width, size, padding="same", use_bias=False, name=place)(made)
        made = FusedNormalisation(momentum=MOMENTUM, epsilon=EPSILON, name=f"{place}_bn")(made)
        if number < 3:
            made = layers.ReLU(name=f"{place}_relu")(made)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, made]))
