"""Images of volumes by sums along rays, differentiable twice by volume and geometry.

On a ray of direction d lie the places x = M (s d, 1), at distances s: M, a matrix of 3 x 4, takes the frame of the
X-ray source to indices of voxels. The image is the sum of V(x). Its derivative to M needs two more sums,

    dI/dM[a, b] = d[b] Q[a] for b < 3, P[a] for b = 3,    P = sum of grad V(x),    Q = sum of s grad V(x),

made of the same eight voxels that the image reads anyway. So one pass gives the image and all that differentiates it by
a pose of any form, without a scatter, and what depends on P and Q is differentiated once more: the double backward of
ProST.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import tensorflow as tf

from tfmedcai.layers import path_lengths, ray_sums
from tfmedcai.layers.ray_sums import Beam, Grid


def compiled(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Has XLA compile a function whose last argument is a `Grid`, unless that says otherwise."""
    fast = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def chosen(*args: Any) -> tf.Tensor:
        return fast(*args) if args[-1].xla else function(*args)

    return chosen


class Scene(NamedTuple):
    """Where the rays run through some volumes, each of them seen from some poses.

    Attributes:
        matrices: `(volumes, poses, 3, 4)` float, from mm in the frame of the source to index along depth, height and
            width.
        rays: `(3, rays)` float, directions in the frame of the source.
        starts: `(volumes, poses, blocks)` float, distance of the first sample, in lengths of the directions.
        counts: `(volumes, poses, blocks)` int32, number of samples.
        step: `()` float, distance between two samples.

    All are of one type, float32 or float64, whatever that of the volumes: which cell a place lies in, and so the slope,
    may depend on the last digit.
    """

    matrices: tf.Tensor
    rays: tf.Tensor
    starts: tf.Tensor
    counts: tf.Tensor
    step: tf.Tensor

    def repeated(self, times: int) -> Scene:
        """Returns the scene of volumes each of which comes so many times in turn, for each channel, say."""
        if times == 1:
            return self
        matrices, starts, counts = (
            tf.repeat(part, times, axis=0) for part in (self.matrices, self.starts, self.counts)
        )
        return self._replace(matrices=matrices, starts=starts, counts=counts)


class _Jobs(NamedTuple):
    """Blocks of rays of several poses through one volume, one after the other."""

    grid: Grid
    blocks: tf.Tensor
    step: tf.Tensor
    matrices: tf.Tensor
    starts: tf.Tensor
    counts: tf.Tensor

    @property
    def numbers(self) -> tf.Tensor:
        return tf.range(tf.size(self.starts))

    def beam(self, number: tf.Tensor, dtype: tf.DType) -> Beam:
        pose, block = number // self.blocks.shape[0], number % self.blocks.shape[0]
        matrix, rays = self.matrices[pose], self.blocks[block]
        lines = tf.linalg.matmul(matrix[:, :3], rays)
        together = max(1, self.grid.block // rays.shape[-1])
        start, count = self.starts[pose, block], self.counts[pose, block]
        return Beam(lines, matrix[:, 3], start, count, self.step, together, self.grid, dtype)

    def cut(self, values: tf.Tensor) -> tf.Tensor:
        """From values of rays `(poses, kinds, rays)` to those of jobs `(jobs, kinds, rays of a block)`."""
        blocks = tf.transpose(blocked(values, self.grid.block), (0, 2, 1, 3))
        return tf.reshape(blocks, (-1, values.shape[1], self.blocks.shape[-1]))

    def joined(self, made: tf.Tensor, rays: int) -> tf.Tensor:
        """The inverse of `cut`."""
        (count, _, width), kinds = self.blocks.shape, made.shape[1]
        blocks = tf.transpose(tf.reshape(made, (-1, count, kinds, width)), (0, 2, 1, 3))
        return tf.reshape(blocks, (-1, kinds, count * width))[..., :rays]


def blocked(values: tf.Tensor, block: int, filler: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Cuts values of rays into blocks.

    Args:
        values: `(..., rays)`.
        block: most rays of a block.
        filler: value that the last block is filled up with.

    Returns:
        `(..., blocks, rays of one)`.
    """
    rays, kept = values.shape[-1], [[0, 0]] * (values.shape.rank - 1)
    width = min(block, rays)
    count = -(-rays // width)
    filled = tf.pad(values, [*kept, [0, count * width - rays]], constant_values=filler)
    return tf.reshape(filled, tf.concat([tf.shape(values)[:-1], [count, width]], axis=0))


def _each(function: Callable[..., tf.Tensor], *tensors: tf.Tensor) -> tf.Tensor:
    """Applies a function to each of the first axis, without a loop where there is one."""
    if tensors[0].shape[0] == 1:
        return function(*(tensor[0] for tensor in tensors))[tf.newaxis]
    return tf.map_fn(lambda parts: function(*parts), tensors, fn_output_signature=tensors[-1].dtype)


def _jobs(grid: Grid, scene: Scene, *of_volume: tf.Tensor) -> _Jobs:
    blocks = tf.transpose(blocked(scene.rays, grid.block), (1, 0, 2))
    return _Jobs(grid, blocks, scene.step, *of_volume)


def _traced(
    of_beam: Callable[..., tf.Tensor], grid: Grid, scene: Scene, volumes: tf.Tensor, *weights: tf.Tensor
) -> Any:
    """Traces all rays; weights are `(volumes, poses, kinds, rays)`, and so is what comes."""

    def of_volume(*parts: tf.Tensor) -> tf.Tensor:
        matrices, starts, counts, volume, *of_rays = parts
        jobs, row = _jobs(grid, scene, matrices, starts, counts), grid.row(volume)
        cuts = [jobs.cut(part) for part in of_rays]

        def of_job(number: tf.Tensor) -> tf.Tensor:
            return of_beam(jobs.beam(number, volume.dtype), row, *(part[number] for part in cuts))

        return jobs.joined(tf.map_fn(of_job, jobs.numbers, fn_output_signature=volume.dtype), scene.rays.shape[-1])

    return _each(of_volume, scene.matrices, scene.starts, scene.counts, volumes, *weights)


def _method(grid: Grid) -> ModuleType:
    return path_lengths if grid.exact else ray_sums


@compiled
def _images(volumes: tf.Tensor, scene: Scene, grid: Grid) -> tf.Tensor:
    return _traced(_method(grid).image_of, grid, scene, volumes)


@compiled
def _all_sums(volumes: tf.Tensor, scene: Scene, grid: Grid) -> tf.Tensor:
    return _traced(_method(grid).sums_of, grid, scene, volumes)


@compiled
def _second(volumes: tf.Tensor, scene: Scene, weights: tf.Tensor, grid: Grid) -> tf.Tensor:
    return _traced(_method(grid).second_of, grid, scene, volumes, weights)


@compiled
def _transposed(scene: Scene, weights: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Volumes from weights of the image, or of P and Q."""

    def of_volume(matrices: tf.Tensor, starts: tf.Tensor, counts: tf.Tensor, of_rays: tf.Tensor) -> tf.Tensor:
        jobs = _jobs(grid, scene, matrices, starts, counts)
        cut, dtype = jobs.cut(of_rays), of_rays.dtype
        spread_of, empty = _method(grid).spread_of, tf.zeros(grid.length, dtype)
        row = tf.foldl(lambda row, number: spread_of(jobs.beam(number, dtype), row, cut[number]), jobs.numbers, empty)
        return grid.volume(row)

    return _each(of_volume, scene.matrices, scene.starts, scene.counts, weights)


def images(volumes: tf.Tensor, scene: Scene, grid: Grid, *, differentiable: bool = True) -> tf.Tensor:
    """Sums the values along rays, differentiable twice by volumes and matrices.

    Which samples are taken is held fixed by the derivatives, as are the rays.

    Args:
        volumes: `(volumes, depth, height, width)` float.
        scene: the rays.
        grid: how a volume lies in memory, and where it ends.
        differentiable: without, fewer sums are made.

    Returns:
        `(volumes, poses, rays)`.
    """
    if differentiable:
        return _image_and_slopes(volumes, scene, grid)[0][..., 0, :]
    return _images(_fixed(volumes), _fixed(scene), grid)[..., 0, :]


# An image is A(M) V, its P and Q are B(M) V. Both are linear in V, and `_spread` is their transpose; A changes with M
# by B, and B by `_bent`. So each function below has the others for its derivatives. The image and the slopes are made
# in one pass, yet told their derivatives apart: TensorFlow leaves out what nobody asks for, where one function of both
# would get zeros.


def _fixed(given: Any) -> Any:
    """Hides what is computed from TensorFlow, which would else differentiate it its own way where tapes are nested."""
    return tf.nest.map_structure(tf.stop_gradient, given)


def _image_and_slopes(volumes: tf.Tensor, scene: Scene, grid: Grid) -> tuple[tf.Tensor, tf.Tensor]:
    sums = _all_sums(_fixed(volumes), _fixed(scene), grid)

    @tf.custom_gradient
    def slopes(volumes: tf.Tensor, matrices: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        def gradient(weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            here = scene._replace(matrices=matrices)
            return _spread(weights, here, grid), _by_matrix(_bent(volumes, here, weights, grid), scene)

        return sums[..., 1:, :], gradient

    @tf.custom_gradient
    def image(
        volumes: tf.Tensor, matrices: tf.Tensor, slopes: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        def gradient(weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
            here = scene._replace(matrices=matrices)
            return _spread(weights, here, grid), _by_matrix(weights * slopes, scene), None

        return sums[..., :1, :], gradient

    known = slopes(volumes, scene.matrices)
    return image(volumes, scene.matrices, known), known


def _spread(weights: tf.Tensor, scene: Scene, grid: Grid) -> tf.Tensor:
    """Volumes from weights `(volumes, poses, 1 or 6, rays)` of the image or of P and Q: their transpose."""

    @tf.custom_gradient
    def spread(weights: tf.Tensor, matrices: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        here = scene._replace(matrices=matrices)

        def gradient(volumes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, slopes = _image_and_slopes(volumes, here, grid)
            if weights.shape[-2] == 1:
                return image, _by_matrix(weights * slopes, scene)
            return slopes, _by_matrix(_bent(volumes, here, weights, grid), scene)

        return _transposed(_fixed(here), _fixed(weights), grid), gradient

    return spread(weights, scene.matrices)


def _bent(volumes: tf.Tensor, scene: Scene, weights: tf.Tensor, grid: Grid) -> tf.Tensor:
    """How the sum of P and Q, times weights, changes with the places: `(volumes, poses, 6, rays)` as P and Q."""

    @tf.custom_gradient
    def bent(
        volumes: tf.Tensor, matrices: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        def gradient(_: tf.Tensor) -> Any:
            raise NotImplementedError("A projection has no third derivatives here; two are there.")

        return _second(_fixed(volumes), _fixed(scene._replace(matrices=matrices)), _fixed(weights), grid), gradient

    return bent(volumes, scene.matrices, weights)


def _by_matrix(slopes: tf.Tensor, scene: Scene) -> tf.Tensor:
    """From P and Q of each ray, weighted, to the derivative to the matrices, `(volumes, poses, 3, 4)`."""
    slopes = tf.cast(slopes, scene.rays.dtype)
    turning = tf.linalg.matmul(slopes[..., 3:, :], scene.rays, transpose_b=True)
    return tf.concat([turning, tf.reduce_sum(slopes[..., :3, :], axis=-1, keepdims=True)], axis=-1)
