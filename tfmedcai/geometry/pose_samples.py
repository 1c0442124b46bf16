"""Random poses of a C-arm about a patient: what is to be found, where training and tests of a registration start.

Angles are drawn about x, y and z, R = Rx Ry Rz, and translations along them, all independent of each other. Pose zero
looks at the patient from the front.
"""

from __future__ import annotations

import math

import tensorflow as tf
from numpy.typing import ArrayLike

from tfmedcai.geometry.rigid import compose
from tfmedcai.geometry.rotations import vector_from_euler

# The published ranges: three angles in rad, three translations in mm, of which the last is the depth.
TARGET_REACH = (*3 * (math.radians(15.0),), 25.0, 25.0, 25.0)
MOVING_SPREAD = (*3 * (math.radians(25.0),), 25.0, 25.0, 60.0)
START_REACH = (*3 * (math.radians(50.0),), 200.0, 200.0, 300.0)

Seed = tf.Tensor | tuple[int, int]


def sample_targets(count: int | tf.Tensor, seed: Seed, reach: ArrayLike = TARGET_REACH) -> tf.Tensor:
    """Draws poses in which X-ray images are taken, uniformly.

    Args:
        count: how many.
        seed: two integers; the same seed gives the same poses.
        reach: `(6,)` rad and mm: angles and translations lie between the negative of it and it.

    Returns:
        `(count, 6)` float32: rotation vector in rad, translation in mm.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, section III-C.

    >>> sample_targets(2, (1, 2)).shape
    TensorShape([2, 6])
    """
    return _uniform(count, seed, reach)


def sample_moving(count: int | tf.Tensor, seed: Seed, spread: ArrayLike = MOVING_SPREAD) -> tf.Tensor:
    """Draws poses from which training looks for the way to a target, normally about zero.

    Args:
        count: how many.
        seed: two integers; the same seed gives the same poses.
        spread: `(6,)` rad and mm: standard deviations of angles and translations.

    Returns:
        `(count, 6)` float32: rotation vector in rad, translation in mm.

    Reference:
        As `sample_targets`.
    """
    return _poses(tf.random.stateless_normal(_shape(count), seed) * tf.convert_to_tensor(spread, tf.float32))


def sample_starts(count: int | tf.Tensor, seed: Seed, reach: ArrayLike = START_REACH) -> tf.Tensor:
    """Draws poses in which tests of a registration start, uniformly about zero and not about the target.

    Args:
        count: how many.
        seed: two integers; the same seed gives the same poses.
        reach: as of `sample_targets`, far wider.

    Returns:
        `(count, 6)` float32: rotation vector in rad, translation in mm.

    Reference:
        As `sample_targets`.
    """
    return _uniform(count, seed, reach)


def starts_at(targets: tf.Tensor, seed: Seed, angle: tf.Tensor | float, distance_mm: tf.Tensor | float) -> tf.Tensor:
    """Draws poses that are a given way off targets, to see how far off a registration may start.

    The C-arm turns about and moves along directions that are uniform on the sphere.

    Args:
        targets: `(n, 6)` float: rotation vector in rad, translation in mm.
        seed: two integers; the same seed gives the same directions.
        angle: rad, a number or `(n,)`: the whole turn, at most pi.
        distance_mm: mm, a number or `(n,)`: the whole shift of the isocentre.

    Returns:
        `(n, 6)` float, of the type of `targets`.

    >>> starts_at([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], (1, 2), angle=0.0, distance_mm=0.0).numpy().tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    targets = tf.convert_to_tensor(targets)
    directions = tf.random.stateless_normal([tf.shape(targets)[0], 2, 3], seed, dtype=targets.dtype)
    directions = tf.math.l2_normalize(directions, axis=-1, epsilon=0.0)
    lengths = [tf.cast(length, targets.dtype)[..., tf.newaxis] for length in (angle, distance_mm)]
    return compose(targets, tf.concat([lengths[0] * directions[:, 0], lengths[1] * directions[:, 1]], axis=-1))


def _uniform(count: int | tf.Tensor, seed: Seed, reach: ArrayLike) -> tf.Tensor:
    return _poses(tf.random.stateless_uniform(_shape(count), seed, -1.0, 1.0) * tf.convert_to_tensor(reach, tf.float32))


def _shape(count: int | tf.Tensor) -> tf.Tensor:
    return tf.stack([count, 6])


def _poses(angles_and_shifts: tf.Tensor) -> tf.Tensor:
    angles, shifts = tf.split(angles_and_shifts, 2, axis=-1)
    return tf.concat([vector_from_euler(angles), shifts], axis=-1)
