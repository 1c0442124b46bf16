"""Applies a network to a volume of any size, window by window, and blends what overlaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# Standard deviation of the weight as a part of the window: its rim, where a network sees least, hardly counts.
_SIGMA = 0.125


@dataclass(frozen=True)
class Windows:
    """How a volume is cut.

    Raises:
        ValueError: if a number is out of its range.

    >>> Windows(size=(96, 96, 64)).steps
    (48, 48, 32)
    """

    # Voxels that the network takes along x, y and z; two numbers for a network of slices of constant z.
    size: tuple[int, ...]
    # Part of a window that the next one covers again.
    overlap: float = 0.5
    # Windows that the network gets at a time; the result does not depend on it.
    batch_size: int = 4
    # Value around volumes that are smaller than a window.
    outside: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))  # settings files have lists
        checks = {
            "size": (len(self.size) in (2, 3) and min(self.size) > 0, "2 or 3 numbers of voxels"),
            "overlap": (0 <= self.overlap < 1, "from 0 to below 1"),
            "batch_size": (self.batch_size > 0, "1 or more"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)}.")

    @property
    def steps(self) -> tuple[int, ...]:
        """Most voxels from a window to the next along each axis."""
        return tuple(max(1, round(size * (1 - self.overlap))) for size in self.size)


def sliding_window(
    network: Callable[[tf.Tensor], tf.Tensor], volume: tf.Tensor, classes: int, windows: Windows
) -> tf.Tensor:
    """Averages the answers of a network over windows that overlap, each weighted by a Gaussian around its middle.

    Made of TensorFlow operations only, so that it can be traced once and exported for volumes of any size. Besides the
    volume and the result, the memory holds one batch of windows.

    Args:
        network: maps `(batch, x, y, z, channels)` of the window's size, or `(batch, x, y, channels)`, to as many
            voxels with `classes` channels. Give it the activation that shall be averaged, probabilities, say.
        volume: `(x, y, z, channels)` float; the sizes may be open.
        classes: channels of the answer.
        windows: how to cut.

    Returns:
        `(x, y, z, classes)` float32.

    Raises:
        ValueError: if the volume has another number of axes.

    >>> volume = tf.reshape(tf.range(5.0 * 6 * 7), (5, 6, 7, 1))
    >>> again = sliding_window(lambda window: window, volume, 1, Windows((4, 4, 4)))
    >>> bool(tf.reduce_max(tf.abs(again - volume)) < 1e-3)
    True
    """
    volume = tf.cast(volume, tf.float32)
    if volume.shape.rank != 4:
        raise ValueError(f"`volume` must have shape (x, y, z, channels). Received {volume.shape}.")
    if len(windows.size) == 3:
        return _blend(network, volume, classes, windows, windows.size, windows.steps)
    # With z in front a slice lies in memory as one piece.
    slices = tf.transpose(volume, (2, 0, 1, 3))
    answers = _blend(
        lambda batch: network(tf.squeeze(batch, 1))[:, tf.newaxis],
        slices, classes, windows, (1, *windows.size), (1, *windows.steps),
    )  # fmt: skip
    return tf.transpose(answers, (1, 2, 0, 3))


def _blend(
    network: Callable[[tf.Tensor], tf.Tensor],
    volume: tf.Tensor,
    classes: int,
    windows: Windows,
    size: tuple[int, ...],
    steps: tuple[int, ...],
) -> tf.Tensor:
    shape = tf.shape(volume)[:3]
    lacking = tf.maximum(size - shape, 0)
    before = lacking // 2
    widths = tf.concat([tf.stack([before, lacking - before], axis=1), [[0, 0]]], axis=0)
    grid = tf.pad(volume, widths, constant_values=windows.outside)
    extent = tf.shape(grid)[:3]
    profiles = [_profile(length) for length in size]
    starts = [_starts(extent[axis], size[axis], steps[axis]) for axis in range(3)]
    places = tf.reshape(tf.stack(tf.meshgrid(*starts, indexing="ij"), axis=-1), (-1, 3))
    count = tf.shape(places)[0]
    weight = tf.constant(np.multiply.outer(np.multiply.outer(profiles[0], profiles[1]), profiles[2])[..., np.newaxis])
    strides = tf.stack([extent[1] * extent[2], extent[2], 1])
    voxels = tf.reshape(tf.linalg.matvec(np.moveaxis(np.indices(size), 0, -1).astype(np.int32), strides), (-1, 1))

    def add(total: tf.Tensor, answer: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        parts = tf.reshape(tf.cast(answer, tf.float32) * weight, (-1, classes))
        return tf.tensor_scatter_nd_add(total, voxels + tf.reduce_sum(place * strides), parts)

    def step(first: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        here = places[first : first + windows.batch_size]
        spec = tf.TensorSpec((*size, volume.shape[-1]), tf.float32)
        cut = tf.map_fn(lambda p: tf.slice(grid, tf.concat([p, [0]], 0), spec.shape), here, fn_output_signature=spec)
        answers = network(cut)
        # Window by window in their order, so that the sum is the same for every size of the batch.
        _, total = tf.while_loop(
            lambda index, total: index < tf.shape(here)[0],
            lambda index, total: (index + 1, add(total, answers[index], here[index])),
            (0, total),
            parallel_iterations=1,
        )
        return first + windows.batch_size, total

    _, total = tf.while_loop(
        lambda first, total: first < count,
        step,
        (0, tf.zeros((tf.reduce_prod(extent), classes))),
        shape_invariants=(tf.TensorShape(()), tf.TensorShape((None, classes))),
        parallel_iterations=1,
    )
    total = tf.reshape(total, tf.concat([extent, [classes]], 0))
    # The windows lie on a grid, so the sum of their weights is a product of sums along the axes.
    for axis, (profile, start) in enumerate(zip(profiles, starts, strict=True)):
        covered = _covered(profile, start, extent[axis])
        total /= tf.reshape(covered, [-1 if k == axis else 1 for k in range(4)])
    result = tf.slice(total, tf.concat([before, [0]], 0), tf.concat([shape, [classes]], 0))
    return tf.ensure_shape(result, (*volume.shape[:3], classes))


def _profile(length: int) -> np.ndarray:
    """Returns the weights along one axis, `(length,)` float32, largest in the middle and nowhere 0."""
    distance = np.arange(length) - (length - 1) / 2
    return np.exp(-0.5 * (distance / (_SIGMA * length)) ** 2).astype(np.float32)


def _starts(extent: tf.Tensor, size: int, step: int) -> tf.Tensor:
    """Spreads windows evenly over an axis, at most `step` apart, from its first to its last voxel; `(n,)` int32."""
    room = extent - size
    gaps = -(-room // step)
    return (tf.range(gaps + 1) * room + gaps // 2) // tf.maximum(gaps, 1)


def _covered(profile: np.ndarray, starts: tf.Tensor, extent: tf.Tensor) -> tf.Tensor:
    """Sums the weights of all windows along one axis, `(extent,)`."""
    voxels = starts[:, tf.newaxis] + tf.range(len(profile))
    weights = tf.broadcast_to(profile, tf.shape(voxels))
    return tf.math.unsorted_segment_sum(weights, voxels, extent)
