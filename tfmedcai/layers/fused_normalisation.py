"""Batch normalisation of images and volumes as a single operation."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfmedcai.layers.convolution import MOMENTUM

Tensor = keras.KerasTensor


@keras.saving.register_keras_serializable("tfmedcai")
class FusedNormalisation(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` whose training step is one fused operation.

    Keras itself fuses nothing on volumes, and builds several times as many operations, so that tracing a network of
    hundreds of normalisations takes minutes. The moving variance is the unbiased one. Masks, renormalisation,
    synchronisation, channels that are not last, frozen layers and inference are left to BatchNormalization.

    Input: `(batch, ..., channels)` with fixed sizes but for the batch.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalises; see `keras.layers.BatchNormalization`."""
        sizes = inputs.shape[1:]
        plain = mask is not None or self.renorm or self.synchronized
        if not training or not self.trainable or plain or self.axis not in (-1, len(sizes)) or None in sizes:
            return super().call(inputs, training=training, mask=mask)
        scale = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        offset = self.beta if self.center else tf.zeros_like(self.moving_mean)
        parameters = (scale, offset, self.moving_mean, self.moving_variance)
        outputs, mean, variance = standardised(
            tf.convert_to_tensor(inputs),
            *(tf.cast(parameter, tf.float32) for parameter in parameters),
            epsilon=self.epsilon,
            momentum=self.momentum,
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance)
        return outputs


def standardised(
    x: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    epsilon: float,
    momentum: float,
    training: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Standardises channels over batch and positions in one operation.

    Args:
        x: `(batch, ..., channels)` with fixed sizes but for the batch.
        scale: `(channels,)` float32, factor of the standardised values.
        offset: `(channels,)` float32, added to them.
        mean: `(channels,)` float32 moving mean.
        variance: `(channels,)` float32 moving variance.
        epsilon: added to the variance.
        momentum: part of the moving statistics that is kept.
        training: whether the statistics are those of the batch, or else the moving ones.

    Returns:
        The result, shaped as `x`, and the next moving mean and variance.
    """
    shape: list[Any] = x.shape.as_list()
    *sizes, channels = shape[1:]
    pixels = x if len(sizes) == 2 else tf.reshape(x, (-1, 1, math.prod(sizes), channels))
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        pixels,
        scale,
        offset,
        mean,
        variance,
        epsilon=epsilon,
        is_training=training,
        exponential_avg_factor=1 - momentum if training else 1.0,
    )
    return outputs if len(sizes) == 2 else tf.reshape(outputs, (-1, *sizes, channels)), mean, variance


def fused_normalisation(x: Tensor, name: str) -> Tensor:
    """Applies batch normalisation whose running averages follow within tens of steps.

    Args:
        x: `(batch, ..., channels)`.
        name: name of the layer.

    Returns:
        Tensor of the same shape.
    """
    return FusedNormalisation(momentum=MOMENTUM, name=name)(x)


def activated(x: Tensor, name: str) -> Tensor:
    """Applies batch normalisation, then ReLU.

    Args:
        x: `(batch, ..., channels)`.
        name: what the names of the layers begin with.

    Returns:
        Tensor of the same shape.
    """
    return layers.ReLU(name=f"{name}_relu")(fused_normalisation(x, f"{name}_bn"))
