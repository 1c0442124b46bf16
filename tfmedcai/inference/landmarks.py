"""From the maps or the vector of a network to joints in px of the frame, how sure they are, and a full-size mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfmedcai.inference.frames import as_colour, moved_points, normalised, resized

SMALLEST = 1e-6  # below this a heatmap has no logarithm worth taking


class Reading(NamedTuple):
    """How frames go into a network, and how its answer is read.

    Attributes:
        size: height and width that frames are brought to, in px.
        landmarks: how many there are.
        peak: height of a heatmap at a landmark of which the network is sure.
    """

    size: tuple[int, int]
    landmarks: int
    peak: float


def peaks(heatmaps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the highest place of each heatmap, between the pixels.

    A parabola through the logarithms of the highest pixel and its neighbours is exact for a Gaussian.

    Args:
        heatmaps: `(batch, height, width, landmarks)` float.

    Returns:
        `(batch, landmarks, 2)` float32, x and y in px of the map, and `(batch, landmarks)` float32, the value of the
        highest pixel.

    Reference:
        CSL, section 2.2, takes the highest pixel; between the pixels is ours.

    >>> heatmap = tf.exp(-((tf.range(9.0) - 3.3) ** 2)[:, tf.newaxis] - ((tf.range(9.0) - 5.2) ** 2)[tf.newaxis])
    >>> [round(float(value), 3) for value in peaks(heatmap[tf.newaxis, ..., tf.newaxis])[0][0, 0]]
    [5.2, 3.3]
    """
    maps = tf.cast(heatmaps, tf.float32)
    height, width = tf.shape(maps)[1], tf.shape(maps)[2]
    flat = tf.reshape(tf.transpose(maps, (0, 3, 1, 2)), (tf.shape(maps)[0], maps.shape[-1], -1))
    best = tf.argmax(flat, axis=-1, output_type=tf.int32)
    row, column = best // width, best % width

    def logarithm(down: int, right: int) -> tf.Tensor:
        rows, columns = tf.clip_by_value(row + down, 0, height - 1), tf.clip_by_value(column + right, 0, width - 1)
        values = tf.gather(flat, (rows * width + columns)[..., tf.newaxis], batch_dims=2)[..., 0]
        return tf.math.log(tf.maximum(values, SMALLEST))

    middle = logarithm(0, 0)
    places = []
    for place, (down, right) in ((column, (0, 1)), (row, (1, 0))):
        before, after = logarithm(-down, -right), logarithm(down, right)
        step = tf.math.divide_no_nan(before - after, 2 * (before - 2 * middle + after))
        places.append(tf.cast(place, tf.float32) + tf.clip_by_value(step, -0.5, 0.5))
    return tf.stack(places, axis=-1), tf.reduce_max(flat, axis=-1)


def coordinates(vector: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Reads a vector of coordinates from -1 at the left and upper border to 1 at the others.

    Args:
        vector: `(batch, 2 landmarks)` float: x and y of the first landmark, and so on.
        size: height and width in px of what the network saw.

    Returns:
        `(batch, landmarks, 2)` float32, x and y in px.
    """
    pairs = tf.reshape(tf.cast(vector, tf.float32), (-1, vector.shape[-1] // 2, 2))
    return (pairs + 1) / 2 * tf.constant(size[::-1], tf.float32) - 0.5


def as_coordinates(points: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Writes points as the vector that `coordinates` reads.

    Args:
        points: `(..., landmarks, 2)` float, x and y in px.
        size: height and width in px of what the network sees.

    Returns:
        `(..., 2 landmarks)` float32.
    """
    scaled = (tf.cast(points, tf.float32) + 0.5) / tf.constant(size[::-1], tf.float32) * 2 - 1
    return tf.reshape(scaled, [*scaled.shape[:-2], 2 * scaled.shape[-2]])


def track(network: Callable[[tf.Tensor], Any], frames: tf.Tensor, reading: Reading) -> dict[str, tf.Tensor]:
    """Finds landmarks and segments frames; made of TensorFlow operations only, so that it can be traced and exported.

    Args:
        network: takes normalised frames `(batch, *size, 3)`, gives maps `(batch, height, width, classes + landmarks)`,
            a vector `(batch, 2 landmarks)`, or both: the maps are of classes then.
        frames: `(batch, height, width, channels)` uint8 of any size, grey or in colour, with or without alpha.
        reading: size and number of landmarks.

    Returns:
        "joints": `(batch, landmarks, 2)` float32, x and y in px of the frames, pixel centres at integers.
        "confidence": `(batch, landmarks)` float32 from 0 to 1; 1 where a network gives a vector, which cannot say.
        "mask": `(batch, height, width)` uint8, class of every pixel; not there without classes.
    """
    full = tf.shape(frames)[1:3]
    answer = network(normalised(resized(as_colour(frames), reading.size)))
    maps, vector = parts_of(answer)
    found = {}
    if vector is None:
        places, heights = peaks(maps[..., -reading.landmarks :])
        found["joints"] = moved_points(places, tf.shape(maps)[1:3], full)
        found["confidence"] = tf.clip_by_value(heights / reading.peak, 0.0, 1.0)
        maps = maps[..., : -reading.landmarks]
    else:
        found["joints"] = moved_points(coordinates(vector, reading.size), tf.constant(reading.size), full)
        found["confidence"] = tf.ones_like(found["joints"][..., 0])
    if maps is not None and maps.shape[-1]:
        found["mask"] = _classes(maps, full)
    return found


def parts_of(answer: Any) -> tuple[Any, Any]:
    """Returns the maps and the vector that a network gives, or their shapes; None for what it does not give.

    >>> parts_of([tf.zeros((1, 4, 4, 2)), tf.zeros((1, 6))])[1].shape
    TensorShape([1, 6])
    """
    tensors = answer if isinstance(answer, Sequence) else [answer]
    return tuple(next((tensor for tensor in tensors if len(tensor.shape) == rank), None) for rank in (4, 2))


def _classes(logits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    if logits.shape[-1] == 2:  # one map is enlarged instead of two
        difference = tf.image.resize(tf.cast(logits[..., 1:] - logits[..., :1], tf.float32), size)
        return tf.cast(difference[..., 0] > 0, tf.uint8)
    return tf.cast(tf.argmax(tf.image.resize(tf.cast(logits, tf.float32), size), -1), tf.uint8)
