"""Poses in space (SE(3)) and their appearance in one X-ray image."""

from __future__ import annotations

import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rotations import matrix_from_vector, vector_from_euler


def rotation_matrix(pose: tf.Tensor) -> tf.Tensor:
    """Computes the rotation matrix of a pose.

    Args:
        pose: `(..., 6)` float: rotation vector in rad, translation in mm. Only the rotation vector is used; zero is
            the identity.

    Returns:
        `(..., 3, 3)` float, instrument frame to camera frame.
    """
    return matrix_from_vector(tf.convert_to_tensor(pose)[..., :3])


def transform(pose: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Moves points of an instrument into the camera frame.

    Args:
        pose: `(batch, 6)` float: rotation vector in rad, translation in mm.
        points: `(batch, n, 3)` or `(n, 3)` float, mm in the instrument frame.

    Returns:
        `(batch, n, 3)` float, mm in the camera frame.

    >>> transform([[0.0, 0.0, 0.0, 1.0, 2.0, 500.0]], [[3.0, 0.0, 0.0]]).numpy().tolist()
    [[[4.0, 2.0, 500.0]]]
    """
    pose = tf.convert_to_tensor(pose)
    points = tf.cast(points, pose.dtype)
    return (
        tf.einsum("bij,...nj->bni" if points.shape.rank == 2 else "bij,bnj->bni", rotation_matrix(pose), points)
        + (pose[:, tf.newaxis, 3:])
    )


def image_pose_from_pose(pose: tf.Tensor, camera: Camera) -> tf.Tensor:
    """Describes how a pose appears in the image of a camera.

    Position is the projection of the origin and resolution that of its depth. Angle is the direction in which the
    perspective image of the forward axis leaves the origin. Tilt is measured against the image plane, not against the
    local viewing ray, as the virtual landmarks have it; away from the image centre an axis therefore looks a little
    longer or shorter than cos(tilt) says (by up to the tangent of the viewing angle times sin(tilt)).

    Args:
        pose: `(batch, 6)` float: rotation vector in rad, translation in mm, instrument frame to camera frame.
        camera: the `Camera`.

    Returns:
        `(batch, 5)` float: x px, y px, angle rad in (-pi, pi], tilt rad in [-pi/2, pi/2] (positive: the forward axis
        points towards the detector), resolution mm/px. The roll about the forward axis is lost.

    >>> camera = Camera.from_c_arm()
    >>> image_pose_from_pose([[0.0, 0.0, 0.0, 0.0, 0.0, 600.0]], camera).numpy().round(3).tolist()
    [[255.5, 255.5, 0.0, 0.0, 0.15000000596046448]]
    """
    pose = tf.convert_to_tensor(pose)
    origin, depth = pose[:, 3:], pose[:, 5]
    forward = rotation_matrix(pose)[:, :, 0]
    # The derivative of the projection along the axis, times depth / focal length.
    direction = forward[:, :2] - origin[:, :2] / depth[:, tf.newaxis] * forward[:, 2:]
    # + 0.0 turns -0.0 into 0.0: an angle of -pi would leave the half-open interval.
    angle = tf.atan2(0.0 - direction[:, 1], direction[:, 0])
    tilt = tf.asin(tf.clip_by_value(forward[:, 2], -1.0, 1.0))
    position = camera.project(origin)
    return tf.stack([position[:, 0], position[:, 1], angle, tilt, camera.resolution_at(depth)], axis=-1)


def pose_from_image_pose(image_pose: tf.Tensor, camera: Camera, roll: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Finds the pose in space that appears in the image of a camera as given; inverse of `image_pose_from_pose`.

    Exact as long as the tilt against the image plane is smaller than the angle between the viewing ray and the image
    plane (on a C-arm some 80 deg or more); beyond, two poses or none look like this, and one close by is returned.

    Args:
        image_pose: `(batch, 5)` float: x px, y px, angle rad, tilt rad, resolution mm/px.
        camera: the `Camera`.
        roll: `(batch,)` float or a number, rad: rotation about the forward axis, which an image pose does not contain.
            At 0 the y axis of the instrument is parallel to the image plane.

    Returns:
        `(batch, 6)` float: rotation vector in rad, translation in mm, instrument frame to camera frame.

    >>> camera = Camera.from_c_arm()
    >>> pose_from_image_pose([[255.5, 255.5, 0.0, 0.0, 0.15]], camera).numpy().round(3).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 600.0]]
    """
    image_pose = tf.convert_to_tensor(image_pose)
    angle, tilt, resolution = tf.unstack(image_pose[:, 2:], axis=-1)
    origin = camera.unproject(image_pose[:, :2], camera.depth_at(resolution))
    direction = tf.stack([tf.cos(angle), -tf.sin(angle)], axis=-1)
    # forward_xy = length * direction + offset must have the length cos(tilt): a quadratic equation for `length`.
    offset = origin[:, :2] / origin[:, 2:] * tf.sin(tilt)[:, tf.newaxis]
    along = tf.reduce_sum(direction * offset, axis=-1)
    across = direction[:, 0] * offset[:, 1] - direction[:, 1] * offset[:, 0]
    length = tf.sqrt(tf.maximum(tf.cos(tilt) ** 2 - across**2, 0.0)) - along
    forward = length[:, tf.newaxis] * direction + offset
    azimuth = tf.atan2(forward[:, 1], forward[:, 0])
    roll = tf.broadcast_to(tf.cast(roll, image_pose.dtype), tf.shape(angle))
    # The roll comes first, the azimuth last: the inverse of the angles' opposites in their usual order.
    vector = -vector_from_euler(-tf.stack([roll, -tilt, azimuth], axis=-1))
    return tf.concat([vector, origin], axis=-1)
