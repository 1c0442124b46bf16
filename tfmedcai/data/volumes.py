"""Reads and writes NIfTI volumes; what is written lies exactly on what was read."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from tfmedcai.data.files import write_whole

T = TypeVar("T")
SUFFIXES = (".nii.gz", ".nii")
# Two grids are one if their corners are apart by at most this part of a voxel: headers hold rounded numbers.
_SAME_GRID = 0.1
# What other programs do not read, and what they do instead.
_STORED = {"bool": np.uint8, "int64": np.int32, "float16": np.float32, "float64": np.float32}


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place in the patient.

    Attributes:
        array: `(x, y, z)`, or `(x, y, z, channels)`; the axes as in the file, not as in the patient.
        affine: `(4, 4)` float64, from voxel indices to mm in the patient: to the right, to the front, to the head.
        header: of the file that the grid comes from, so that what is written carries it on; None for a default.
        path: of that file; None for a volume that was computed.

    >>> ct = Volume(np.zeros((4, 4, 2), np.int16), np.diag([0.8, -0.8, 2.5, 1.0]))
    >>> ct
    Volume((4, 4, 2) int16, 0.8 x 0.8 x 2.5 mm, RPS)
    """

    array: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header | None = None
    path: Path | None = None

    @functools.cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Mm between voxels along each axis of the array."""
        return tuple(float(step) for step in nib.affines.voxel_sizes(self.affine))

    @property
    def orientation(self) -> str:
        """Where the axes of the array point to, closest of Left, Right, Anterior, Posterior, Inferior, Superior."""
        return "".join(nib.orientations.aff2axcodes(self.affine))

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.path) if self.path else "a volume in memory"

    def holding(self, array: np.ndarray) -> Volume:
        """Returns another array `(x, y, z, ...)` on the same grid.

        Raises:
            ValueError: if its first three axes are not as long.
        """
        if array.shape[:3] != self.array.shape[:3]:
            raise ValueError(
                f"`array` must have the grid {self.array.shape[:3]} of {self.name}. Received {array.shape}."
            )
        return replace(self, array=array)

    def __repr__(self) -> str:
        steps = " x ".join(f"{step:.4g}" for step in self.spacing)
        return f"Volume({self.array.shape} {self.array.dtype}, {steps} mm, {self.orientation})"


def read_volume(path: str | Path) -> Volume:
    """Reads a volume.

    Args:
        path: a .nii or .nii.gz file.

    Returns:
        The volume. Integers that the header does not scale keep their type, all else becomes float32.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or no NIfTI, is not 3D, has voxels that are not finite, or a spacing of 0.
    """
    return _read(Path(path), dimensions=3)


def read_channels(path: str | Path, channels: int) -> Volume:
    """Reads a volume with several channels in one file.

    Args:
        path: a .nii or .nii.gz file with the channels on its fourth axis; 3D is allowed for one channel.
        channels: how many there must be.

    Returns:
        The volume, `(x, y, z, channels)`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `read_volume`, and if the number of channels is another.
    """
    volume = _read(Path(path), dimensions=3 if channels == 1 else 4)
    if volume.array.ndim == 3:
        return volume.holding(volume.array[..., np.newaxis])
    if volume.array.shape[3] != channels:
        raise ValueError(f"{path}: this volume must have {channels} channels. Received {volume.array.shape[3]}.")
    return volume


def read_slice(path: str | Path) -> np.ndarray:
    """Reads an image that is kept as a volume, a radiograph say.

    Args:
        path: a .nii or .nii.gz file with two axes, further ones of one voxel.

    Returns:
        `(rows, columns)`: columns run along the first axis of the file and rows along the second, as programs keep
        images; the affine is not looked at.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `read_volume`, and if there is more than one slice.
    """
    return _read(Path(path), dimensions=2).array.T


def read_labels(path: str | Path, labels: Collection[int] | None = None) -> Volume:
    """Reads a label volume.

    Args:
        path: a .nii or .nii.gz file of whole numbers; they may be stored as floats.
        labels: the numbers that may occur besides 0; None allows all from 0 on.

    Returns:
        The volume, uint8 where the numbers fit, else uint16 or int32.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `read_volume`, and for fractions and labels that are not declared.
    """
    volume = read_volume(path)
    array = volume.array
    if array.dtype.kind == "f":
        whole = array.astype(np.int32)
        if not np.array_equal(whole, array):
            raise ValueError(f"{path}: labels must be whole numbers. Received fractions: is this an image?")
        array = whole
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise ValueError(f"{path}: labels must be 0 or more. Received {low}.")
    array = array.astype(np.uint8 if high < 256 else np.uint16 if high < 65536 else np.int32, copy=False)
    if labels is not None:
        unknown = sorted(set(np.flatnonzero(np.bincount(array.ravel()))) - {0, *labels})
        if unknown:
            raise ValueError(
                f"{path}: labels must be among 0, {', '.join(map(str, sorted(labels)))}. "
                f"Received {', '.join(map(str, unknown[:8]))}: declare them or correct the file."
            )
    return volume.holding(array)


def check_same_grid(image: Volume, label: Volume) -> None:
    """Checks that a label lies on its image.

    Raises:
        ValueError: if shape or affine differ, by more than a tenth of a voxel at a corner.
    """
    shapes = image.array.shape[:3], label.array.shape[:3]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{label.name}: this must have the shape {shapes[0]} of {image.name}. Received {shapes[1]}.")
    if not same_grid(image, label):
        raise ValueError(
            f"{label.name}: this must have the affine of {image.name}. Received corners up to "
            f"{_farthest_corner(image, label):.3g} mm apart: resample one onto the other."
        )


def same_grid(first: Volume, second: Volume) -> bool:
    """Says whether two volumes have the same voxels: shape, and place to a tenth of a voxel."""
    if first.array.shape[:3] != second.array.shape[:3]:
        return False
    return _farthest_corner(first, second) <= _SAME_GRID * min(first.spacing)


def _farthest_corner(first: Volume, second: Volume) -> float:
    corners = np.stack(np.meshgrid(*([0, size - 1] for size in first.array.shape[:3]), indexing="ij"), axis=-1)
    apart = nib.affines.apply_affine(first.affine - second.affine + np.diag([0, 0, 0, 1.0]), corners.reshape(-1, 3))
    return float(np.linalg.norm(apart, axis=1).max())


def write_volume(path: str | Path, volume: Volume) -> None:
    """Writes a volume, whole or not at all, with the header of the file that its grid comes from.

    Args:
        path: ends in .nii or .nii.gz; folders are made.
        volume: its array is written in its own type, but bool as uint8, int64 as int32, and floats as float32.

    Raises:
        ValueError: if the ending is another or the place cannot be written to.
    """
    path = Path(path)
    _suffix(path)
    array = volume.array.astype(_STORED.get(volume.array.dtype.name, volume.array.dtype), copy=False)
    if volume.header is None:
        image = nib.Nifti1Image(array, volume.affine, dtype=array.dtype)
        image.header.set_xyzt_units("mm")
    else:
        image = nib.Nifti1Image(array, volume.affine, volume.header, dtype=array.dtype)
        image.header.set_slope_inter(None, None)
        image.header["cal_min"] = image.header["cal_max"] = 0  # the window of the input is not that of the output
    write_whole(path, lambda temporary: nib.save(image, temporary))


def file_stem(path: str | Path) -> str:
    """Returns the name of a NIfTI file without its ending.

    >>> file_stem("imagesTr/spleen_02.nii.gz")
    'spleen_02'
    """
    return Path(path).name.removesuffix(_suffix(Path(path)))


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise ValueError(f"{path}: a volume must be a file that ends in {' or '.join(SUFFIXES)}.")


def _read(path: Path, dimensions: int) -> Volume:
    _suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.")
    _check_spacing(path, _sound(path, lambda: _raw_spacing(path)), "header")
    image = _sound(path, lambda: nib.load(path, mmap=False))
    _check_header(path, image, dimensions)
    array = _sound(path, lambda: _voxels(image))
    array = array.reshape(array.shape[:dimensions])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise ValueError(f"{path}: all voxels must be finite. Received {count} NaN or infinite: replace them before.")
    return Volume(array, image.affine.astype(np.float64), image.header, path)


def _sound(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: cannot read this as NIfTI ({reason}). Check that the file is whole.") from error


def _check_header(path: Path, image: nib.Nifti1Image, dimensions: int) -> None:
    if not isinstance(image, nib.Nifti1Image):
        raise ValueError(f"{path}: this must be a NIfTI file. Received {type(image).__name__}.")
    shape = image.shape
    if len(shape) < dimensions or max(shape[dimensions:], default=1) > 1 or 0 in shape:
        raise ValueError(
            f"{path}: this volume must be {dimensions}D. Received shape {shape}: choose one volume of a series, or "
            "declare its channels."
        )
    if image.get_data_dtype().kind not in "iuf":
        raise ValueError(f"{path}: voxels must be integers or floats. Received {image.get_data_dtype()}.")
    _check_spacing(path, nib.affines.voxel_sizes(image.affine), "affine")
    units = image.header.get_xyzt_units()[0]
    if units not in ("mm", "unknown"):
        raise ValueError(f"{path}: lengths must be in mm. Received {units}: convert the header before.")


def _raw_spacing(path: Path) -> np.ndarray:
    """Reads the spacing as it lies on disk: nibabel takes 1 mm for 0."""
    with ImageOpener(path) as file:
        block = file.read(nib.Nifti2Header.sizeof_hdr)
    first = {int.from_bytes(block[:4], order) for order in ("little", "big")}
    kind = nib.Nifti2Header if nib.Nifti2Header.sizeof_hdr in first else nib.Nifti1Header
    return np.abs(kind(block[: kind.sizeof_hdr], check=False)["pixdim"][1:4])


def _check_spacing(path: Path, spacing: np.ndarray, where: str) -> None:
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        received = ", ".join(f"{step:g}" for step in spacing)
        raise ValueError(f"{path}: the spacing in the {where} must be above 0 mm. Received {received}.")


def _voxels(image: nib.Nifti1Image) -> np.ndarray:
    array = np.asanyarray(image.dataobj)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
