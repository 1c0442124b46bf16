"""Registration down the gradient of a cost, in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

Cost = Callable[[tf.Tensor], tf.Tensor]

# Decay of the squares of Adam, and what keeps its steps finite where gradients vanish.
_SQUARES, _LEAST = 0.999, 1e-8


class Descent(NamedTuple):
    """What a descent came to, and its way there; behind a pose's own last step its last place is repeated."""

    # (n, 6) rotation vector in rad, translation in mm: the best of the way.
    pose: tf.Tensor
    # (n,) at the pose; inf where no cost was finite.
    cost: tf.Tensor
    # (steps + 1, n, 6), from the start on.
    poses: tf.Tensor
    # (steps + 1, n).
    costs: tf.Tensor
    # (n,) int32: how many steps each pose made.
    steps: tf.Tensor


def descend(
    cost: Cost,
    start: tf.Tensor,
    *,
    rate: float = 0.1,
    rule: Literal["momentum", "adam"] = "momentum",
    momentum: float = 0.9,
    halve_every: int | None = 15,
    steps: int = 100,
    plateau: float = 1e-4,
    window: int = 10,
    scale_mm: float = 150.0,
) -> Descent:
    """Moves poses down the gradient of a cost until it no longer changes.

    Made of TensorFlow operations only, so that it runs in eager mode, in a `tf.function` and in a served graph. Poses
    do not know of each other: one ends at its plateau while others go on. Where cost or gradient is not finite, a pose
    goes back to the best of its way and stays there.

    Args:
        cost: takes `(n, 6)` poses and returns `(n,)`, lower for images more alike, each of its own pose.
        start: `(n, 6)` float, rotation vector in rad, translation in mm.
        rate: of the steps, in rad and units of `scale_mm`; of Adam about the length of the first steps.
        rule: the step is the rate times the sum of past gradients, each `momentum` times the one after it, or that of
            Adam.
        momentum: from 0 to below 1; Adam's decay of the mean.
        halve_every: steps after which the rate is halved; None leaves it.
        steps: at most.
        plateau: a pose stops where the standard deviation of its last costs is below; 0 makes all steps.
        window: how many last costs, 2 or more.
        scale_mm: how many mm weigh as much as 1 rad.

    Returns:
        The `Descent`.

    Raises:
        ValueError: if an argument is out of its range, or the cost has no gradient.

    Reference:
        Gao et al., ProST, MICCAI 2020, and IEEE TMI 43(1), 2024: momentum with a rate of 0.1, halved every 15 steps;
        its program has 0.01 until the last 10 costs deviate by less than 0.003, then 0.002 until 1e-4. Kingma and Ba,
        Adam: a method for stochastic optimization, ICLR 2015.

    >>> start = tf.constant([[0.3, 0.0, 0.0, 30.0, 0.0, 0.0]])
    >>> found = descend(lambda poses: tf.reduce_sum(poses**2 * [1, 1, 1, 1e-4, 1e-4, 1e-4], axis=-1), start)
    >>> bool(found.cost[0] < 1e-3), found.poses.shape
    (True, TensorShape([101, 1, 6]))
    """
    start = tf.convert_to_tensor(start)
    _check(start, rate, momentum, halve_every, steps, plateau, window, scale_mm)
    if rule not in ("momentum", "adam"):
        raise ValueError(f"`rule` must be momentum or adam. Received {rule}.")
    unit = tf.constant([1.0] * 3 + [scale_mm] * 3, start.dtype)
    recent = min(window, steps + 1)

    def advance(state: _State) -> tuple[_State]:
        index = state.index
        found, slope = _with_gradient(cost, state.pose)
        known = tf.math.is_finite(found)
        good = known & tf.reduce_all(tf.math.is_finite(slope), axis=-1)
        better = state.moving & known & (found < state.least)
        best, least = _where(better, state.pose, state.best), tf.where(better, found, state.least)
        here = _where(state.moving & ~good, best, state.pose)
        value = tf.where(state.moving, tf.where(good, found, least), state.costs[tf.maximum(index - 1, 0)])
        costs = _written(state.costs, index, value)
        spread = tf.math.reduce_std(tf.slice(costs, [tf.maximum(index + 1 - recent, 0), 0], [recent, -1]), axis=0)
        flat = (index + 1 >= window) & (spread < plateau)
        moving = state.moving & good & ~flat & (index < steps)
        way, mean, square = _way(slope * unit, state, rule, momentum)
        halvings = 0 if halve_every is None else index // halve_every
        length = rate * tf.pow(tf.constant(0.5, start.dtype), tf.cast(halvings, start.dtype))
        return (
            _State(
                index + 1,
                _where(moving, here - length * unit * way, here),
                moving,
                best,
                least,
                mean,
                square,
                state.made + tf.cast(moving, tf.int32),
                _written(state.poses, index, here),
                costs,
            ),
        )

    nothing, none = tf.zeros_like(start), tf.zeros_like(start[:, 0])
    begun = _State(
        index=tf.constant(0),
        pose=start,
        moving=tf.ones_like(none, tf.bool),
        best=start,
        least=none + np.inf,
        mean=nothing,
        square=nothing,
        made=tf.zeros_like(none, tf.int32),
        poses=tf.repeat(nothing[tf.newaxis], steps + 1, axis=0),
        costs=tf.repeat(none[tf.newaxis], steps + 1, axis=0),
    )
    (end,) = tf.while_loop(lambda state: tf.reduce_any(state.moving), advance, (begun,), parallel_iterations=1)
    rows = tf.minimum(tf.range(steps + 1), end.index - 1)
    return Descent(end.best, end.least, tf.gather(end.poses, rows), tf.gather(end.costs, rows), end.made)


class _State(NamedTuple):
    index: tf.Tensor  # of the places that poses are at
    pose: tf.Tensor
    moving: tf.Tensor  # which poses go on
    best: tf.Tensor
    least: tf.Tensor  # cost of the best
    mean: tf.Tensor  # of past gradients, and
    square: tf.Tensor  # of their squares
    made: tf.Tensor  # steps
    poses: tf.Tensor  # the way
    costs: tf.Tensor


def _with_gradient(cost: Cost, poses: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(poses)
        found = tf.cast(cost(poses), poses.dtype)
    slope = tape.gradient(found, poses)
    if slope is None or not found.shape.is_compatible_with(poses.shape[:1]):
        raise ValueError(
            "`cost` must return one number a pose, with a gradient by the pose. Received "
            f"{'none' if slope is None else f'shape {found.shape} for poses of shape {poses.shape}'}."
        )
    return found, slope


def _way(slope: tf.Tensor, state: _State, rule: str, momentum: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns where the rule points, and the means of past gradients and their squares."""
    if rule == "momentum":
        mean = momentum * state.mean + slope
        return mean, mean, state.square
    mean = momentum * state.mean + (1 - momentum) * slope
    square = _SQUARES * state.square + (1 - _SQUARES) * slope**2
    count = tf.cast(state.index + 1, slope.dtype)
    mean_now, square_now = mean / (1 - momentum**count), square / (1 - _SQUARES**count)
    return mean_now / (tf.sqrt(square_now) + _LEAST), mean, square


def _where(chosen: tf.Tensor, poses: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    return tf.where(chosen[:, tf.newaxis], poses, others)


def _written(rows: tf.Tensor, index: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(rows, [[index]], row[tf.newaxis])


def _check(
    start: tf.Tensor,
    rate: float,
    momentum: float,
    halve_every: int | None,
    steps: int,
    plateau: float,
    window: int,
    scale_mm: float,
) -> None:
    if not start.shape.is_compatible_with((None, 6)):
        raise ValueError(f"`start` must have shape (n, 6), rad and mm. Received {start.shape}.")
    checks = {
        "rate": (0 < rate < np.inf, rate, "above 0"),
        "momentum": (0 <= momentum < 1, momentum, "from 0 to below 1"),
        "halve_every": (halve_every is None or halve_every > 0, halve_every, "1 or more, or None"),
        "steps": (steps > 0, steps, "1 or more"),
        "plateau": (plateau >= 0, plateau, "0 or more"),
        "window": (window > 1, window, "2 or more"),
        "scale_mm": (0 < scale_mm < np.inf, scale_mm, "above 0 mm"),
    }
    for name, (good, value, expected) in checks.items():
        if not good:
            raise ValueError(f"`{name}` must be {expected}. Received {value}.")
