"""DeepIM: regresses the step from the pose of a moving image to that of a target image."""

from __future__ import annotations

import keras
from keras import layers

Tensor = keras.KerasTensor

# Convolutions of FlowNetS: channels over those of the first one, edge of the kernel [px], stride.
ENCODER = (
    *((1, 7, 2), (2, 5, 2), (4, 5, 2), (4, 3, 1), (8, 3, 2)),
    *((8, 3, 1), (8, 3, 2), (8, 3, 1), (16, 3, 2), (16, 3, 1)),
)
SLOPE = 0.1  # of leaky ReLU below zero


def deepim(*, input_shape: tuple[int, int, int] = (128, 128, 1), filters: int = 64, units: int = 256) -> keras.Model:
    """Builds DeepIM: the encoder of FlowNetS on both images, two dense layers, a quaternion and a translation.

    Both images together have two channels; images of 128 px make 25 154 631 parameters, of 64 px 24 368 199.

    Args:
        input_shape: (rows px, columns px, channels) of each image.
        filters: channels of the first convolution.
        units: of the dense layers.

    Returns:
        Functional model of a list, moving and target, each `(batch, rows, columns, channels)`, -> `(batch, 7)`: unit
        quaternion x, y, z, w, and v_x, v_y, v_z, as `geometry.pose_updates.deepim_update` takes them.

    Raises:
        ValueError: if a number is not positive.

    Reference:
        Li et al., DeepIM: deep iterative matching for 6D pose estimation, ECCV 2018, section 3; Dosovitskiy et al.,
        FlowNet, ICCV 2015.

    >>> deepim(input_shape=(64, 64, 1), filters=4, units=8).output_shape
    (None, 7)
    """
    if min(*input_shape, filters, units) < 1:
        raise ValueError(
            f"`input_shape`, `filters` and `units` must be positive. Received {input_shape}, {filters} and {units}."
        )
    images = [keras.Input(input_shape, name=name) for name in ("moving", "target")]
    x = layers.Concatenate(name="images")(images)
    for number, (width, size, stride) in enumerate(ENCODER, start=1):
        name = f"conv_{number}"
        x = layers.Conv2D(filters * width, size, strides=stride, padding="same", name=name)(x)
        x = layers.LeakyReLU(SLOPE, name=f"{name}_relu")(x)
    x = layers.Flatten(name="features")(x)
    for number in (1, 2):
        x = layers.Dense(units, name=f"dense_{number}")(x)
        x = layers.LeakyReLU(SLOPE, name=f"dense_{number}_relu")(x)
    # An untrained network shall turn little: the quaternion starts at that of no rotation.
    start = keras.initializers.Constant([0.0, 0.0, 0.0, 1.0])
    rotation = layers.Dense(4, bias_initializer=start, name="rotation")(x)
    rotation = layers.UnitNormalization(name="quaternion")(rotation)
    step = layers.Concatenate(name="step")([rotation, layers.Dense(3, name="translation")(x)])
    return keras.Model(images, step, name="deepim")
