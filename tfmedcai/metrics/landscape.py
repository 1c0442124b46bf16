"""How well a cost leads to the true pose: its course along each degree of freedom, over distance, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats
import tensorflow as tf
from numpy.typing import ArrayLike

from tfmedcai.geometry.geodesic import geodesic_gradient, geodesic_loss
from tfmedcai.geometry.rigid import compose
from tfmedcai.metrics.registration import NORMALISER_MM

Cost = Callable[[tf.Tensor], tf.Tensor]

BATCH = 32


class Landscape(NamedTuple):
    """Costs around a pose along each of the six degrees of freedom: x, y, z of the rotation, then of the translation.

    offsets: `(6, points)` rad and mm in the frame of the C-arm, rising.
    costs: `(6, points)`.
    """

    offsets: np.ndarray
    costs: np.ndarray

    def minima(self) -> np.ndarray:
        """Counts the local minima inside each course, `(6,)`; one each is what a descent wants."""
        steps = np.sign(np.diff(self.costs, axis=1))
        # A flat piece goes on as what comes before it went, so that its end counts, and once.
        for place in range(1, steps.shape[1]):
            flat = steps[:, place] == 0
            steps[flat, place] = steps[flat, place - 1]
        return np.count_nonzero((steps[:, :-1] < 0) & (steps[:, 1:] > 0), axis=1)


class Correlation(NamedTuple):
    """How a cost goes with the distance of poses from the true one.

    distances: `(n,)` along the geodesic, rad.
    costs: `(n,)`.
    pearson, spearman: correlation of values and of ranks, where the cost is finite; NaN if one of both is constant.
    """

    distances: np.ndarray
    costs: np.ndarray
    pearson: float
    spearman: float


class Agreement(NamedTuple):
    """How well the gradient of a cost points along the geodesic to the true pose.

    rotation, translation: `(n,)` cosines of the angles between both, of either half of the gradient; 0 where one of
    them is zero or not finite.
    """

    rotation: np.ndarray
    translation: np.ndarray


def landscape(cost: Cost, pose: ArrayLike, reach: ArrayLike, points: int = 21, batch: int = BATCH) -> Landscape:
    """Evaluates a cost along each degree of freedom of the C-arm, the others held.

    Args:
        cost: poses `(batch, 6)` -> `(batch,)`, lower is more alike.
        pose: `(6,)` rotation vector in rad, translation in mm; the true one, say.
        reach: `(6,)` rad and mm, how far to go to either side.
        points: of each degree of freedom, odd, so that the pose itself is one of them.
        batch: poses in a call.

    Returns:
        The `Landscape`.

    Raises:
        ValueError: if a shape is another or `points` is not odd and 3 or more.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, figure 5.

    >>> found = landscape(lambda poses: poses[:, 5] ** 2, np.zeros(6), [0.1, 0.1, 0.1, 5, 5, 5], points=3)
    >>> found.costs[-1].tolist(), found.minima().tolist()
    ([25.0, 0.0, 25.0], [0, 0, 0, 0, 0, 1])
    """
    pose, reach = np.asarray(pose, np.float32), np.asarray(reach, np.float32)
    if pose.shape != (6,) or reach.shape != (6,):
        raise ValueError(f"`pose` and `reach` must have shape (6,). Received {pose.shape} and {reach.shape}.")
    if points < 3 or points % 2 == 0:
        raise ValueError(f"`points` must be odd and 3 or more. Received {points}.")
    offsets = np.linspace(-reach, reach, points, axis=1)
    poses = compose(pose, (offsets[..., np.newaxis] * np.eye(6, dtype=np.float32)[:, np.newaxis]).reshape(-1, 6))
    return Landscape(offsets, _in_batches(cost, poses.numpy(), batch).reshape(6, points))


def cost_correlation(
    cost: Cost, poses: ArrayLike, truth: ArrayLike, normaliser_mm: float = NORMALISER_MM, batch: int = BATCH
) -> Correlation:
    """Correlates a cost with the distance from the true pose.

    Args:
        cost: poses `(batch, 6)` -> `(batch,)`, lower is more alike.
        poses: `(n, 6)`, two or more: rotation vector in rad, translation in mm; random ones, say.
        truth: `(6,)` the true pose.
        normaliser_mm: as many mm count as 1 rad in the distance.
        batch: poses in a call.

    Returns:
        The `Correlation`.

    Raises:
        ValueError: if a shape is another.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, figure 6.
    """
    poses, truth = _checked(poses, truth)
    distances = np.sqrt(geodesic_loss(poses, truth, normaliser_mm))
    costs = _in_batches(cost, poses, batch)
    finite = np.isfinite(costs)
    known = distances[finite], costs[finite]
    if not finite.any() or not all(np.ptp(values) for values in known):
        return Correlation(distances, costs, float("nan"), float("nan"))
    pearson, spearman = (test(*known).statistic for test in (scipy.stats.pearsonr, scipy.stats.spearmanr))
    return Correlation(distances, costs, float(pearson), float(spearman))


def gradient_agreement(
    cost: Cost, poses: ArrayLike, truth: ArrayLike, normaliser_mm: float = NORMALISER_MM, batch: int = BATCH
) -> Agreement:
    """Compares the gradient of a cost with that of the geodesic distance, which it should point along.

    Args:
        cost: poses `(batch, 6)` -> `(batch,)`, lower is more alike, with a gradient.
        poses: as in `cost_correlation`.
        truth: as in `cost_correlation`.
        normaliser_mm: as in `cost_correlation`.
        batch: poses in a call.

    Returns:
        The `Agreement`.

    Raises:
        ValueError: if a shape is another.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, section II-C: what the similarity is trained for.
    """
    poses, truth = _checked(poses, truth)

    def slope(part: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(part)
            costs = cost(part)
        return tape.gradient(costs, part, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    found, right = _in_batches(slope, poses, batch), geodesic_gradient(poses, truth, normaliser_mm).numpy()
    return Agreement(_cosines(found[:, :3], right[:, :3]), _cosines(found[:, 3:], right[:, 3:]))


def _checked(poses: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    poses, truth = np.asarray(poses, np.float32), np.asarray(truth, np.float32)
    if poses.ndim != 2 or poses.shape[1] != 6 or len(poses) < 2 or truth.shape != (6,):
        raise ValueError(
            "`poses` must have shape (n, 6) with n of 2 or more, and `truth` (6,). "
            f"Received {poses.shape} and {truth.shape}."
        )
    return poses, truth


def _in_batches(function: Callable[[tf.Tensor], tf.Tensor], poses: np.ndarray, batch: int) -> np.ndarray:
    """Calls a function with so many poses at once, also the last time, so that it is traced once."""
    batch = min(batch, len(poses))
    filled = np.pad(poses, ((0, -len(poses) % batch), (0, 0)), mode="edge")
    parts = [np.asarray(function(tf.constant(part))) for part in np.split(filled, len(filled) // batch)]
    return np.concatenate(parts)[: len(poses)]


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # Lengths first, since squares of small gradients vanish in single precision.
    directions = []
    for vectors in (a.astype(float), b.astype(float)):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        usable = np.isfinite(lengths) & (lengths > 0)
        directions.append(np.where(usable, vectors, 0.0) / np.where(usable, lengths, 1.0))
    return np.sum(directions[0] * directions[1], axis=1)
