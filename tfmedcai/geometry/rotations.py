"""Rotations as vectors, matrices, quaternions and Euler angles, with derivatives that are right everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow_graphics.util import export_api

# Each module of tensorflow-graphics lists its public names by walking the call stack through all loaded modules: six
# seconds for those behind this one. The lists serve `from ... import *` alone.
_kept = export_api.get_functions_and_classes, export_api.get_modules
export_api.get_functions_and_classes = export_api.get_modules = list
try:
    # Products of sines and cosines, and no more: its other conversions divide by an angle, or blur what is near 0.
    from tensorflow_graphics.geometry.transformation import quaternion as quaternions
finally:
    export_api.get_functions_and_classes, export_api.get_modules = _kept

# Powers of x = angle^2 in sin(angle) / angle and (angle - sin(angle)) / angle^3, and of x = tan^2 in angle / tan: as
# many as give value and second derivative to the last digit of double precision below the limits of `_blend`.
_SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(10)]
_THIRD = [(-1) ** k / math.factorial(2 * k + 3) for k in range(10)]
_ARC = [(-1) ** k / (2 * k + 1) for k in range(14)]


def matrix_from_vector(vector: tf.Tensor) -> tf.Tensor:
    """Turns rotation vectors into matrices (Rodrigues); value and derivatives are exact, at zero as well.

    Args:
        vector: `(..., 3)` float, rad: axis times angle, of any length.

    Returns:
        `(..., 3, 3)` float, orthonormal.

    >>> quarter = matrix_from_vector([0.0, 0.0, math.pi / 2])
    >>> tf.cast(tf.round(quarter), tf.int32).numpy().tolist()
    [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    """
    vector = tf.convert_to_tensor(vector)
    x, y, z = tf.unstack(vector, axis=-1)
    squared = x * x + y * y + z * z
    sine = _sinc(squared)
    cosine = 0.5 * _sinc(0.25 * squared) ** 2
    xx, yy, zz, xy, xz, yz = (cosine * part for part in (x * x, y * y, z * z, x * y, x * z, y * z))
    x, y, z = sine * x, sine * y, sine * z
    rows = [[1 - yy - zz, xy - z, xz + y], [xy + z, 1 - xx - zz, yz - x], [xz - y, yz + x, 1 - xx - yy]]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


def vector_from_matrix(matrix: tf.Tensor) -> tf.Tensor:
    """Finds the rotation vectors of matrices (the logarithm); inverse of `matrix_from_vector`.

    Args:
        matrix: `(..., 3, 3)` float, orthonormal up to rounding.

    Returns:
        `(..., 3)` float, rad, not longer than pi. Of the two vectors of a half turn it is one.
    """
    (a, b, c), (d, e, f), (g, h, i) = (tf.unstack(row, axis=-1) for row in tf.unstack(matrix, axis=-2))
    # Four times the products of the quaternion's elements: each row is the quaternion, of another length.
    products = [
        [1 + a - e - i, b + d, c + g, h - f],
        [b + d, 1 - a + e - i, f + h, c - g],
        [c + g, f + h, 1 - a - e + i, d - b],
        [h - f, c - g, d - b, 1 + a + e + i],
    ]
    products = tf.stack([tf.stack(row, axis=-1) for row in products], axis=-2)
    largest = tf.argmax(tf.linalg.diag_part(products), axis=-1)
    return vector_from_quaternion(tf.gather(products, largest, axis=-2, batch_dims=largest.shape.rank))


def quaternion_from_vector(vector: tf.Tensor) -> tf.Tensor:
    """Turns rotation vectors into quaternions.

    Args:
        vector: `(..., 3)` float, rad.

    Returns:
        `(..., 4)` float, unit length: x, y, z, w.

    >>> quaternion_from_vector([0.0, 0.0, 0.0]).numpy().tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    half = 0.5 * tf.convert_to_tensor(vector)
    squared = tf.reduce_sum(half * half, axis=-1, keepdims=True)
    # cos(a) = 1 - 2 sin^2(a / 2), a function of a^2 without a root.
    return tf.concat([_sinc(squared) * half, 1 - 0.5 * squared * _sinc(0.25 * squared) ** 2], axis=-1)


def vector_from_quaternion(quaternion: tf.Tensor) -> tf.Tensor:
    """Turns quaternions into rotation vectors; inverse of `quaternion_from_vector`.

    Args:
        quaternion: `(..., 4)` float: x, y, z, w, of any length but 0; q and -q are one rotation.

    Returns:
        `(..., 3)` float, rad, not longer than pi.

    >>> [round(float(part), 4) for part in vector_from_quaternion([0.0, 0.0, -1.0, 1.0])]
    [0.0, 0.0, -1.5708]
    """
    quaternion = tf.convert_to_tensor(quaternion)
    quaternion = tf.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    imaginary, real = tf.split(quaternion, [3, 1], axis=-1)
    # The tangent of a quarter of the angle is at most 1, where that of half of it has no limit.
    length = real + tf.sqrt(tf.reduce_sum(quaternion * quaternion, axis=-1, keepdims=True))
    tangent = imaginary / length
    squared = tf.reduce_sum(tangent * tangent, axis=-1, keepdims=True)
    return 4 * tangent * _blend(squared, 0.04, _ARC, lambda x: tf.atan(tf.sqrt(x)) / tf.sqrt(x))


def vector_from_euler(angles: tf.Tensor) -> tf.Tensor:
    """Turns Euler angles into rotation vectors: R = Rx(a) Ry(b) Rz(c), so the turn about z comes first.

    Args:
        angles: `(..., 3)` float, rad: about x, y and z.

    Returns:
        `(..., 3)` float, rad, not longer than pi.
    """
    # The library has Rz Ry Rx, of which this is the inverse with the angles turned back.
    return -vector_from_quaternion(quaternions.from_euler(-tf.convert_to_tensor(angles)))


def euler_from_vector(vector: tf.Tensor) -> tf.Tensor:
    """Finds the Euler angles of rotation vectors, R = Rx(a) Ry(b) Rz(c); inverse of `vector_from_euler`.

    Args:
        vector: `(..., 3)` float, rad.

    Returns:
        `(..., 3)` float, rad: a and c in [-pi, pi], b in [-pi/2, pi/2]. Where b is a right angle only a + c or a - c
        matters, and there is no derivative.
    """
    matrix = matrix_from_vector(vector)
    first, second, third = tf.unstack(matrix, axis=-2)
    about_x = tf.atan2(-second[..., 2], third[..., 2])
    about_y = tf.atan2(first[..., 2], tf.sqrt(first[..., 0] ** 2 + first[..., 1] ** 2))
    # With the turn about x taken back this row is sin(c), cos(c), 0, also where atan2(0, 0) = 0 was anything.
    row = tf.cos(about_x)[..., tf.newaxis] * second + tf.sin(about_x)[..., tf.newaxis] * third
    return tf.stack([about_x, about_y, tf.atan2(row[..., 0], row[..., 1])], axis=-1)


def compose_rotations(outer: tf.Tensor, inner: tf.Tensor) -> tf.Tensor:
    """Finds the rotation vector of two rotations, `inner` first.

    Args:
        outer: `(..., 3)` float, rad.
        inner: `(..., 3)` float, rad; broadcast against `outer`.

    Returns:
        `(..., 3)` float, rad, not longer than pi.
    """
    return vector_from_quaternion(quaternions.multiply(quaternion_from_vector(outer), quaternion_from_vector(inner)))


def transposed_right_jacobian(vector: tf.Tensor, covector: tf.Tensor) -> tf.Tensor:
    """Takes a derivative in the body's small turns to one in the rotation vector.

    exp(r + dr) = exp(r) exp(J(r) dr) up to the square of dr; this is J(r)^T c.

    Args:
        vector: r, `(..., 3)` float, rad; broadcast against `covector`.
        covector: c, `(..., 3)` float.

    Returns:
        `(..., 3)` float.
    """
    vector = tf.broadcast_to(vector, tf.shape(covector))
    squared = tf.reduce_sum(vector * vector, axis=-1, keepdims=True)
    once = tf.linalg.cross(vector, covector)
    third = _blend(squared, 0.25, _THIRD, lambda x: (1 - _sinc(x)) / x)
    return covector + 0.5 * _sinc(0.25 * squared) ** 2 * once + third * tf.linalg.cross(vector, once)


def _sinc(squared: tf.Tensor) -> tf.Tensor:
    return _blend(squared, 0.25, _SINC, lambda x: tf.sin(tf.sqrt(x)) / tf.sqrt(x))


def _blend(x: tf.Tensor, limit: float, series: Sequence[float], closed: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Evaluates a power series below the limit and the closed form above, where no digits cancel."""
    near = x < limit
    # Each form sees values that it can bear, since the derivative of what is not chosen must be finite as well.
    small = tf.where(near, x, tf.zeros_like(x))
    value = tf.zeros_like(x)
    for coefficient in reversed(series):
        value = value * small + coefficient
    return tf.where(near, value, closed(tf.where(near, tf.ones_like(x), x)))
