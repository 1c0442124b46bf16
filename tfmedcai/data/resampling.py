"""Brings volumes onto other grids: orientation, spacing, shape, and several modalities onto one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nibabel as nib
import numpy as np
from scipy import ndimage

from tfmedcai.data.volumes import Volume

INTERPOLATIONS = {"nearest": 0, "linear": 1, "cubic": 3}


def reorient(volume: Volume, orientation: str = "RAS") -> Volume:
    """Flips and permutes the axes of a volume; no voxel changes its value or its place in the patient.

    Args:
        volume: any volume.
        orientation: where the axes shall point to, closest: one letter each of Left/Right, Anterior/Posterior,
            Inferior/Superior.

    Returns:
        The volume; `reorient(reoriented, volume.orientation)` leads back.

    Raises:
        ValueError: if the orientation is no such three letters.

    >>> volume = Volume(np.zeros((4, 5, 6)), np.diag([-1.0, -1.0, 3.0, 1.0]))
    >>> reorient(volume, "SAR").array.shape
    (6, 5, 4)
    """
    letters = orientation.upper()
    if len(letters) != 3 or sorted("LAI"["RPS".find(c)] if c in "RPS" else c for c in letters) != ["A", "I", "L"]:
        raise ValueError(
            f"`orientation` must be three letters, one of LR, one of AP and one of IS. Received {orientation!r}."
        )
    now = nib.orientations.io_orientation(volume.affine)
    change = nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(tuple(letters)))
    array = nib.orientations.apply_orientation(volume.array, change)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(change, volume.array.shape[:3])
    return replace(volume, array=np.ascontiguousarray(array), affine=affine)


def resample(volume: Volume, spacing: Sequence[float], interpolation: str = "linear") -> Volume:
    """Resamples a volume to a spacing; it covers the same space, to half a voxel.

    Args:
        volume: `(x, y, z)` or `(x, y, z, channels)`.
        spacing: mm along the axes of the array; 0 keeps that of the volume.
        interpolation: "linear" or "cubic" for images, "nearest" for labels. Images become float32, labels keep their
            type.

    Returns:
        The volume with the new grid.

    Raises:
        ValueError: if the spacing is negative or the interpolation unknown.

    >>> resample(Volume(np.zeros((10, 10, 4)), np.diag([1.0, 1.0, 3.0, 1.0])), (2.0, 0.0, 1.0)).array.shape
    (5, 10, 12)
    """
    wanted = np.asarray(spacing, float)
    if wanted.shape != (3,) or not np.isfinite(wanted).all() or (wanted < 0).any():
        raise ValueError(f"`spacing` must be three numbers in mm, 0 to keep one. Received {spacing}.")
    factor = np.where(wanted > 0, wanted / volume.spacing, 1.0)
    shape = np.maximum(np.round(volume.array.shape[:3] / factor), 1).astype(int)
    return _onto(volume, tuple(shape), _centred(volume, factor, shape), interpolation, outside=None)


def resize(volume: Volume, shape: Sequence[int], interpolation: str = "linear") -> Volume:
    """Resamples a volume to a number of voxels; it covers the same space.

    Args:
        volume: `(x, y, z)` or `(x, y, z, channels)`.
        shape: voxels along the three axes; 0 keeps that of the volume.
        interpolation: as in `resample`.

    Returns:
        The volume with the new grid.

    Raises:
        ValueError: if the shape is negative or the interpolation unknown.
    """
    if len(shape) != 3 or min(shape) < 0:
        raise ValueError(f"`shape` must be three numbers of voxels, 0 to keep one. Received {shape}.")
    sizes = tuple(int(size or now) for size, now in zip(shape, volume.array.shape, strict=False))
    factor = np.array(volume.array.shape[:3]) / sizes
    return _onto(volume, sizes, _centred(volume, factor, sizes), interpolation, outside=None)


def resample_onto(volume: Volume, grid: Volume, interpolation: str = "linear", outside: float = 0.0) -> Volume:
    """Resamples a volume onto the grid of another.

    Args:
        volume: `(x, y, z)` or `(x, y, z, channels)`.
        grid: its shape, affine and header are taken.
        interpolation: as in `resample`.
        outside: value where the volume has no voxels; within half a voxel of its border the border counts.

    Returns:
        The volume on the other grid. A volume that has that grid already is handed on unchanged.

    Raises:
        ValueError: if the interpolation is unknown.
    """
    shape = grid.array.shape[:3]
    if shape == volume.array.shape[:3] and np.array_equal(volume.affine, grid.affine):
        return replace(volume, header=grid.header)
    return replace(_onto(volume, shape, grid.affine, interpolation, outside), header=grid.header)


def stack(volumes: Sequence[Volume], interpolation: str = "linear") -> Volume:
    """Brings several modalities onto the grid of the first and makes them the channels of one volume.

    Args:
        volumes: each `(x, y, z)` or `(x, y, z, channels)`.
        interpolation: of those on another grid, as in `resample`. Where they have no voxels they are 0.

    Returns:
        `(x, y, z, channels)` on the grid of the first.

    Raises:
        ValueError: if there is none, or the interpolation is unknown.
    """
    if not volumes:
        raise ValueError("`volumes` must hold at least one volume. Received none.")
    arrays = [resample_onto(volume, volumes[0], interpolation).array for volume in volumes]
    arrays = [array if array.ndim == 4 else array[..., np.newaxis] for array in arrays]
    return replace(volumes[0], array=np.concatenate(arrays, axis=-1))


def _centred(volume: Volume, factor: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns the affine of a grid whose voxels are `factor` times as large, around the same centre."""
    change = np.diag([*factor, 1.0])
    change[:3, 3] = (np.array(volume.array.shape[:3]) - 1) / 2 - factor * (np.array(shape) - 1) / 2
    return volume.affine @ change


def _onto(
    volume: Volume, shape: tuple[int, ...], affine: np.ndarray, interpolation: str, outside: float | None
) -> Volume:
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"`interpolation` must be one of {tuple(INTERPOLATIONS)}. Received {interpolation!r}.")
    order = INTERPOLATIONS[interpolation]
    source = volume.array if order == 0 else volume.array.astype(np.float32, copy=False)
    to_source = np.linalg.inv(volume.affine) @ affine
    channels = source[..., np.newaxis] if source.ndim == 3 else source
    array = np.empty((*shape, channels.shape[-1]), source.dtype)
    for channel in range(channels.shape[-1]):
        array[..., channel] = _interpolate(channels[..., channel], to_source, shape, order)
    if outside is not None:
        array[~_covered(to_source, shape, source.shape)] = outside
    return replace(volume, array=array.reshape((*shape, *source.shape[3:])), affine=np.array(affine, float))


def _interpolate(source: np.ndarray, to_source: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    """Reads one channel; beyond its border, the border."""
    matrix = to_source[:3, :3]
    scale = np.diag(matrix)
    # Without rotation scipy goes axis by axis, many times faster.
    straight = (scale > 0).all() and np.abs(matrix - np.diag(scale)).max() * max(shape) < 1e-3
    return ndimage.affine_transform(
        source, scale if straight else matrix, to_source[:3, 3], tuple(shape), order=order, mode="nearest"
    )


def _covered(to_source: np.ndarray, shape: tuple[int, ...], source_shape: tuple[int, ...]) -> np.ndarray:
    """Says which voxels of the new grid lie in the volume."""
    places = np.ogrid[tuple(slice(0, size) for size in shape)]
    covered = np.ones(shape, bool)
    for row, offset, size in zip(to_source[:3, :3], to_source[:3, 3], source_shape, strict=False):
        position = sum(factor * place for factor, place in zip(row, places, strict=True)) + offset
        # A hair more than half a voxel, so that rounding decides nothing on grids with a common border.
        covered &= (position > -0.5001) & (position < size - 0.4999)
    return covered
