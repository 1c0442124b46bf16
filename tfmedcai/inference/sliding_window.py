"""Applies a network to a volume of any size, window by window, and blends what overlaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

Network = Callable[[tf.Tensor], tf.Tensor]
# Standard deviation of the weight as a part of the window: its rim, where a network sees least, hardly counts.
_SIGMA = 0.125


@dataclass(frozen=True)
class Windows:
    """How a volume is cut into windows.

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
    network: Network,
    volume: tf.Tensor,
    classes: int,
    windows: Windows,
    finish: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> tf.Tensor:
    """Averages the answers of a network over windows that overlap, each weighted by a Gaussian around its middle.

    Made of TensorFlow operations only, so that it can be traced once and exported for volumes of any size. Planes are
    blended, finished and put away as soon as no window will touch them again: besides the volume and the result, the
    memory holds the planes under one window and one batch of windows.

    Args:
        network: maps `(batch, x, y, z, channels)` of the window's size, or `(batch, x, y, channels)`, to as many
            voxels with `classes` channels. Give it the activation that shall be averaged, probabilities, say.
        volume: `(x, y, z, channels)` float; the sizes may be open.
        classes: channels of the answer.
        windows: how to cut.
        finish: what to make of the averages voxel by voxel: takes `(..., classes)` float32, three axes before the
            last, and returns those three with or without channels. An argmax here keeps a volume of labels instead of
            one of probabilities.

    Returns:
        `(x, y, z, classes)` float32, or what `finish` makes of it.

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
        return _blend(network, volume, classes, windows, finish)
    # With z in front a slice lies in memory as one piece.
    flat = replace(windows, size=(1, *windows.size))
    answers = _blend(_by_slice(network), tf.transpose(volume, (2, 0, 1, 3)), classes, flat, finish)
    return tf.transpose(answers, (1, 2, 0, 3)[: answers.shape.rank])


def _by_slice(network: Network) -> Network:
    return lambda batch: network(tf.squeeze(batch, 1))[:, tf.newaxis]


def _blend(
    network: Network, volume: tf.Tensor, classes: int, windows: Windows, finish: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Goes through the volume from the first plane to the last, a slab of windows at a time."""
    shape = tf.shape(volume)[:3]
    grid, before = _padded(volume, windows)
    extent = tf.shape(grid)[:3]
    starts = [_starts(extent[axis], windows.size[axis], windows.steps[axis]) for axis in range(3)]
    covered = [_covered(windows.size[axis], starts[axis], extent[axis]) for axis in range(3)]
    # Slices: as many at a time as make a batch.
    wanted = -(-windows.batch_size // (tf.size(starts[1]) * tf.size(starts[2])))
    group = wanted if windows.size[0] == 1 else tf.constant(1)
    slabs = -(-tf.size(starts[0]) // group)
    firsts = tf.concat([starts[0][::group], extent[:1]], axis=0)

    def slab(index: tf.Tensor, begun: tf.Tensor, done: tf.TensorArray) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        first, following = firsts[index], firsts[index + 1]
        rows = starts[0][index * group : (index + 1) * group]
        total = tf.pad(begun, [[0, rows[-1] + windows.size[0] - first - tf.shape(begun)[0]], [0, 0], [0, 0], [0, 0]])
        places = tf.reshape(tf.stack(tf.meshgrid(rows, *starts[1:], indexing="ij"), axis=-1), (-1, 3))
        total = tf.ensure_shape(total, (None, None, None, classes))
        total = _add_windows(network, grid, total, places, windows)
        planes = total[: following - first]
        # The windows lie on a grid, so the sum of their weights is a product of sums along the axes.
        planes /= tf.reshape(covered[0][first:following], (-1, 1, 1, 1))
        planes /= covered[1][:, tf.newaxis, tf.newaxis] * covered[2][:, tf.newaxis]
        inner = planes[:, before[1] : before[1] + shape[1], before[2] : before[2] + shape[2]]
        return index + 1, total[following - first :], done.write(index, finish(inner))

    example = tf.TensorSpec((None, *volume.shape[1:3], classes), tf.float32)
    kind = tf.function(finish, autograph=False).get_concrete_function(example).structured_outputs
    done = tf.TensorArray(kind.dtype, size=slabs, infer_shape=False, element_shape=kind.shape)
    begun = tf.zeros((0, extent[1], extent[2], classes))
    _, _, done = tf.while_loop(
        lambda index, *_: index < slabs,
        slab,
        (0, begun, done),
        shape_invariants=(tf.TensorShape(()), tf.TensorShape((None, None, None, classes)), tf.TensorShape(None)),
        parallel_iterations=1,
    )
    result = done.concat()[before[0] : before[0] + shape[0]]
    return tf.ensure_shape(result, (*volume.shape[:3], *kind.shape[3:]))


def _padded(volume: tf.Tensor, windows: Windows) -> tuple[tf.Tensor, tf.Tensor]:
    """Pads a volume on both sides to at least a window; returns it and how many voxels came before it, `(3,)`."""
    lacking = tf.maximum(windows.size - tf.shape(volume)[:3], 0)
    before = lacking // 2
    widths = tf.concat([tf.stack([before, lacking - before], axis=1), [[0, 0]]], axis=0)
    grid = tf.pad(volume, widths, constant_values=windows.outside)
    return tf.ensure_shape(grid, (None, None, None, volume.shape[-1])), before


def _add_windows(network: Network, grid: tf.Tensor, total: tf.Tensor, places: tf.Tensor, windows: Windows) -> tf.Tensor:
    """Adds the weighted answers for windows at `places` to `total`, whose first plane is that of the first place."""
    profiles = [_profile(length) for length in windows.size]
    weight = tf.constant(np.multiply.outer(np.multiply.outer(profiles[0], profiles[1]), profiles[2])[..., np.newaxis])
    shape, count = tf.shape(total), tf.shape(places)[0]
    strides = tf.stack([shape[1] * shape[2], shape[2], 1])
    voxels = tf.reduce_sum(np.moveaxis(np.indices(windows.size), 0, -1).reshape(-1, 3).astype(np.int32) * strides, 1)
    corners = tf.reduce_sum((places - [1, 0, 0] * places[0]) * strides, axis=1)
    spec = tf.TensorSpec((*windows.size, grid.shape[-1]), tf.float32)

    def step(first: tf.Tensor, flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        here = places[first : first + windows.batch_size]
        cut = tf.map_fn(lambda p: tf.slice(grid, tf.concat([p, [0]], 0), spec.shape), here, fn_output_signature=spec)
        parts = tf.cast(network(cut), tf.float32) * weight
        at = corners[first : first + windows.batch_size, tf.newaxis] + voxels
        flat = tf.tensor_scatter_nd_add(flat, tf.reshape(at, (-1, 1)), tf.reshape(parts, (-1, total.shape[-1])))
        return first + windows.batch_size, flat

    flat = tf.reshape(total, (-1, total.shape[-1]))
    _, flat = tf.while_loop(lambda first, _: first < count, step, (0, flat), parallel_iterations=1)
    return tf.reshape(flat, shape)


def _profile(length: int) -> np.ndarray:
    """Returns the weights along one axis, `(length,)` float32, largest in the middle and nowhere 0."""
    distance = np.arange(length) - (length - 1) / 2
    return np.exp(-0.5 * (distance / (_SIGMA * length)) ** 2).astype(np.float32)


def _starts(extent: tf.Tensor, size: int, step: int) -> tf.Tensor:
    """Spreads windows evenly over an axis, at most `step` apart, from its first to its last voxel; `(n,)` int32."""
    room = extent - size
    gaps = -(-room // step)
    return (tf.range(gaps + 1) * room + gaps // 2) // tf.maximum(gaps, 1)


def _covered(size: int, starts: tf.Tensor, extent: tf.Tensor) -> tf.Tensor:
    """Sums the weights of all windows along one axis, `(extent,)`."""
    voxels = starts[:, tf.newaxis] + tf.range(size)
    weights = tf.broadcast_to(_profile(size), tf.shape(voxels))
    return tf.math.unsorted_segment_sum(weights, voxels, extent)
