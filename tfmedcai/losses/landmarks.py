"""Losses for landmarks, alone or beside a segmentation: heatmaps around each of them, or their coordinates."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfmedcai.losses.segmentation import CrossEntropy


def heatmaps(points: Any, size: tuple[int, int], sigma: float, stride: int = 1) -> Any:
    """Draws a Gaussian around every landmark, as high as that of a single axis.

    Args:
        points: `(..., landmarks, 2)` float, x and y in px of the image, pixel centres at integers. A landmark that is
            not there is NaN; one outside the image reaches into the map as far as its Gaussian does.
        size: height and width of the maps.
        sigma: standard deviation, in px of the maps.
        stride: px of the image in one of the maps.

    Returns:
        `(..., height, width, landmarks)` float32; all 0 for a landmark that is not there.

    Raises:
        ValueError: if `sigma` is not above 0.

    Reference:
        Laina, Rieke et al., CSL, MICCAI 2017, equation 2.

    >>> drawn = heatmaps([[[2.0, 1.0]]], (3, 4), sigma=5.0)
    >>> drawn.shape, round(float(drawn[0, 1, 2, 0]), 4)
    (TensorShape([1, 3, 4, 1]), 0.0798)
    """
    if sigma <= 0:
        raise ValueError(f"`sigma` must be above 0 px. Received {sigma}.")
    places: Any = (ops.cast(ops.convert_to_tensor(points), "float32") + 0.5) / stride - 0.5
    there = ops.isfinite(places)
    places = ops.where(there, places, -1e6)
    # The Gaussian of a plane is the product of one along x and one along y.
    along = []
    for axis, count in ((1, size[0]), (0, size[1])):
        steps: Any = ops.arange(count, dtype="float32")
        distance = steps[:, None] - places[..., None, :, axis]
        along.append(ops.exp(-(distance**2) / (2 * sigma**2)))
    return along[0][..., :, None, :] * along[1][..., None, :, :] * peak(sigma)


def peak(sigma: float) -> float:
    """Returns the value of a heatmap where its landmark lies.

    >>> round(peak(5.0), 10), round(peak(7.0), 10)
    (0.0797884561, 0.0569917543)
    """
    return 1 / math.sqrt(2 * math.pi * sigma**2)


@keras.saving.register_keras_serializable("tfmedcai")
class SegmentationAndHeatmaps(keras.losses.Loss):
    """Mean cross-entropy of the pixels' classes, plus the squared error of the heatmaps summed over their pixels.

    Targets are `(batch, height, width, 1 + landmarks)`: the class of every pixel, then the heatmaps; predictions
    `(batch, height, width, classes + landmarks)`: logits, then heatmaps. A pixel whose class is none of them, 255 say,
    is unknown and adds nothing; nor does a heatmap of NaN, whose landmark nobody marked. One of zeros says that the
    landmark is not there. Without classes (`landmarks` channels in all) only the heatmaps count.

    Args:
        landmarks: number of heatmaps; at least 1.
        weight: lambda_H, of the mean over the heatmaps against the cross-entropy.
        name: of the loss.
        **options: of `keras.losses.Loss`.

    Raises:
        ValueError: if `landmarks` is below 1 or shapes do not fit.

    Reference:
        CSL, equations 1 and 2.

    >>> target = ops.concatenate([ops.zeros((1, 8, 8, 1)), heatmaps([[[3.0, 4.0]]], (8, 8), 1.0)], axis=-1)
    >>> right = ops.concatenate([ops.ones((1, 8, 8, 1)) * 40, ops.zeros((1, 8, 8, 1)), target[..., 1:]], axis=-1)
    >>> float(SegmentationAndHeatmaps(landmarks=1)(target, right))
    0.0
    """

    def __init__(self, landmarks: int, weight: float = 1.0, name: str = "segmentation_and_heatmaps", **options: Any):
        super().__init__(name=name, **options)
        if landmarks < 1:
            raise ValueError(f"`landmarks` must be 1 or more heatmaps. Received {landmarks}.")
        self.landmarks, self.weight = landmarks, weight
        self.cross_entropy = CrossEntropy(over_batch=False)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns `(batch,)` float32.

        Raises:
            ValueError: if the numbers of channels do not fit.
        """
        if y_true.shape[-1] != 1 + self.landmarks or y_pred.shape[-1] < self.landmarks:
            raise ValueError(
                f"`y_true` must have 1 + {self.landmarks} channels and `y_pred` the same heatmaps at its end. "
                f"Received {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
            )
        classes = y_pred.shape[-1] - self.landmarks
        squares = _squares(y_true[..., 1:], y_pred[..., classes:])
        loss = self.weight / self.landmarks * ops.sum(squares, axis=(1, 2, 3))
        return loss + self.cross_entropy.call(y_true[..., 0], y_pred[..., :classes]) if classes else loss

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the same loss."""
        return super().get_config() | {"landmarks": self.landmarks, "weight": self.weight}


@keras.saving.register_keras_serializable("tfmedcai")
class SquaredDistance(keras.losses.Loss):
    """Squared error summed over the coordinates; a coordinate of NaN in the targets adds nothing.

    Args:
        weight: lambda_L, what it is multiplied with.
        name: of the loss.
        **options: of `keras.losses.Loss`.

    Reference:
        CSL, section 2.2, the loss of L.

    >>> float(SquaredDistance()([[0.0, float("nan")]], [[0.5, 9.0]]))
    0.25
    """

    def __init__(self, weight: float = 1.0, name: str = "squared_distance", **options: Any):
        super().__init__(name=name, **options)
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns `(batch,)` float32."""
        return self.weight * ops.sum(_squares(y_true, y_pred), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the same loss."""
        return super().get_config() | {"weight": self.weight}


def _squares(true: Any, predicted: Any) -> Any:
    # The unknown is replaced before the difference: the gradient of NaN is NaN, also behind `where`.
    predicted = ops.cast(predicted, "float32")
    true = ops.cast(true, "float32")
    return ops.square(predicted - ops.where(ops.isnan(true), ops.stop_gradient(predicted), true))
