"""Sums of voxels along rays, weighted by the lengths of the rays in them (Siddon), and their transpose.

The same four functions as in `layers/ray_sums.py`. A voxel has one value up to its faces, so an image changes with the
pose where rays cross faces: P and Q sum the jumps of the values there over the slopes of the rays.

Reference:
    Siddon, Fast calculation of the exact radiological path for a three-dimensional CT array, Medical Physics 1985.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfmedcai.layers.ray_sums import Beam

LEAST = 1e-9  # rays that rise less than this along an axis cross no faces there


class Visit(NamedTuple):
    """The voxels that the rays of a beam are in.

    Attributes:
        place: `(rays,)` int32, of the voxels in the row.
        before: `(rays,)` int32, of those they come from.
        entry: `(rays,)`, distance of the face in between.
        length: `(rays,)`, from there to the next face.
        slopes: three of `(rays,)`: one over the slope of a ray along the axis of the face, 0 along the others.
    """

    place: tf.Tensor
    before: tf.Tensor
    entry: tf.Tensor
    length: tf.Tensor
    slopes: list[tf.Tensor]


def image_of(beam: Beam, row: tf.Tensor) -> tf.Tensor:
    """Sums voxels times lengths along each ray; arguments and result as of `ray_sums.image_of`."""
    return _walked(beam, beam.nothing(), lambda image, at: image + tf.gather(row, at.place) * at.length)[tf.newaxis]


def sums_of(beam: Beam, row: tf.Tensor) -> tf.Tensor:
    """Returns the image, P and Q; arguments and result as of `ray_sums.sums_of`."""

    def add(sums: list[tf.Tensor], at: Visit) -> list[tf.Tensor]:
        value = tf.gather(row, at.place)
        jump = value - tf.gather(row, at.before)
        jumps = [jump * slope for slope in at.slopes]
        made = [value * at.length, *jumps, *(at.entry * jump for jump in jumps)]
        return [one + term for one, term in zip(sums, made, strict=True)]

    return tf.stack(_walked(beam, [beam.nothing()] * 7, add))


def second_of(beam: Beam, row: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns how P and Q, times weights, change with the places; arguments as of `ray_sums.second_of`."""
    sums, lines = sums_of(beam, row), tf.cast(_slanted(beam.lines), beam.dtype)
    of_p, of_q = weights[:3], weights[3:]
    p, q = sums[1:4], sums[4:]
    return tf.concat([-of_q * p / lines, -(of_p * p + 2 * of_q * q) / lines], axis=0)


def spread_of(beam: Beam, row: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Adds the transpose of the image, or of P and Q, to a row; arguments as of `ray_sums.spread_of`."""
    of_rays = tf.unstack(weights)

    def add(row: tf.Tensor, at: Visit) -> tf.Tensor:
        if len(of_rays) == 1:
            return _added(row, at.place, of_rays[0] * at.length)
        jumps = [(p + at.entry * q) * slope for p, q, slope in zip(of_rays[:3], of_rays[3:], at.slopes, strict=True)]
        jump = jumps[0] + jumps[1] + jumps[2]
        return _added(_added(row, at.place, jump), at.before, -jump)

    return _walked(beam, row, add)


def _added(row: tf.Tensor, places: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_add(row, places[:, tf.newaxis], values)


def _slanted(lines: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.abs(lines) < LEAST, tf.constant(LEAST, lines.dtype), lines)


def _walked(beam: Beam, state: Any, add: Callable[[Any, Visit], Any]) -> Any:
    """Walks along all rays from face to face, one voxel a turn, and returns the state that was made of all visits."""
    grid, lines = beam.grid, _slanted(beam.lines)
    start = tf.maximum(beam.start - beam.step, 0)
    end = beam.start + beam.step * tf.cast(beam.count, beam.start.dtype)
    # The border of zeros belongs to the way, so that the first voxel of the volume is come into through a face.
    near, far = tf.fill(tf.shape(lines[0]), start), tf.fill(tf.shape(lines[0]), end)
    for line, origin, size in zip(tf.unstack(lines), tf.unstack(beam.origin), grid.shape, strict=True):
        ends = [(edge - origin) / line for edge in (-1.5, size + 0.5)]
        near, far = tf.maximum(near, tf.minimum(*ends)), tf.minimum(far, tf.maximum(*ends))
    signs, place, faces = tf.unstack(tf.sign(lines)), tf.zeros_like(near, tf.int32), []
    for line, origin, size, stride in zip(
        tf.unstack(lines), tf.unstack(beam.origin), grid.shape, grid.strides, strict=True
    ):
        index = tf.clip_by_value(tf.floor(origin + line * near + 0.5), -1, size)
        place += (tf.cast(index, tf.int32) + 1) * stride
        faces.append(index + 0.5 * tf.sign(line))

    def turn(entry: tf.Tensor, faces: list, place: tf.Tensor, before: tf.Tensor, slopes: list, state: Any) -> list:
        ahead = [
            (face - origin) / line
            for face, origin, line in zip(faces, tf.unstack(beam.origin), tf.unstack(lines), strict=True)
        ]
        nearest = tf.minimum(tf.minimum(ahead[0], ahead[1]), ahead[2])
        goes_on = nearest < far
        leave = tf.maximum(tf.minimum(nearest, far), entry)
        on_way = entry < far
        length = tf.where(on_way, leave - entry, tf.zeros_like(entry))
        visit = Visit(
            tf.where(on_way, place, grid.nowhere),
            before,
            tf.cast(entry, beam.dtype),
            tf.cast(length, beam.dtype),
            [tf.cast(slope, beam.dtype) for slope in slopes],
        )
        state = add(state, visit)
        first = ahead[0] <= tf.minimum(ahead[1], ahead[2])
        second = tf.logical_and(tf.logical_not(first), ahead[1] <= ahead[2])
        third = tf.logical_not(tf.logical_or(first, second))
        crossed = [tf.logical_and(tf.logical_and(goes_on, on_way), one) for one in (first, second, third)]
        after = place
        moved, left = [], []
        for axis, line, sign, face, stride in zip(crossed, tf.unstack(lines), signs, faces, grid.strides, strict=True):
            after += tf.where(axis, tf.cast(sign, tf.int32) * stride, 0)
            moved.append(tf.where(axis, face + sign, face))
            left.append(tf.where(axis, 1 / line, tf.zeros_like(line)))
        return [leave, moved, after, place, left, state]

    nothing = [tf.zeros_like(near)] * 3
    begin = [near, faces, place, place, nothing, state]
    return tf.while_loop(lambda entry, *_: tf.reduce_any(entry < far), turn, begin)[5]
