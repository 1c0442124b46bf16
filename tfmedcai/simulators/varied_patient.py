"""Other patients made of one: bent, stretched, turned a little and of other grey values."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tfmedcai.simulators.organ_anatomy import Grid, smooth_field

_AIR_HU = -1000.0
_BEND_MM, _SCALE_MM = 4.0, 70.0  # deviation of places, and how far apart places move on their own
_STRETCH, _TURN = 0.05, np.radians(4.0)  # deviations, along and about each axis
_SOFT_HU, _BONE = 12.0, 0.06  # deviations: of soft tissue, and of how dense bone is


def varied(
    hu: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, float, float], number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Makes another patient.

    Args:
        hu: `(depth, height, width)` Hounsfield units.
        labels: whole numbers of the same shape.
        spacing_mm: of the voxels.
        number: the same number is the same patient.

    Returns:
        Hounsfield units, float32, and labels, both shaped as they were.
    """
    rng, grid = np.random.default_rng([20_241, number]), Grid(hu.shape, spacing_mm)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(hu.shape, spacing_mm, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    turns = rng.normal(0, _TURN, 3)
    small = np.array([[0, -turns[2], turns[1]], [turns[2], 0, -turns[0]], [-turns[1], turns[0], 0]])
    affine = np.linalg.qr(np.eye(3) + small)[0]
    affine = affine * np.sign(np.diag(affine)) * np.exp(rng.normal(0, _STRETCH, 3))
    places = np.tensordot(affine, places, 1) + _BEND_MM * np.stack([smooth_field(rng, grid, _SCALE_MM) for _ in "xyz"])
    middle = np.reshape((np.array(hu.shape) - 1) / 2, (3, 1, 1, 1))
    indices = places / np.reshape(spacing_mm, (3, 1, 1, 1)) + middle
    moved = ndimage.map_coordinates(hu.astype(np.float32), indices, order=1, cval=_AIR_HU)
    bone, soft = np.exp(rng.normal(0, _BONE)), rng.normal(0, _SOFT_HU)
    moved = np.where(moved > 200, 200 + bone * (moved - 200), moved) + soft * (moved > -200)
    return moved.astype(np.float32), ndimage.map_coordinates(labels, indices, order=0)
