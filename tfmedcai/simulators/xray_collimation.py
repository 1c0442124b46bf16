"""The field that the X-ray beam fills: the circle of an image intensifier, and shutters."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfmedcai.simulators.xray_draws import Draws


def sample(draws: Draws, image_size: tuple[int, int], origin: np.ndarray, margin: float, strength: float) -> dict:
    """Draws the circle of the image intensifier and four shutters.

    Args:
        draws: where the numbers come from.
        image_size: (height, width) in px.
        origin: `(2,)`, x and y in px of the instrument, which stays visible.
        margin: px between the origin and the nearest edge.
        strength: 0 to 1, how often.

    Returns:
        Arrays for `edge_distance` and `collimate`.
    """
    size, far = max(image_size), 20.0 * max(image_size)
    centre = size * draws.vector(2, -0.06, 0.06) + (np.array(image_size[::-1]) - 1) / 2
    radius = max(size * draws.uniform(0.42, 0.62), np.linalg.norm(origin - centre) + margin)
    radius += far * (not draws.chance(0.6 * strength))
    turn = draws.uniform(-0.4, 0.4) * draws.chance(0.5) + np.arange(4) * (np.pi / 2)
    normals = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    shut = draws.chance(0.35 * strength) * (draws.vector(4) < 0.7)
    limits = normals @ origin + margin + size * draws.vector(4, 0.0, 0.8) + far * (1 - shut)
    values = {
        "circle": [*centre, radius],
        "shutters": np.concatenate([normals, limits[:, np.newaxis]], axis=1),
        "width": draws.log_uniform(1.5, 12.0) if shut.any() else 1.5,
        "black": draws.uniform(0.0, 0.06) * draws.chance(0.4),
    }
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def edge_distance(parameters: dict, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Computes how far pixels lie outside the collimated field.

    Args:
        parameters: what `sample` drew, as tensors.
        x: `(width,)` float, px of the full image.
        y: `(height,)` float, px of the full image.

    Returns:
        `(height, width)` float, px, negative inside.
    """
    centre_x, centre_y, radius = tf.unstack(parameters["circle"])
    distance = tf.sqrt(tf.square(x - centre_x) + tf.square(y - centre_y)[:, tf.newaxis]) - radius
    for normal_x, normal_y, limit in map(tf.unstack, tf.unstack(parameters["shutters"])):
        distance = tf.maximum(distance, (normal_x * x - limit) + (normal_y * y)[:, tf.newaxis])
    return distance


def collimate(parameters: dict, grey: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
    """Blackens what lies outside the round image intensifier and the shutters.

    Args:
        parameters: what `sample` drew, as tensors.
        grey: `(height, width)` float in [0, 1].
        distance: `(height, width)` float, px, from `edge_distance`.

    Returns:
        `(height, width)` float in [0, 1].
    """
    visible = tf.clip_by_value(1.0 - distance / parameters["width"], 0.0, 1.0)
    return parameters["black"] + visible * (grey - parameters["black"])
