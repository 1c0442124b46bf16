"""How far apart poses are along the geodesic of SE(3), and the way there."""

from __future__ import annotations

import tensorflow as tf

from tfmedcai.geometry.rigid import rotated
from tfmedcai.geometry.rotations import compose_rotations, transposed_right_jacobian


def geodesic_loss(moving: tf.Tensor, target: tf.Tensor, normaliser_mm: float = 1.0) -> tf.Tensor:
    """Computes the squared geodesic distance of poses in SE(3): the square of the turn plus that of the shift.

    With a normaliser of 1 it also compares two gradients of a pose, read as points of SE(3), which is what the
    similarity of ProST is trained with.

    Args:
        moving: `(..., 6)` float: rotation vector in rad, translation in mm.
        target: `(..., 6)` float; broadcast against `moving`.
        normaliser_mm: how many mm weigh as much as 1 rad.

    Returns:
        `(...)` float, rad^2.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, sections II-B and, for gradients, II-C: the left canonical metric.

    >>> float(geodesic_loss([0.0, 0.0, 0.3, 0.0, 40.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], normaliser_mm=100.0))
    0.25
    """
    turn, shift = _way(moving, target)
    return tf.reduce_sum(turn**2, axis=-1) + tf.reduce_sum((shift / normaliser_mm) ** 2, axis=-1)


def geodesic_gradient(moving: tf.Tensor, target: tf.Tensor, normaliser_mm: float = 1.0) -> tf.Tensor:
    """Differentiates `geodesic_loss` with respect to the six numbers of the moving pose, in closed form.

    Args:
        moving: `(..., 6)` float: rotation vector in rad, translation in mm.
        target: `(..., 6)` float; broadcast against `moving`.
        normaliser_mm: as in `geodesic_loss`.

    Returns:
        `(..., 6)` float: rad^2 a rad, rad^2 a mm.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, section II-B.
    """
    turn, shift = _way(moving, target)
    vector = tf.convert_to_tensor(moving)[..., :3]
    return -2 * tf.concat([transposed_right_jacobian(vector, turn), shift / normaliser_mm**2], axis=-1)


def riemannian_gradient(moving: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Finds the gradient of `geodesic_loss` on SE(3), in the frame of the moving body.

    It points against the geodesic, whatever the normaliser: `compose(moving, -0.5 * gradient)` is the target.

    Args:
        moving: `(..., 6)` float: rotation vector in rad, translation in mm.
        target: `(..., 6)` float; broadcast against `moving`.

    Returns:
        `(..., 6)` float: small turn in rad, shift in mm, both in the frame of the moving body.

    Reference:
        Gao et al., ProST, IEEE TMI 43(1), 2024, section II-B.
    """
    turn, shift = _way(moving, target)
    return -2 * tf.concat([turn, rotated(-tf.convert_to_tensor(moving)[..., :3], shift)], axis=-1)


def _way(moving: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the turn in the moving body's frame and the shift in the camera's that lead to the target."""
    (turn, shift), (target_turn, target_shift) = (
        tf.split(tf.convert_to_tensor(x), 2, axis=-1) for x in (moving, target)
    )
    return compose_rotations(-turn, target_turn), target_shift - shift
