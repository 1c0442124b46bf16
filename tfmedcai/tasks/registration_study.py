"""What costs look like around the true pose of a case, and how they go with the distance from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfmedcai.metrics.landscape import Correlation, Landscape, cost_correlation, landscape
from tfmedcai.reports.document import Picture
from tfmedcai.reports.registration_figures import correlation_figure, landscape_figure

POSES = 128  # random ones of a correlation


def studied(
    costs: Mapping[str, Callable[[tf.Tensor], tf.Tensor]],
    truth: np.ndarray,
    reach: np.ndarray,
    poses: np.ndarray,
    normaliser_mm: float,
) -> dict[str, np.ndarray]:
    """Evaluates costs along each degree of freedom and at random poses.

    Args:
        costs: name -> function of poses `(n, 6)` -> `(n,)`, lower is more alike.
        truth: `(6,)` rad and mm, the true pose.
        reach: `(6,)` rad and mm, how far a landscape goes to either side.
        poses: `(n, 6)` random poses of the correlation.
        normaliser_mm: as many mm count as 1 rad in the distance.

    Returns:
        Arrays that `study_pictures` draws.

    Reference:
        Gao et al., A fully differentiable framework for 2D/3D registration, TMI 2024, figures 5 and 6.
    """
    landscapes = [landscape(cost, truth, reach) for cost in costs.values()]
    correlations = [cost_correlation(cost, poses, truth, normaliser_mm) for cost in costs.values()]
    return {
        "study": np.array(list(costs)),
        "offsets": landscapes[0].offsets,
        "landscapes": np.stack([found.costs for found in landscapes]),
        "distances": correlations[0].distances,
        "costs": np.stack([found.costs for found in correlations]),
        "correlations": np.array([(found.pearson, found.spearman) for found in correlations]),
    }


def study_pictures(arrays: Mapping[str, np.ndarray]) -> list[Picture]:
    """Draws what `studied` found: landscapes, and costs over distances."""
    names = [str(name) for name in arrays["study"]]
    landscapes = {
        name: Landscape(arrays["offsets"], costs) for name, costs in zip(names, arrays["landscapes"], strict=True)
    }
    correlations = {
        name: Correlation(arrays["distances"], costs, *map(float, found))
        for name, costs, found in zip(names, arrays["costs"], arrays["correlations"], strict=True)
    }
    minima = "; ".join(f"{name} {found.minima().sum()}" for name, found in landscapes.items())
    ranks = "; ".join(f"{name} {found.spearman:.2f}" for name, found in correlations.items())
    return [
        Picture(
            landscape_figure(landscapes),
            "Costs around the true pose of the median case, along one degree of freedom at a time. "
            f"Local minima in all six, of which one each is wanted: {minima}.",
            "Courses of costs along three rotations and three translations.",
        ),
        Picture(
            correlation_figure(correlations),
            f"Costs at random poses of the median case over their distance from the truth. Rank correlation: {ranks}.",
            "Costs over the geodesic distance from the true pose, one point a pose.",
        ),
    ]
