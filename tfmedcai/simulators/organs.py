"""Simulated CT and MR volumes of the upper abdomen with labelled organs, another patient for every number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage

from tfmedcai.simulators.organ_anatomy import (
    AIR,
    BONE,
    FAT,
    GAS,
    LABELS,
    LUNG,
    MUSCLE,
    STOMACH,
    Grid,
    smooth_field,
    tissues,
)

# Hounsfield units of a contrast-enhanced CT and T1-weighted grey values: mean, spread between patients, texture.
_GREY_VALUES = {
    "ct": {
        1: (120, 12, 6), 2: (108, 12, 8), 3: (165, 25, 18), 4: (190, 40, 4), 5: (220, 40, 70), 6: (55, 12, 10),
        AIR: (-1000, 0, 0), LUNG: (-820, 30, 45), FAT: (-100, 6, 10), MUSCLE: (58, 6, 12), BONE: (420, 60, 60),
        STOMACH: (25, 15, 14), GAS: (-930, 20, 15),
    },
    "mr": {
        1: (290, 40, 12), 2: (430, 50, 22), 3: (340, 40, 40), 4: (120, 60, 15), 5: (460, 60, 60), 6: (250, 40, 25),
        AIR: (0, 0, 0), LUNG: (25, 8, 12), FAT: (820, 60, 25), MUSCLE: (260, 25, 22), BONE: (90, 20, 20),
        STOMACH: (200, 80, 40), GAS: (8, 3, 4),
    },
}  # fmt: skip


@dataclass(frozen=True)
class OrganScene:
    """Settings of the simulator.

    Raises:
        ValueError: if a number is out of its range.
    """

    # "ct" in Hounsfield units or "mr" in grey values from 0.
    modality: str = "ct"
    # Voxels along x, y and z.
    size: tuple[int, int, int] = (96, 80, 48)
    # Mm between voxels; the size times this is what is seen: 340 x 250 mm show the patient from flank to flank.
    spacing: tuple[float, float, float] = (3.5, 3.2, 4.0)
    # Where the axes of the files point to, such as "RAS" or "LPS".
    orientation: str = "LPS"
    # Multiplies the noise; 0 for none.
    noise: float = 1.0
    # Uneven brightness of MR: standard deviation of its logarithm.
    bias: float = 0.16
    # Multiplies the differences in shape from patient to patient.
    variety: float = 1.0

    def __post_init__(self) -> None:
        for name in ("size", "spacing"):  # settings files have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        checks = {
            "modality": (self.modality in _GREY_VALUES, f"one of {', '.join(_GREY_VALUES)}"),
            "size": (len(self.size) == 3 and min(self.size) > 1, "three numbers of voxels, 2 or more"),
            "spacing": (len(self.spacing) == 3 and min(self.spacing) > 0, "three numbers above 0 mm"),
            "orientation": (
                sorted(self.orientation.translate(str.maketrans("RPS", "LAI"))) == ["A", "I", "L"],
                "three letters, one of LR, one of AP and one of IS",
            ),
            "noise": (self.noise >= 0, "0 or more"),
            "bias": (self.bias >= 0, "0 or more"),
            "variety": (self.variety >= 0, "0 or more"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)!r}.")


class Simulated(NamedTuple):
    """One patient.

    Attributes:
        image: `(x, y, z)` int16.
        label: `(x, y, z)` uint8, names in `LABELS`.
        affine: `(4, 4)` float64, from voxels to mm in the patient: to the right, to the front, to the head.
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray


def simulate(scene: OrganScene, patient: int) -> Simulated:
    """Makes one patient.

    Args:
        scene: the settings.
        patient: the same number is the same patient, with the same noise.

    Returns:
        The volume.

    >>> sample = simulate(OrganScene(size=(32, 28, 16), spacing=(10.5, 9.0, 12.0)), patient=3)
    >>> sample.image.shape, sorted(set(sample.label.ravel().tolist()) - {0, 6})
    ((32, 28, 16), [1, 2, 3, 4, 5])
    """
    rng, grid = np.random.default_rng([20_210, patient]), Grid(scene.size, scene.spacing)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(scene.size, scene.spacing, strict=True)]
    right, front, head = np.meshgrid(*axes, indexing="ij")
    # The middle of the volume lies a little above and in front of the vertebra.
    places = np.stack([right, front + 12, head + 22]).astype(np.float32)
    bent = places + np.stack([smooth_field(rng, grid, 60.0) for _ in range(3)]) * (4.0 * scene.variety)
    tissue = tissues(rng, grid, bent, scene.variety)
    image = _intensities(rng, scene, tissue)
    label = np.where(tissue <= max(LABELS), tissue, 0).astype(np.uint8)
    affine = np.diag([*scene.spacing, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    change = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(scene.orientation))
    )
    image, label = (np.ascontiguousarray(nib.orientations.apply_orientation(part, change)) for part in (image, label))
    return Simulated(image, label, affine @ nib.orientations.inv_ornt_aff(change, scene.size))


def _intensities(rng: np.random.Generator, scene: OrganScene, tissue: np.ndarray) -> np.ndarray:
    """Renders tissues as grey values with texture, blur, uneven brightness and noise, int16."""
    table = np.zeros((max(_GREY_VALUES["ct"]) + 1, 2), np.float32)
    for number, (mean, spread, texture) in _GREY_VALUES[scene.modality].items():
        table[number] = rng.normal(mean, spread), texture
    grid = Grid(scene.size, scene.spacing)
    grain = 0.5 * smooth_field(rng, grid, 6.0) + 0.5 * smooth_field(rng, grid, 18.0)
    image = table[tissue, 0] + table[tissue, 1] * grain
    # The slices are thick and the plane is a little unsharp; voxels on a border hold parts of both sides.
    blur = [0.5, 0.5, 0.45] if scene.modality == "ct" else [0.6, 0.5, 0.4]
    image = ndimage.gaussian_filter(image, blur)
    noise = rng.standard_normal((2, *image.shape)).astype(np.float32) * scene.noise
    if scene.modality == "ct":
        # Reconstruction correlates the noise in the plane; the thicker the patient along the ray, the more there is.
        speckle = ndimage.gaussian_filter(noise[0], (0.7, 0.7, 0)) * 2.4
        depth = 0.6 + 0.8 * ndimage.gaussian_filter((tissue != AIR).astype(np.float32), (8, 8, 2))
        return np.clip(np.round(image + 14 * speckle * depth), -1024, 3071).astype(np.int16)
    image = image * np.exp(scene.bias * smooth_field(rng, grid, 160.0))
    return np.clip(np.round(np.hypot(image + 14 * noise[0], 14 * noise[1])), 0, 32767).astype(np.int16)
