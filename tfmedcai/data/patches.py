"""Cuts slices and patches out of volumes at random places, with a preference for the foreground, as a fast pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Voxels of a structure that patches are centred on; more would make them no more varied.
_VOXELS = 4096

Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class Sampling:
    """How an epoch is cut out of volumes.

    Raises:
        ValueError: if a number is out of its range.

    >>> Sampling(size=(128, 128), batch_size=32).axes
    2
    """

    # Voxels of a patch along x, y and z; two numbers for slices of constant z.
    size: tuple[int, ...]
    # Patches or slices in a batch; the last batch of an epoch may be smaller.
    batch_size: int = 1
    # Part of the samples that are centred on a voxel of a structure, each structure of a volume as often as the others.
    foreground: float = 0.0
    # Patches of each volume in an epoch. Of slices, each is in an epoch once (less those that the foreground replaces).
    per_volume: int = 1
    # Value of the image around volumes that are smaller than the size; the label is 0 there.
    outside: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))  # settings files have lists
        checks = {
            "size": (len(self.size) in (2, 3) and min(self.size) > 0, "2 or 3 numbers of voxels"),
            "batch_size": (self.batch_size > 0, "1 or more"),
            "foreground": (0 <= self.foreground <= 1, "from 0 to 1"),
            "per_volume": (self.per_volume > 0, "1 or more"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)}.")

    @property
    def axes(self) -> int:
        """2 for slices, 3 for patches."""
        return len(self.size)


class Patches(NamedTuple):
    """A pipeline and the length of its epochs.

    Attributes:
        batches: endless; images `(batch, x, y, channels)` or `(batch, x, y, z, channels)` float32, and labels
            `(batch, x, y)` or `(batch, x, y, z)` in the type of the volumes.
        steps: batches in an epoch.
    """

    batches: tf.data.Dataset
    steps: int


def random_patches(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    sampling: Sampling,
    seed: int,
    first_epoch: int = 0,
    augment: Augment | None = None,
) -> Patches:
    """Cuts random patches or slices out of volumes, which stay in memory as they are.

    What is drawn depends on seed, epoch and place in the epoch alone: a training that goes on at `first_epoch` sees
    what it would have seen.

    Args:
        images: `(x, y, z, channels)` floats each, all with as many channels; half precision is enough.
        labels: `(x, y, z)` integers each, of one type, on the same grids.
        sampling: how to cut.
        seed: of all that is random.
        first_epoch: epoch to begin with.
        augment: takes image, label and a `(2,)` int32 seed, and returns image and label; such as `Augmentation`.

    Returns:
        The pipeline.

    Raises:
        ValueError: if there is no volume, or if images and labels do not fit together.
    """
    _check(images, labels)
    size = sampling.size
    if sampling.axes == 2:
        # With z in front a slice lies in memory as one piece.
        images, labels = ([np.ascontiguousarray(np.moveaxis(a, 2, 0)) for a in part] for part in (images, labels))
        size = (1, *size)
    store = _Store.of(images, labels, size, sampling.outside)
    entries = _slices(labels) if sampling.axes == 2 else _repeated(len(images), sampling.per_volume)

    def cut(volume: tf.Tensor, start: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = store.read(volume, start, size)
        if sampling.axes == 2:
            image, label = tf.squeeze(image, 0), tf.squeeze(label, 0)
        return augment(image, label, key) if augment else (image, label)

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # All places of an epoch are drawn at once: single numbers cost as much as an array of them.
        plan = _plan(store, entries, size, sampling.foreground, tf.stack([seed, epoch]))
        samples = tf.data.Dataset.from_tensor_slices(plan).map(cut, num_parallel_calls=tf.data.AUTOTUNE)
        return samples.batch(sampling.batch_size)

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max, output_type=tf.int32)
    return Patches(epochs.flat_map(epoch_batches).prefetch(2), -(-len(entries) // sampling.batch_size))


def padded(array: np.ndarray, size: Sequence[int], value: float = 0.0) -> np.ndarray:
    """Pads the first axes of an array on both sides until they are as long as asked for.

    Args:
        array: any shape.
        size: least length of the first axes.
        value: what the new voxels are.

    Returns:
        The array, or itself if it is large enough; of an odd number of voxels the larger half comes behind.

    >>> padded(np.ones((2, 5), np.uint8), (5, 4)).sum(axis=1).tolist()
    [0, 5, 5, 0, 0]
    """
    lacking = [max(0, least - now) for least, now in zip(size, array.shape, strict=False)]
    if not any(lacking):
        return array
    widths = [(n // 2, n - n // 2) for n in lacking] + [(0, 0)] * (array.ndim - len(lacking))
    return np.pad(array, widths, constant_values=value)


class _Store(NamedTuple):
    """Volumes as tensors that a pipeline can choose from, and the voxels of their structures.

    Attributes:
        images: list of tensors as one variant tensor; they may have different shapes.
        labels: likewise.
        types: of the elements of both.
        channels: of the images.
        shapes: `(volumes, 3)` int32.
        voxels: `(n, 3)` int32, of all structures of all volumes, one after the other.
        rows: `(volumes, structures, 2)` int32: first row and number of rows of a structure, those that are there first.
        structures: `(volumes,)` int32, how many are there.
    """

    images: tf.Tensor
    labels: tf.Tensor
    types: tuple[tf.DType, tf.DType]
    channels: int
    shapes: tf.Tensor
    voxels: tf.Tensor
    rows: tf.Tensor
    structures: tf.Tensor

    @classmethod
    def of(
        cls, images: Sequence[np.ndarray], labels: Sequence[np.ndarray], size: Sequence[int], outside: float
    ) -> _Store:
        labels = [padded(label, size) for label in labels]
        found = [_structure_voxels(label) for label in labels]
        most = max(1, *(len(structures) for structures in found))
        rows, voxels, first = np.zeros((len(found), most, 2), np.int32), [np.zeros((1, 3), np.int64)], 1
        for volume, structures in enumerate(found):
            for place, chosen in enumerate(structures):
                rows[volume, place] = first, len(chosen)
                voxels.append(chosen)
                first += len(chosen)
        # The volumes stay in the memory of the host, also where there is a GPU.
        with tf.device("CPU:0"):
            return cls(
                images=_tensor_list([padded(image, size, outside) for image in images]),
                labels=_tensor_list(labels),
                types=(tf.as_dtype(images[0].dtype), tf.as_dtype(labels[0].dtype)),
                channels=images[0].shape[-1],
                shapes=tf.constant([label.shape for label in labels], tf.int32),
                voxels=tf.constant(np.concatenate(voxels), tf.int32),
                rows=tf.constant(rows),
                structures=tf.constant([len(structures) for structures in found], tf.int32),
            )

    def read(self, volume: tf.Tensor, start: tf.Tensor, size: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
        image = _list_item(self.images, volume, 4, self.types[0])
        label = _list_item(self.labels, volume, 3, self.types[1])
        image = tf.slice(image, tf.concat([start, [0]], 0), [*size, self.channels])
        return tf.cast(image, tf.float32), tf.slice(label, start, size)


def _tensor_list(arrays: Sequence[np.ndarray]) -> tf.Tensor:
    kind = tf.as_dtype(arrays[0].dtype)
    items = tf.raw_ops.EmptyTensorList(element_shape=-1, max_num_elements=len(arrays), element_dtype=kind)
    for array in arrays:
        items = tf.raw_ops.TensorListPushBack(input_handle=items, tensor=tf.constant(array))
    return items


def _list_item(items: tf.Tensor, index: tf.Tensor, axes: int, kind: tf.DType) -> tf.Tensor:
    return tf.raw_ops.TensorListGetItem(input_handle=items, index=index, element_shape=[-1] * axes, element_dtype=kind)


def _structure_voxels(label: np.ndarray) -> list[np.ndarray]:
    """Lists the voxels of each structure, `(n, 3)`, evenly thinned out where there are many."""
    places = np.flatnonzero(label)
    values = label.ravel()[places]
    voxels = []
    for structure in np.unique(values):
        chosen = places[values == structure]
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), _VOXELS)).astype(np.int64)]
        voxels.append(np.stack(np.unravel_index(chosen, label.shape), axis=-1))
    return voxels


def _slices(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Lists all slices: volume and place on the first axis, `(n, 2)` int32."""
    return np.array([(volume, z) for volume, label in enumerate(labels) for z in range(len(label))], np.int32)


def _repeated(volumes: int, times: int) -> np.ndarray:
    """Lists volumes several times, `(n, 2)` int32, without a place."""
    return np.stack([np.tile(np.arange(volumes), times), np.full(volumes * times, -1)], axis=-1).astype(np.int32)


def _plan(
    store: _Store, entries: np.ndarray, size: Sequence[int], foreground: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws an epoch: `(n,)` volumes, `(n, 3)` first voxels, so that patches lie inside, and `(n, 2)` seeds, int32."""
    volumes, slices = tf.unstack(tf.random.experimental.stateless_shuffle(entries, seed=seed), axis=1)
    chance, which, row, *place = tf.unstack(tf.random.stateless_uniform((len(entries), 6), seed, alg="philox"), axis=1)
    keys = tf.random.stateless_uniform((len(entries), 2), seed, None, None, tf.int32, alg="philox")
    last = tf.gather(store.shapes, volumes) - size
    anywhere = _below(tf.stack(place, axis=1), last + 1)
    fixed = tf.logical_and(slices[:, tf.newaxis] >= 0, [[True, False, False]])
    anywhere = tf.where(fixed, slices[:, tf.newaxis], anywhere)
    structures = tf.gather(store.structures, volumes)
    first, count = tf.unstack(tf.gather_nd(store.rows, tf.stack([volumes, _below(which, structures)], 1)), axis=1)
    voxels = tf.gather(store.voxels, first + _below(row, count))
    centred = tf.logical_and(chance < foreground, structures > 0)[:, tf.newaxis]
    start = tf.where(centred, voxels - tf.constant(size) // 2, anywhere)
    return volumes, tf.clip_by_value(start, 0, last), keys


def _below(unit: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Turns numbers from [0, 1) into whole numbers below `count`; 0 if that is 0."""
    whole = tf.cast(unit * tf.cast(count, tf.float32), tf.int32)
    return tf.maximum(tf.minimum(whole, count - 1), 0)


def _check(images: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> None:
    if not images or len(images) != len(labels):
        raise ValueError(f"`images` and `labels` must be as many, 1 or more. Received {len(images)} and {len(labels)}.")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        same = image.dtype == images[0].dtype and label.dtype == labels[0].dtype
        if image.ndim != 4 or image.shape[:3] != label.shape or image.shape[3] != images[0].shape[3] or not same:
            raise ValueError(
                "`images` must be (x, y, z, channels) and `labels` (x, y, z), with channels and types of the first. "
                f"Received {image.dtype} {image.shape} and {label.dtype} {label.shape} as number {index}."
            )
