"""The projector of ProST as published, its quirks included, to hold ours against; nothing else uses it.

Lengths are in units of half the depth of the volume. It differs from `layers/projector.py` in its frame (rows along x,
columns along y, the source at z above the detector), in samples that lie on spheres around the source, not planes, and
in this:

1. The first sample lies at the corner that is nearest to the source, so that the cap before it is left out.
2. Corners are moved by R (p - t) for this, where R^T (p - t) would be right.
3. All poses of a call share the first and the last sample.
4. The axis of a rotation is its vector over its length + 1e-6; below a length of 1e-3 the rotation is I + [r]x.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import tensorflow as tf

from tfmedcai.layers.line_sums import Scene, blocked, images
from tfmedcai.layers.ray_sums import Grid


@dataclass(frozen=True)
class PublishedProjector:
    """Geometry of the original, in units of half the depth of the volume.

    Attributes:
        source: z of the X-ray source.
        detector: z of the detector.
        pixel: pitch of the detector.
        step: between two samples.
        size: rows and columns of the detector.

    Reference:
        Gao et al., Generalizing spatial transformers to projective geometry, MICCAI 2020, and its code.
    """

    source: float
    detector: float
    pixel: float
    step: float
    size: tuple[int, int]

    def __call__(self, volume: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Projects a volume.

        Args:
            volume: `(depth, height, width)` float32 or float64.
            poses: `(poses, 6)` float64, axis angle in rad and translation: differentiable, also at zero.

        Returns:
            `(poses, rows, columns)`, sums of samples.
        """
        matrices = tf.concat([published_rotation(poses[:, :3]), poses[:, 3:, tf.newaxis]], axis=-1)
        return self.of_matrices(volume, matrices)

    def of_matrices(self, volume: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
        """Projects a volume, poses given as matrices `(poses, 3, 4)` float64; see `__call__`."""
        shape, dtype = tuple(volume.shape), matrices.dtype
        turns, shifts = matrices[..., :3], matrices[..., 3]
        # The frame of the volume spans -1 to 1 along depth; a voxel n begins at n.
        scale = tf.constant(shape[0] / 2, dtype)
        middle = tf.constant([size / 2 for size in shape], dtype)
        origin = scale * (shifts + tf.linalg.matvec(turns, tf.constant([0, 0, self.source], dtype)))[:, ::-1] + middle
        lines = scale * turns[:, ::-1, :]
        rays = self._rays(dtype)
        first, count = self._range(shape, tf.stop_gradient(matrices))
        grid = Grid(shape, faded=False)
        spans = tf.ones((1, matrices.shape[0], blocked(rays, grid.block).shape[-2]), dtype)
        scene = Scene(
            tf.concat([lines, origin[..., tf.newaxis]], axis=-1)[tf.newaxis],
            rays,
            first * spans,
            tf.cast(tf.cast(count, dtype) * spans, tf.int32),
            tf.constant(self.step, dtype),
        )
        return tf.reshape(images(volume[tf.newaxis], scene, grid), (-1, *self.size))

    def _rays(self, dtype: tf.DType) -> tf.Tensor:
        away = tf.abs(tf.constant(self.source - self.detector, dtype))
        x, y = (self.pixel * (tf.range(count, dtype=dtype) - count / 2) for count in self.size)
        across = tf.stack(tf.meshgrid(x, y, indexing="ij"))
        ends = tf.concat([across, -away * tf.ones_like(across[:1])], axis=0)
        return tf.reshape(ends / tf.norm(ends, axis=0), (3, -1))

    def _range(self, shape: tuple[int, int, int], matrices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Distance of the first sample and number of samples, for all poses (quirks 1 to 3)."""
        depth, height, width = shape
        edges = width / depth, height / depth, 1.0
        corners = tf.constant(list(itertools.product(*((-edge, edge) for edge in edges))), matrices.dtype)
        moved = tf.linalg.matmul(corners - matrices[:, tf.newaxis, :, 3], tf.linalg.inv(matrices[..., :3]))
        distances = tf.norm(moved - tf.constant([0, 0, self.source], matrices.dtype), axis=-1)
        nearest, farthest = tf.reduce_min(distances), tf.reduce_max(distances)
        return nearest - self.step, tf.cast(tf.floor((farthest - nearest + 2 * self.step) / self.step), tf.int32) + 1


def published_rotation(vectors: tf.Tensor) -> tf.Tensor:
    """Makes matrices `(..., 3, 3)` of rotation vectors `(..., 3)` as the original (quirk 4); derivatives are finite."""
    squared = tf.reduce_sum(vectors**2, axis=-1, keepdims=True)[..., tf.newaxis]
    small = squared <= 1e-6
    angle = tf.sqrt(tf.where(small, tf.ones_like(squared), squared))
    axis = vectors / (angle[..., 0] + 1e-6)
    identity = tf.eye(3, dtype=vectors.dtype)
    outer = axis[..., :, tf.newaxis] * axis[..., tf.newaxis, :]
    turned = tf.cos(angle) * identity + tf.sin(angle) * _crossing(axis) + (1 - tf.cos(angle)) * outer
    return tf.where(small, identity + _crossing(vectors), turned)


def _crossing(vectors: tf.Tensor) -> tf.Tensor:
    """The matrices `(..., 3, 3)` that take the cross product with vectors."""
    x, y, z = tf.unstack(vectors, axis=-1)
    zero = tf.zeros_like(x)
    rows = [tf.stack(row, axis=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return tf.stack(rows, axis=-2)
