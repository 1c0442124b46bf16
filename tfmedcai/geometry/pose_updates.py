"""Steps from one pose to another, as networks regress them."""

from __future__ import annotations

import tensorflow as tf

from tfmedcai.geometry.rigid import compose
from tfmedcai.geometry.rotations import compose_rotations, quaternion_from_vector, vector_from_quaternion

SCALE = 10.0  # of DeepIM's translation


def deepim_update(pose: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Moves a pose by what DeepIM regresses.

    The object turns about its own origin, around the axes of the camera, so that rotation and translation do not depend
    on each other. With z the depth, z' = z / exp(v_z / 10) and x' = z' (v_x / 10 + x / z), the same for y.

    Args:
        pose: `(..., 6)` float: rotation vector in rad, translation in mm in the camera frame, whose origin is the
            source and whose third axis is the depth.
        step: `(..., 7)` float: quaternion x, y, z, w of any length but zero, then v_x, v_y, v_z.

    Returns:
        `(..., 6)` float, the pose after the step.

    Reference:
        Li et al., DeepIM: deep iterative matching for 6D pose estimation, ECCV 2018, section 3.2.

    >>> right = [[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]
    >>> deepim_update([[0.0, 0.0, 0.0, 5.0, 0.0, 500.0]], right).numpy().round(3).tolist()
    [[0.0, 0.0, 0.0, 55.0, 0.0, 500.0]]
    """
    pose, step = tf.convert_to_tensor(pose), tf.convert_to_tensor(step)
    lateral, depth = pose[..., 3:5], pose[..., 5:]
    depth_after = depth * tf.exp(-step[..., 6:] / SCALE)
    lateral_after = depth_after * (step[..., 4:6] / SCALE + lateral / depth)
    rotation = compose_rotations(vector_from_quaternion(step[..., :4]), pose[..., :3])
    return tf.concat([rotation, lateral_after, depth_after], axis=-1)


def deepim_step(pose: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Finds the step of DeepIM from a pose to a target; inverse of `deepim_update`.

    Args:
        pose: `(..., 6)` float: rotation vector in rad, translation in mm in the camera frame.
        target: `(..., 6)` float, the same.

    Returns:
        `(..., 7)` float: unit quaternion x, y, z, w with w >= 0, then v_x, v_y, v_z.
    """
    pose, target = tf.convert_to_tensor(pose), tf.convert_to_tensor(target)
    turn = quaternion_from_vector(compose_rotations(target[..., :3], -pose[..., :3]))
    depth, depth_after = pose[..., 5:], target[..., 5:]
    lateral = SCALE * (target[..., 3:5] / depth_after - pose[..., 3:5] / depth)
    return tf.concat([turn, lateral, SCALE * tf.math.log(depth / depth_after)], axis=-1)


def geodesic_step(pose: tf.Tensor, gradient: tf.Tensor, rate: float = 0.5, normaliser: float = 1.0) -> tf.Tensor:
    """Moves a pose down the gradient of the squared geodesic distance, along the geodesic.

    Args:
        pose: `(..., 6)` float: rotation vector in rad, translation in mm.
        gradient: `(..., 6)` float in the frame of the object: rotation in rad, translation / `normaliser`.
        rate: length of the step; 0.5 lands on the target if the gradient is right.
        normaliser: mm that weigh as much as 1 rad in the distance.

    Returns:
        `(..., 6)` float, the pose after the step.

    Reference:
        Gu et al., Extended capture range of rigid 2D/3D registration by estimating Riemannian pose gradients, MLMI
        2020.

    >>> geodesic_step([[0.0, 0.0, 0.0, 5.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, -2.0, 0.0, 0.0]]).numpy().round(3).tolist()
    [[0.0, 0.0, 0.0, 6.0, 0.0, 0.0]]
    """
    rotation, shift = tf.split(-rate * tf.convert_to_tensor(gradient), 2, axis=-1)
    return compose(pose, tf.concat([rotation, normaliser * shift], axis=-1))
