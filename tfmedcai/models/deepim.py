"""DeepIM: regresses the step from the pose of a moving image to that of a target image."""

from __future__ import annotations

import keras
from keras import layers

from tfmedcai.layers.image_pair import moving_and_target

Tensor = keras.KerasTensor

# Convolutions of FlowNetS: channels over those of the first one, edge of the kernel [px], stride.
ENCODER = (
    *((1, 7, 2), (2, 5, 2), (4, 5, 2), (4, 3, 1), (8, 3, 2)),
    *((8, 3, 1), (8, 3, 2), (8, 3, 1), (16, 3, 2), (16, 3, 1)),
)
SLOPE = 0.1  # of leaky ReLU below zero
OUTPUTS = 7


def deepim(
    *,
    input_shape: tuple[int, int, int] = (128, 128, 2),
    outputs: int = OUTPUTS,
    per_pixel: bool = False,
    filters: int = 64,
    units: int = 256,
) -> keras.Model:
    """Builds DeepIM: the encoder of FlowNetS on both images, two dense layers, a quaternion and a translation.

    Images of 128 px make 25 154 631 parameters, of 64 px 24 368 199.

    Args:
        input_shape: (rows px, columns px, channels): the moving image, and as last channel the target image.
        outputs: must be 7.
        per_pixel: must be False.
        filters: channels of the first convolution.
        units: of the dense layers.

    Returns:
        Functional model `(batch, rows, columns, channels)` -> `(batch, 7)`: unit quaternion x, y, z, w, and v_x, v_y,
        v_z, as `geometry.pose_updates.deepim_update` takes them.

    Raises:
        ValueError: if a number is not positive, or something else than a step is asked for.

    Reference:
        Li et al., DeepIM: deep iterative matching for 6D pose estimation, ECCV 2018, section 3; Dosovitskiy et al.,
        FlowNet, ICCV 2015.

    >>> deepim(input_shape=(64, 64, 2), filters=4, units=8).output_shape
    (None, 7)
    """
    if min(*input_shape, filters, units) < 1:
        raise ValueError(
            f"`input_shape`, `filters` and `units` must be positive. Received {input_shape}, {filters} and {units}."
        )
    if outputs != OUTPUTS:
        raise ValueError(
            f"`outputs` must be {OUTPUTS}: deepim gives a quaternion and a translation. Received {outputs}."
        )
    images, *_ = moving_and_target(input_shape, outputs, per_pixel, "deepim")
    x = images
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
