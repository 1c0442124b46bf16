"""Sums along rays through a volume and their transpose: gathers and scatters of XLA, a block of rays at a time.

On a ray of direction d lie the places x = M (s d, 1), at distances s: M, a matrix of 3 x 4, takes the frame of the
X-ray source to indices of voxels. See `layers/line_sums.py` for what the sums are good for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

BLOCK = 16384  # rays that are traced together: what a sample of each needs fits the cache of a core
CORNERS = tuple(itertools.product((0, 1), repeat=3))


class Grid(NamedTuple):
    """The voxels of a volume in one row, with a border of zeros.

    Attributes:
        shape: depth, height and width of the volume.
        faded: whether the volume fades to zero within a voxel around its outermost centres, so that every sum is a
            continuous function of the pose; else it ends at these centres.
        block: rays that are traced together.
        exact: sum lengths in voxels of one value each (`layers/path_lengths.py`) instead of interpolated samples.
        xla: whether sums are compiled; else they take longer, in graphs for servers that leave XLA off.
    """

    shape: tuple[int, int, int]
    faded: bool = True
    block: int = BLOCK
    exact: bool = False
    xla: bool = True

    @property
    def strides(self) -> tuple[int, int, int]:
        """Places in the row between neighbours along each axis."""
        _, height, width = self.shape
        return (height + 2) * (width + 2), width + 2, 1

    @property
    def nowhere(self) -> int:
        """Place in the row of a cell of zeros."""
        return (self.shape[0] + 2) * self.strides[0]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Places of the corners of a cell behind its first, in the order of `CORNERS`."""
        return tuple(sum(map(int.__mul__, corner, self.strides)) for corner in CORNERS)

    @property
    def length(self) -> int:
        """Places of a row."""
        return self.nowhere + self.offsets[-1] + 1

    def row(self, volume: tf.Tensor) -> tf.Tensor:
        """Puts a volume `(depth, height, width)` into a row."""
        return tf.pad(tf.reshape(tf.pad(volume, [[1, 1]] * 3), [-1]), [[0, self.length - self.nowhere]])

    def volume(self, row: tf.Tensor) -> tf.Tensor:
        """Takes the volume `(depth, height, width)` out of a row `(voxels,)`; the transpose of `row`."""
        padded = tf.reshape(row[: self.nowhere], [size + 2 for size in self.shape])
        return padded[1:-1, 1:-1, 1:-1]

    def cells(self, places: Sequence[tf.Tensor], dtype: tf.DType) -> list[tf.Tensor]:
        """Finds the cells of eight voxels that places lie in.

        Args:
            places: index along depth, height and width.
            dtype: of the second result.

        Returns:
            Place in the row of the first corner, int32; and how far along each axis of the cell a place lies.
        """
        margin = 0 if self.faded else 1
        first, inside = 0, True
        corners = [tf.floor(place) for place in places]
        for corner, size, stride in zip(corners, self.shape, self.strides, strict=True):
            inside = tf.logical_and(inside, tf.logical_and(corner >= margin - 1, corner <= size - 1 - margin))
            first += (tf.cast(corner, tf.int32) + 1) * stride
        parts = [tf.cast(place - corner, dtype) for place, corner in zip(places, corners, strict=True)]
        return [tf.where(inside, first, self.nowhere), *parts]


class Beam(NamedTuple):
    """One block of rays through one volume.

    Attributes:
        lines: `(3, rays)`, how indices change with the distance.
        origin: `(3,)`, index of the source.
        start: `()`, distance of the first sample.
        count: `()` int32, number of samples.
        step: `()`, distance between two samples.
        together: samples that are taken at once, so that small pictures keep the cores busy.
        grid: the voxels.
        dtype: of the values; places may be more precise.
    """

    lines: tf.Tensor
    origin: tf.Tensor
    start: tf.Tensor
    count: tf.Tensor
    step: tf.Tensor
    together: int
    grid: Grid
    dtype: tf.DType

    @property
    def turns(self) -> tf.Tensor:
        """How often samples are taken."""
        return -(-self.count // self.together)

    def distances(self, turn: tf.Tensor) -> tf.Tensor:
        """Returns the distances `(together, 1)` of one turn; those behind the last sample lie far outside."""
        numbers = turn * self.together + tf.range(self.together)
        far = tf.constant(1e6, self.start.dtype)
        distances = self.start + self.step * tf.cast(numbers, self.start.dtype)
        return tf.where(numbers < self.count, distances, far * self.step)[:, tf.newaxis]

    def cells(self, turn: tf.Tensor) -> list[tf.Tensor]:
        """Returns the cells, `(together, rays)` each, of the samples of one turn; see `Grid.cells`."""
        distances, pairs = self.distances(turn), zip(tf.unstack(self.lines), tf.unstack(self.origin), strict=True)
        return self.grid.cells([line * distances + origin for line, origin in pairs], self.dtype)

    def weighing(self, turn: tf.Tensor) -> tf.Tensor:
        """Returns the distances of one turn `()` in the type of the values, `(together, 1)`."""
        return tf.cast(self.distances(turn), self.dtype)

    def nothing(self) -> tf.Tensor:
        """Returns zeros `(rays,)` to begin a sum with."""
        return tf.zeros(self.lines.shape[-1], self.dtype)


def image_of(beam: Beam, row: tf.Tensor) -> tf.Tensor:
    """Sums the values of a volume along each ray.

    Args:
        beam: rays.
        row: the volume, see `Grid.row`.

    Returns:
        `(1, rays)`.
    """

    def turn(number: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, *parts = beam.cells(number)
        (value, *_), _ = _interpolated([tf.gather(row, first + offset) for offset in beam.grid.offsets], parts)
        return number + 1, image + tf.reduce_sum(value, axis=0)

    state = (tf.constant(0), beam.nothing())
    return tf.while_loop(lambda number, _: number < beam.turns, turn, state)[1][tf.newaxis]


def sums_of(beam: Beam, row: tf.Tensor) -> tf.Tensor:
    """Sums values, slopes and slopes times distance along each ray: the image, P and Q.

    Args:
        beam: rays.
        row: the volume.

    Returns:
        `(7, rays)`.
    """

    def terms(values: Sequence[tf.Tensor], _: Sequence[tf.Tensor], distance: tf.Tensor) -> list[tf.Tensor]:
        return [*values, *(distance * slope for slope in values[1:])]

    return _gathered(beam, row, 7, terms)


def second_of(beam: Beam, row: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Sums how P and Q, times weights, change with the places: as such, and times distance.

    Args:
        beam: rays.
        row: the volume.
        weights: `(6, rays)`.

    Returns:
        `(6, rays)`.
    """
    of_p, of_q = tf.unstack(weights[:3]), tf.unstack(weights[3:])

    def terms(_: Sequence[tf.Tensor], second: Sequence[tf.Tensor], distance: tf.Tensor) -> list[tf.Tensor]:
        a, b, c = (p + distance * q for p, q in zip(of_p, of_q, strict=True))
        of_b_c, of_a_c, of_a_b = second
        made = [of_a_b * b + of_a_c * c, of_a_b * a + of_b_c * c, of_a_c * a + of_b_c * b]
        return [*made, *(distance * slope for slope in made)]

    return _gathered(beam, row, 6, terms)


def spread_of(beam: Beam, row: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Adds weights of rays to the voxels that they are made of: the transpose of the image, or of P and Q.

    Args:
        beam: rays.
        row: what is added to.
        weights: `(1, rays)` of the image or `(6, rays)` of P and Q.

    Returns:
        The row.
    """
    of_rays = tf.unstack(weights)

    def turn(number: tf.Tensor, row: tf.Tensor, cells: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, list]:
        first, *parts = cells
        distance = beam.weighing(number)
        slopes = [p + distance * q for p, q in zip(of_rays[:3], of_rays[3:], strict=True)] if of_rays[1:] else []
        for corner, offset in zip(CORNERS, beam.grid.offsets, strict=True):
            near = [part if end else 1 - part for end, part in zip(corner, parts, strict=True)]
            if slopes:
                a, b, c = (slope if end else -slope for end, slope in zip(corner, slopes, strict=True))
                weight = a * near[1] * near[2] + near[0] * (b * near[2] + near[1] * c)
            else:
                weight = of_rays[0] * near[0] * near[1] * near[2]
            row = tf.tensor_scatter_nd_add(row, tf.reshape(first + offset, (-1, 1)), tf.reshape(weight, [-1]))
        return number + 1, row, beam.cells(number + 1)

    state = (tf.constant(0), row, beam.cells(tf.constant(0)))
    return tf.while_loop(lambda number, *_: number < beam.turns, turn, state)[1]


def _gathered(beam: Beam, row: tf.Tensor, count: int, terms: Callable[..., Sequence[tf.Tensor]]) -> tf.Tensor:
    """Sums several terms along each ray, `(count, rays)`.

    The cells of the next samples, the voxels of these and the sums of the last ones are made in one turn, each from
    what the turn before left: so XLA reads every voxel once, where it would otherwise read all eight anew for each sum.

    Args:
        beam: rays.
        row: the volume.
        count: number of terms.
        terms: of the values and the second slopes (see `_interpolated`) and the distance `(together, 1)`.

    Returns:
        `(count, rays)`.
    """

    def look(cells: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        first, *parts = cells
        return [*(tf.gather(row, first + offset) for offset in beam.grid.offsets), *parts]

    def turn(number: tf.Tensor, cells: Sequence, seen: Sequence, sums: Sequence) -> tuple[tf.Tensor, list, list, list]:
        made = terms(*_interpolated(seen[:8], seen[8:]), beam.weighing(number))
        sums = [one + tf.reduce_sum(term, axis=0) for one, term in zip(sums, made, strict=True)]
        return number + 1, beam.cells(number + 2), look(cells), sums

    first, second = (beam.cells(tf.constant(number)) for number in (0, 1))
    state = (tf.constant(0), second, look(first), [beam.nothing()] * count)
    return tf.stack(tf.while_loop(lambda number, *_: number < beam.turns, turn, state)[3])


def _interpolated(values: Sequence[tf.Tensor], parts: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Interpolates between the corners of a cell.

    Returns:
        Value and slopes along depth, height and width; and the second slopes, of the other two axes each.
    """
    depth, height, width = parts
    along_width = [after - before for before, after in zip(values[::2], values[1::2], strict=True)]
    edges = [before + width * slope for before, slope in zip(values[::2], along_width, strict=True)]
    along_height = [edges[1] - edges[0], edges[3] - edges[2]]
    faces = [edges[0] + height * along_height[0], edges[2] + height * along_height[1]]
    along_depth = faces[1] - faces[0]
    twisted = [along_width[1] - along_width[0], along_width[3] - along_width[2]]
    of_width = [along_width[0] + height * twisted[0], along_width[2] + height * twisted[1]]
    of_depth_and_width, of_depth_and_height = of_width[1] - of_width[0], along_height[1] - along_height[0]
    second = [twisted[0] + depth * (twisted[1] - twisted[0]), of_depth_and_width, of_depth_and_height]
    first = [along_depth, along_height[0] + depth * of_depth_and_height, of_width[0] + depth * of_depth_and_width]
    return [faces[0] + depth * along_depth, *first], second
