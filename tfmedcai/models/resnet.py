"""The encoder ResNet-50 as `keras.applications` has it, at any width; reads its published weights from a file."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
from keras import layers

from tfmedcai.inference.frames import DEVIATION
from tfmedcai.layers.convolution import MOMENTUM

Tensor = keras.KerasTensor

BLOCKS = (3, 4, 6, 3)
WIDTHS = (1, 2, 4, 8)  # channels inside the bottlenecks of the stages over those of the first convolution
EXPANSION = 4
EPSILON = 1.001e-5  # of batch normalisation


def resnet50_stages(image: Tensor, filters: int = 64) -> list[Tensor]:
    """Makes the maps at each resolution, from half of the image's to a 32nd.

    A stage halves in its first 1x1 convolution, and every convolution has a bias. Layers have the names of
    `keras.applications.ResNet50`.

    Args:
        image: `(batch, height, width, channels)`, sizes multiples of 32.
        filters: channels of the first convolution; 64 is the published network.

    Returns:
        Five maps of `filters`, then 4, 8, 16 and 32 times as many channels.

    Reference:
        He et al., Deep residual learning for image recognition, CVPR 2016.

    >>> [stage.shape[1:] for stage in resnet50_stages(keras.Input((480, 480, 3)))][-1]
    (15, 15, 2048)
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(filters, 7, strides=2, name="conv1_conv")(x)
    stages = [layers.ReLU(name="conv1_relu")(_normalised(x, "conv1"))]
    x = layers.ZeroPadding2D(1, name="pool1_pad")(stages[-1])
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (blocks, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True), start=2):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 2 and block == 1 else 1
            x = bottleneck(x, filters * width, f"conv{stage}_block{block}", stride, project=block == 1)
        stages.append(x)
    return stages


def bottleneck(x: Tensor, filters: int, name: str, stride: int = 1, project: bool = False) -> Tensor:
    """Adds 1x1, 3x3 and 1x1 convolutions with BN to the input, or to its projection.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels inside; four times as many come out.
        name: what the names of the layers begin with.
        stride: of the first convolution, and of the projection.
        project: whether a 1x1 convolution brings the input to the size of the result.

    Returns:
        `(batch, height / stride, width / stride, 4 * filters)`.
    """
    shortcut = x
    if project:
        shortcut = layers.Conv2D(EXPANSION * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalised(shortcut, f"{name}_0")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = layers.ReLU(name=f"{name}_1_relu")(_normalised(x, f"{name}_1"))
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = layers.ReLU(name=f"{name}_2_relu")(_normalised(x, f"{name}_2"))
    x = _normalised(layers.Conv2D(EXPANSION * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def read_published_weights(model: keras.Model, path: Path) -> None:
    """Gives the layers of a ResNet-50 in a model the weights of a published file.

    The file expects blue, green and red less their means; the first kernel is turned round and scaled, so that the
    model takes frames as `inference.frames.normalised` makes them.

    Args:
        model: has `resnet50_stages` with 64 filters for 3 channels.
        path: `resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5` of `keras.applications`.

    Raises:
        ValueError: if the file is missing, has no such layers or others shapes.
    """
    try:
        with h5py.File(path) as file:
            known = {str(name) for name in file.attrs.get("layer_names", ())}
    except OSError as error:
        raise ValueError(f"{path}: cannot read these weights ({error}).") from error
    if "conv5_block3_3_conv" not in known:
        raise ValueError(
            f"{path}: must hold the layers of `keras.applications.ResNet50`, `conv1_conv` to `conv5_block3_3_bn`. "
            f"Received {', '.join(sorted(known)[:3]) or 'no layer names'}: give the published `_notop.h5` file."
        )
    first = model.get_layer("conv1_conv")
    model.load_weights(path, by_name=True)
    kernel, bias = first.get_weights()
    first.set_weights([kernel[:, :, ::-1] * DEVIATION, bias])


def _normalised(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_bn")(x)
