"""Losses of segmentation from logits, for images and volumes: foreground soft Dice, cross-entropy, and their sum."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Keeps 0 / 0 away; small beside one voxel.
SMOOTH = 1e-5


class _FromLogits(keras.losses.Loss):
    """Sums weighted cross-entropy and foreground soft Dice; the public losses say which."""

    dice_weight = 1.0
    cross_entropy_weight = 1.0

    def __init__(self, over_batch: bool = True, name: str | None = None, **options: Any):
        super().__init__(name=name, **options)
        self.over_batch = over_batch

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compares labels with logits.

        Args:
            y_true: `(batch, ...)` or `(batch, ..., 1)` labels: whole numbers from 0, the background.
            y_pred: `(batch, ..., classes)` logits; with one class, that of the foreground, whatever its label.

        Returns:
            `()` if the Dice is taken over the batch, else `(batch,)`; float32.

        Raises:
            ValueError: if the shapes do not fit.
        """
        # Sums over a volume need more than the half precision that logits may come in.
        logits: Any = ops.cast(y_pred, "float32")
        labels = _labels(y_true, logits)
        if logits.shape[-1] == 1:
            foreground = ops.cast(labels > 0, "float32")
            true = ops.expand_dims(foreground, -1)
            # Both logarithms from the logit: that of a rounded probability would be -inf.
            logs = -ops.softplus(-logits), -ops.softplus(logits)
            entropy = -(true * logs[0] + (1 - true) * logs[1])[..., 0]
            probability = ops.sigmoid(logits)
        else:
            one_hot: Any = ops.one_hot(labels, logits.shape[-1], dtype="float32")
            entropy = -ops.sum(one_hot * ops.log_softmax(logits, axis=-1), axis=-1)
            softmax: Any = ops.softmax(logits, axis=-1)
            true, probability = one_hot[..., 1:], softmax[..., 1:]
        loss = 0.0
        if self.cross_entropy_weight:
            by_sample = ops.mean(entropy, axis=list(range(1, len(entropy.shape))))
            loss += self.cross_entropy_weight * (ops.mean(by_sample) if self.over_batch else by_sample)
        if self.dice_weight:
            loss += self.dice_weight * self._dice(true, probability)
        return loss

    def _dice(self, true: Any, probability: Any) -> Any:
        axes = list(range(0 if self.over_batch else 1, len(true.shape) - 1))
        common = ops.sum(true * probability, axis=axes)
        total = ops.sum(true, axis=axes) + ops.sum(probability, axis=axes)
        return 1 - ops.mean((2 * common + SMOOTH) / (total + SMOOTH), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the same loss."""
        return super().get_config() | {"over_batch": self.over_batch}


@keras.saving.register_keras_serializable("tfmedcai")
class SoftDice(_FromLogits):
    """One less the mean soft Dice of the foreground classes: 2 sum(p g) / (sum(p) + sum(g)).

    Args:
        over_batch: sum over the whole batch, so that an image without foreground does no harm to the others; else
            image by image.
        name: of the loss.
        **options: of `keras.losses.Loss`.

    Reference:
        MB-NAS, section 2.3; Milletari et al., V-Net, 3DV 2016, with sums instead of sums of squares.

    >>> import numpy as np
    >>> labels = np.array([[0, 1, 1, 0]])
    >>> round(float(SoftDice()(labels, np.array([[[-40.0], [40.0], [-40.0], [-40.0]]]))), 3)
    0.333
    """

    cross_entropy_weight = 0.0


@keras.saving.register_keras_serializable("tfmedcai")
class CrossEntropy(_FromLogits):
    """Mean cross-entropy of all voxels, in nats; arguments as in `SoftDice`."""

    dice_weight = 0.0


@keras.saving.register_keras_serializable("tfmedcai")
class DiceCrossEntropy(_FromLogits):
    """Sum of `SoftDice` and `CrossEntropy`; arguments as in `SoftDice`."""


def _labels(y_true: Any, logits: Any) -> Any:
    shape, expected = tuple(y_true.shape), tuple(logits.shape[:-1])
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        y_true, shape = ops.squeeze(y_true, -1), shape[:-1]
    if len(shape) != len(expected) or any(a != b for a, b in zip(shape, expected, strict=True) if None not in (a, b)):
        raise ValueError(
            "`y_true` must be labels of shape (batch, ...) or (batch, ..., 1) for logits (batch, ..., classes). "
            f"Received {tuple(y_true.shape)} and {tuple(logits.shape)}."
        )
    return ops.cast(y_true, "int32")
