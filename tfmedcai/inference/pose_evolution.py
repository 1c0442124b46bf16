"""Registration without derivatives: an evolution of many poses, and a bounded search for the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize
from scipy.spatial.transform import Rotation

Cost = Callable[[tf.Tensor], tf.Tensor]

# Part of the reach that the trust region of `polish` begins and ends with.
_FIRST_RADIUS, _LAST_RADIUS = 0.3, 1e-3


class Evolution(NamedTuple):
    """What a search came to, and its way there; costs are the caller's, without the penalty."""

    # (6,) rotation vector in rad, translation in mm.
    pose: np.ndarray
    # At the pose.
    cost: float
    # (generations, 6): means of the distribution; of `polish` the best pose after each evaluation.
    poses: np.ndarray
    # (generations,): of the best of each generation; of `polish` of the best pose after each evaluation.
    costs: np.ndarray
    # Poses whose cost was computed.
    evaluations: int


def evolve(
    cost: Cost,
    start: np.ndarray,
    *,
    spread: np.ndarray,
    population: int = 100,
    generations: int = 100,
    tolerance: float = 0.01,
    penalty: float = 0.1,
    penalty_spread: np.ndarray | None = None,
    answer: Literal["mean", "best"] = "mean",
    seed: int = 0,
) -> Evolution:
    """Searches for the pose of least cost with CMA-ES, from a normal distribution around the start.

    Turns and shifts are those of the C-arm in the frame that it starts in, so that the third shift is along the beam,
    wherever the C-arm looks from. What is minimised is (1 - penalty) cost + penalty x, where x is half the squared
    distance from the start in units of `penalty_spread`: minus the logarithm of a normal density. For several starts
    call it several times.

    Args:
        cost: takes `(population, 6)` float32 poses and returns `(population,)`, lower for images more alike. It is
            always called with as many poses, so that it is compiled once. Costs that are not finite count as the worst
            of their generation.
        start: `(6,)` float, rotation vector in rad, translation in mm.
        spread: `(6,)` float, rad and mm: standard deviations of the first generation.
        population: poses of a generation.
        generations: at most.
        tolerance: ends where costs, over one generation and the last ones, differ by less, or where the distribution is
            narrower than this part of `spread`.
        penalty: weight of the distance from the start, from 0 to below 1.
        penalty_spread: `(6,)` float, rad and mm; None takes `spread`.
        answer: the mean of the last distribution, or the best pose that was ever tried.
        seed: of the random numbers; the same seed gives the same search.

    Returns:
        The `Evolution`.

    Raises:
        ValueError: if an argument is out of its range, or a generation has no finite cost.

    Reference:
        Hansen, The CMA evolution strategy: a tutorial, arXiv:1604.00772; Grupp et al., Automatic annotation of hip
        anatomy in fluoroscopy for robust and efficient 2D/3D registration, IJCARS 2020, for penalty and mean.

    >>> target = tf.constant([0.1, -0.2, 0.3, 10.0, -20.0, 30.0])
    >>> def far(poses):
    ...     return tf.reduce_sum((poses - target) ** 2 * [100.0, 100.0, 100.0, 0.01, 0.01, 0.01], axis=-1)
    >>> spread = [0.2, 0.2, 0.2, 20.0, 20.0, 20.0]
    >>> found = evolve(far, np.zeros(6), spread=spread, population=30, tolerance=1e-5, penalty=0.0)
    >>> found.pose.round(1).tolist()
    [0.1, -0.2, 0.3, 10.0, -20.0, 30.0]
    """
    start, spread = _six("start", start), _six("spread", spread, positive=True)
    weighed = spread if penalty_spread is None else _six("penalty_spread", penalty_spread, positive=True)
    if population < 2 or generations < 1 or not 0 <= penalty < 1 or not 0 < tolerance < np.inf:
        raise ValueError(
            "`population` must be 2 or more, `generations` 1 or more, `penalty` from 0 to below 1, `tolerance` above "
            f"0. Received {population}, {generations}, {penalty} and {tolerance}."
        )
    if answer not in ("mean", "best"):
        raise ValueError(f"`answer` must be mean or best. Received {answer}.")
    strategy = _strategy(population, generations, tolerance, seed)
    means, costs = [], []
    best, least = start, np.inf
    while not strategy.stop():
        steps = np.asarray(strategy.ask())
        poses = _moved(start, spread * steps)
        found = _finite(_costs(cost, poses))
        minimised = (1 - penalty) * found + penalty * 0.5 * np.sum((spread * steps / weighed) ** 2, axis=-1)
        strategy.tell(steps, minimised)
        first = np.argmin(minimised)
        if minimised[first] < least:
            best, least = poses[first], minimised[first]
        means.append(_moved(start, spread * strategy.mean))
        costs.append(found[first])
    pose = means[-1] if answer == "mean" else best
    at_pose = _costs(cost, np.tile(pose, (population, 1)))[0]
    return Evolution(pose, float(at_pose), np.array(means), np.array(costs), population * (len(costs) + 1))


def polish(cost: Cost, start: np.ndarray, *, reach: np.ndarray, evaluations: int = 100) -> Evolution:
    """Searches for the pose of least cost near the start, one pose at a time, with COBYQA in place of BOBYQA.

    Both fit parabolas to the costs in a trust region. SciPy has the younger of them, by the same school.

    Args:
        cost: as in `evolve`, for `(1, 6)` poses. Costs that are not finite count as the worst so far.
        start: `(6,)` float, rotation vector in rad, translation in mm.
        reach: `(6,)` float, rad and mm: how far the C-arm may turn and shift from its start, in the frame of that.
        evaluations: at most; 14 or more.

    Returns:
        The `Evolution`; its pose is the best that was tried, never worse than the start.

    Raises:
        ValueError: if an argument is out of its range, or the start's cost is not finite.

    Reference:
        Ragonneau and Zhang, COBYQA: a derivative-free trust-region SQP method for nonlinear optimization, 2023; Powell,
        The BOBYQA algorithm for bound constrained optimization without derivatives, 2009.

    >>> target = tf.constant([0.1, -0.2, 0.1, 1.0, -2.0, 3.0])
    >>> def far(poses):
    ...     return tf.reduce_sum((poses - target) ** 2 * [100.0, 100.0, 100.0, 0.01, 0.01, 0.01], axis=-1)
    >>> polish(far, np.zeros(6), reach=[0.3, 0.3, 0.3, 5.0, 5.0, 10.0]).pose.round(1).tolist()
    [0.1, -0.2, 0.1, 1.0, -2.0, 3.0]
    """
    start, reach = _six("start", start), _six("reach", reach, positive=True)
    if evaluations < 14:
        raise ValueError(f"`evaluations` must be 14 or more, to fit parabolas. Received {evaluations}.")
    poses, costs = [], []

    def value(step: np.ndarray) -> float:
        pose = _moved(start, reach * step)
        found = _costs(cost, pose[np.newaxis])[0]
        if not costs and not np.isfinite(found):
            raise ValueError(f"`cost` must be finite at the start. Received {found} at {start.tolist()}.")
        poses.append(pose)
        costs.append(found if np.isfinite(found) else max(costs))
        return costs[-1]

    options = {"maxfev": evaluations, "initial_tr_radius": _FIRST_RADIUS, "final_tr_radius": _LAST_RADIUS}
    optimize.minimize(value, np.zeros(6), method="COBYQA", bounds=[(-1, 1)] * 6, options=options)
    best = [int(np.argmin(costs[:tried])) for tried in range(1, len(costs) + 1)]
    ways, falls = np.array(poses)[best], np.array(costs)[best]
    return Evolution(ways[-1], float(falls[-1]), ways, falls, len(costs))


def _strategy(population: int, generations: int, tolerance: float, seed: int) -> Any:
    """Returns the strategy for six numbers in units of their first spread."""
    # A package of plots comes with it, which takes longer to load than a search needs.
    import cma

    generator = np.random.default_rng(seed)
    options = {
        "popsize": population,
        "maxiter": generations,
        "tolx": tolerance,
        "tolfun": tolerance,
        # Its own seed, of which 0 is the time, would set NumPy's for everyone.
        "seed": np.nan,
        "randn": lambda *shape: generator.standard_normal(shape),
        # Maximally quiet, and no file of the working directory is read.
        "verbose": -10,
    }
    return cma.CMAEvolutionStrategy(np.zeros(6), 1.0, options)


def _moved(start: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Composes as `geometry.rigid.compose` does, which takes a hundred times as long for so few poses."""
    turn = Rotation.from_rotvec(start[:3])
    turns = (turn * Rotation.from_rotvec(steps[..., :3])).as_rotvec()
    return np.concatenate([turns, turn.apply(steps[..., 3:]) + start[3:]], axis=-1)


def _costs(cost: Cost, poses: np.ndarray) -> np.ndarray:
    found = np.asarray(cost(tf.constant(poses, tf.float32)), np.float64)
    if found.shape != (len(poses),):
        raise ValueError(f"`cost` must return one number a pose, shape ({len(poses)},). Received {found.shape}.")
    return found


def _finite(costs: np.ndarray) -> np.ndarray:
    good = np.isfinite(costs)
    if not good.any():
        raise ValueError(f"`cost` must be finite for some pose of a generation. Received {costs[0]} for all.")
    return np.where(good, costs, np.max(costs[good]))


def _six(name: str, values: np.ndarray, positive: bool = False) -> np.ndarray:
    six = np.asarray(values, np.float64)
    if six.shape != (6,) or not np.isfinite(six).all() or (positive and not (six > 0).all()):
        raise ValueError(
            f"`{name}` must be six finite numbers{' above 0' * positive}, in rad and mm. Received {six.tolist()}."
        )
    return six
