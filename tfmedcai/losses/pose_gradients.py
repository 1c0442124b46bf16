"""How far gradients of a similarity with respect to a pose are from those of the geodesic distance."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from tfmedcai.geometry.geodesic import geodesic_loss

FORMS = ("journal", "miccai", "mse")


@keras.saving.register_keras_serializable("tfmedcai")
class PoseGradientLoss(keras.losses.Loss):
    """Compares gradients `(batch, 6)`, a rad and a mm, after shifts are counted in units of the normaliser.

    Args:
        form: "journal" reads both as points of SE(3) and takes the squared geodesic distance, "miccai" compares their
            directions alone, those of rotation and translation each for themselves, "mse" the numbers.
        normaliser_mm: how many mm weigh as much as 1 rad.
        **options: of `keras.losses.Loss`.

    Raises:
        ValueError: if the form is unknown or the normaliser not positive.

    Reference:
        Gao et al., A fully differentiable framework for 2D/3D registration, TMI 2024, section II-C; Gao et al.,
        Generalizing spatial transformers to projective geometry, MICCAI 2020, section 2.3.

    >>> loss = PoseGradientLoss("miccai", normaliser_mm=100.0)
    >>> float(loss([[0.0, 0.0, 1.0, 0.01, 0.0, 0.0]], [[0.0, 0.0, 5.0, 0.0, 0.04, 0.0]]))
    2.0
    """

    def __init__(
        self, form: Literal["journal", "miccai", "mse"] = "journal", normaliser_mm: float = 1.0, **options: Any
    ):
        super().__init__(**{"name": "pose_gradient"} | options)
        if form not in FORMS or normaliser_mm <= 0:
            raise ValueError(
                f"`form` must be one of {', '.join(FORMS)} and `normaliser_mm` positive. "
                f"Received {form!r} and {normaliser_mm}."
            )
        self.form, self.normaliser_mm = form, normaliser_mm

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each case."""
        true, predicted = (scaled_gradient(gradient, self.normaliser_mm) for gradient in (y_true, y_pred))
        if self.form == "journal":
            return geodesic_loss(predicted, true)
        if self.form == "miccai":
            sides = zip(*(tf.split(gradient, 2, axis=-1) for gradient in (true, predicted)), strict=True)
            return tf.add_n([tf.reduce_sum((_direction(a) - _direction(b)) ** 2, axis=-1) for a, b in sides])
        return tf.reduce_mean((predicted - true) ** 2, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the same loss."""
        return super().get_config() | {"form": self.form, "normaliser_mm": self.normaliser_mm}


def scaled_gradient(gradient: tf.Tensor, normaliser_mm: float) -> tf.Tensor:
    """Turns gradients `(..., 6)` a rad and a mm into those a rad and a normaliser."""
    rotation, shift = tf.split(tf.convert_to_tensor(gradient), 2, axis=-1)
    return tf.concat([rotation, normaliser_mm * shift], axis=-1)


def _direction(vector: tf.Tensor) -> tf.Tensor:
    return vector * tf.math.rsqrt(tf.reduce_sum(vector**2, axis=-1, keepdims=True) + 1e-12)
