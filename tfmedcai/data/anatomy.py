"""Reads a patient's CT, with labels, into the frame that X-ray images are rendered in.

That frame is in mm from the middle of the volume: x runs to the patient's left, y to the feet, z to the back. So an
array of depth, height and width is seen from the front, head up and the patient's left at the right, at a pose of zero.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from tfmedcai.data.dicom_series import is_dicom, read_series
from tfmedcai.data.resampling import reorient, resample_onto
from tfmedcai.data.volumes import Volume, check_same_grid, file_stem, read_labels, read_volume

AIR_HU = -1000.0
BONE_HU = 200.0
CENTRES = ("middle", "labels")
# To the back, the feet and the left: depth, height and width of the projector.
_ORIENTATION = "PIL"
# Cosine between axes that still counts as a right angle: half a mm in 500 mm.
_SQUARE = 1e-3
# Fat is darker than the one and bone brighter than the other in every CT of a patient.
_FAT_HU, _DENSE_HU = -50.0, 100.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A CT that lies as the projector wants it.

    Attributes:
        hu: `(depth, height, width)` float32, Hounsfield units; depth runs to the patient's back, height to the feet,
            width to the left.
        labels: of the same shape, whole numbers, 0 for nothing; or None.
        spacing_mm: of voxels along depth, height and width.
        patient_from_volume: `(4, 4)` float64, rigid: mm in the projector's frame (x left, y feet, z back, from the
            middle of this volume) to mm in the patient (right, front, head) as the file has them.
        name: of the CT, for messages and file names.

    >>> ct = np.full((8, 6, 4), -1000, np.int16)
    >>> ct[2:4, 2:4, 1:3] = 900
    >>> anatomy = anatomy_from_volumes(Volume(ct, np.diag([1.0, 2.0, 3.0, 1.0])))
    >>> anatomy.hu.shape, anatomy.spacing_mm
    ((6, 4, 8), (2.0, 3.0, 1.0))
    >>> anatomy.fitted((4, 4, 4), 4.0).hu.shape
    (4, 4, 4)
    """

    hu: np.ndarray
    labels: np.ndarray | None
    spacing_mm: tuple[float, float, float]
    patient_from_volume: np.ndarray
    name: str = "a volume in memory"

    def masked(self, labels: Collection[int]) -> Anatomy:
        """Leaves only some structures, in air.

        Args:
            labels: the numbers that stay.

        Returns:
            The anatomy with -1000 HU and label 0 everywhere else.

        Raises:
            ValueError: if there are no labels, or none of these.
        """
        inside = self._labelled(labels)
        return replace(self, hu=np.where(inside, self.hu, np.float32(AIR_HU)), labels=inside * self.labels)

    def fitted(
        self,
        shape: Sequence[int],
        spacing_mm: float | Sequence[float],
        centre: Literal["middle", "labels"] = "middle",
    ) -> Anatomy:
        """Brings the anatomy onto another grid, smoothed before where that is coarser.

        Args:
            shape: voxels along depth, height and width.
            spacing_mm: of them, one for all or one for each axis.
            centre: what lies in the middle then, and so in the isocentre: the "middle" of this volume, or that of the
                box around all "labels".

        Returns:
            The anatomy; -1000 HU and label 0 where this volume has no voxels.

        Raises:
            ValueError: if a size is not positive, the centre unknown, or nothing is labelled.
        """
        wanted = np.asarray(spacing_mm, float)
        spacing = np.full(3, wanted) if wanted.ndim == 0 else wanted
        if len(shape) != 3 or min(shape) < 1 or spacing.shape != (3,) or not ((spacing > 0) & (spacing < np.inf)).all():
            raise ValueError(
                "`shape` must be three numbers of voxels and `spacing_mm` one or three lengths above 0 mm. "
                f"Received {shape} and {spacing_mm}."
            )
        moved = np.eye(4)
        moved[:3, 3] = self._centre(centre)
        place = self.patient_from_volume @ moved
        grid = Volume(np.broadcast_to(np.uint8(0), tuple(shape)), place @ _mm_from_index(shape, spacing))
        now = self.patient_from_volume @ _mm_from_index(self.hu.shape, self.spacing_mm)
        # With the variance that a voxel's box gains: what is between new voxels is averaged, not skipped.
        widths = np.sqrt(np.maximum((spacing / self.spacing_mm) ** 2 - 1, 0) / 12)
        smooth = ndimage.gaussian_filter(self.hu, widths, mode="nearest") if widths.any() else self.hu
        return replace(
            self,
            hu=resample_onto(Volume(smooth, now), grid, outside=AIR_HU).array,
            labels=None if self.labels is None else resample_onto(Volume(self.labels, now), grid, "nearest").array,
            spacing_mm=tuple(float(step) for step in spacing),
            patient_from_volume=place,
        )

    def points(self, labels: Collection[int] | None = None, count: int = 100) -> np.ndarray:
        """Draws places in structures, always the same ones, to measure registration errors at.

        Args:
            labels: their numbers; None for all, or for bone (from 200 HU) where the anatomy has no labels.
            count: how many places; fewer if there are fewer voxels.

        Returns:
            `(n, 3)` float64, mm in the projector's frame.

        Raises:
            ValueError: if there is no voxel of these labels, or no bone.
        """
        bone = labels is None and self.labels is None
        inside = self.hu >= BONE_HU if bone else self._labelled(labels)
        voxels = np.flatnonzero(inside)
        if not voxels.size:
            raise ValueError(f"{self.name}: this must have voxels of {BONE_HU:g} HU or more. Received none: label it.")
        drawn = np.random.default_rng(0).choice(voxels, min(count, voxels.size), replace=False)
        return self._places(np.stack(np.unravel_index(drawn, inside.shape), axis=-1))

    def _centre(self, centre: str) -> np.ndarray:
        if centre not in CENTRES:
            raise ValueError(f"`centre` must be one of {', '.join(CENTRES)}. Received {centre!r}.")
        if centre == "middle":
            return np.zeros(3)
        found = np.argwhere(self._labelled(None))
        return self._places((found.min(axis=0) + found.max(axis=0)) / 2)

    def _labelled(self, labels: Collection[int] | None) -> np.ndarray:
        """Says which voxels have one of these labels, None for any, of which there is at least one."""
        if self.labels is None:
            raise ValueError(f"{self.name}: this must have labels. Received a CT alone: read it with a label volume.")
        inside = self.labels > 0 if labels is None else np.isin(self.labels, list(labels))
        if not inside.any():
            wanted = "labels" if labels is None else f"one of the labels {', '.join(map(str, sorted(labels)))}"
            there = ", ".join(map(str, np.flatnonzero(np.bincount(self.labels.ravel())))) or "none"
            raise ValueError(f"{self.name}: voxels must have {wanted}. Received {there}.")
        return inside

    def _places(self, indices: np.ndarray) -> np.ndarray:
        matrix = _mm_from_index(self.hu.shape, self.spacing_mm)
        return indices @ matrix[:3, :3].T + matrix[:3, 3]


def read_anatomy(ct: str | Path, labels: str | Path | None = None) -> Anatomy:
    """Reads a CT, and what is labelled in it.

    Args:
        ct: a .nii or .nii.gz file in Hounsfield units, the folder of a DICOM series, or one file of a series where the
            folder has several (DICOM needs the package pydicom).
        labels: a .nii or .nii.gz file on the same grid; its axes may be in another order.

    Returns:
        The `Anatomy`. Below -1000 HU there is air as well.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ImportError: if the CT is DICOM and pydicom is not installed.
        ValueError: if a file is damaged, grids differ, slices are not equally spaced, axes not at right angles, a
            spacing is missing, or values are no Hounsfield units.
    """
    path = Path(ct)
    dicom = is_dicom(path)
    volume = read_series(path) if dicom else read_volume(path)
    anatomy = anatomy_from_volumes(volume, None if labels is None else read_labels(labels))
    return replace(anatomy, name=path.name if dicom else file_stem(path))


def anatomy_from_volumes(ct: Volume, labels: Volume | None = None) -> Anatomy:
    """Lays a CT into the projector's frame.

    Args:
        ct: Hounsfield units, `(x, y, z)` in any orientation.
        labels: whole numbers on the same grid.

    Returns:
        The `Anatomy`. Below -1000 HU there is air as well.

    Raises:
        ValueError: if grids differ, axes are not at right angles, or values are no Hounsfield units.
    """
    low, high = float(ct.array.min()), float(ct.array.max())
    if low > _FAT_HU or high < _DENSE_HU:
        raise ValueError(
            f"{ct.name}: a CT must be in Hounsfield units, -1000 in air and 0 in water. Received {low:g} to {high:g}: "
            "is this another modality, or a CT without its offset of 1024?"
        )
    volume = reorient(ct, _ORIENTATION)
    axes = volume.affine[:3, :3] / volume.spacing
    slant = np.abs(axes.T @ axes - np.eye(3)).max()
    if slant > _SQUARE:
        raise ValueError(
            f"{ct.name}: axes must be at right angles. Received {np.degrees(np.arccos(min(slant, 1.0))):.4g} deg, as "
            "from a tilted gantry: resample the volume to a straight grid before."
        )
    if labels is not None:
        labels = reorient(labels, _ORIENTATION)
        check_same_grid(volume, labels)
    place = volume.affine @ np.linalg.inv(_mm_from_index(volume.array.shape, volume.spacing))
    hu = np.maximum(volume.array.astype(np.float32), np.float32(AIR_HU))
    return Anatomy(hu, None if labels is None else labels.array, volume.spacing, place, ct.name)


def _mm_from_index(shape: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns the affine from indices along depth, height and width to x, y, z of the projector's frame."""
    matrix = np.zeros((4, 4))
    matrix[[2, 1, 0], [0, 1, 2]] = spacing_mm
    matrix[[2, 1, 0], 3] = -np.asarray(spacing_mm) * (np.asarray(shape) - 1) / 2
    matrix[3, 3] = 1
    return matrix
