"""The anatomy of simulated volumes: organs as bent ellipsoids in a body with fat, muscle, ribs, spine and bowel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LABELS = {1: "spleen", 2: "liver", 3: "kidneys", 4: "aorta", 5: "vertebrae", 6: "lesion"}
# Tissues beyond the labelled ones.
AIR, LUNG, FAT, MUSCLE, BONE, STOMACH, GAS = range(7, 14)
# Centre and semi-axes in mm, right, front and head of the middle of the first lumbar vertebra; largest lean in rad.
_ORGANS = {
    LUNG: [((78, 5, 100), (62, 75, 52), 0.05), ((-78, 5, 100), (58, 75, 56), 0.05)],
    STOMACH: [((-52, 42, 34), (38, 30, 40), 0.4)],
    GAS: [((-50, 60, 40), (22, 12, 24), 0.3)],
    2: [((62, 14, 32), (70, 62, 48), 0.15), ((8, 44, 38), (55, 26, 30), 0.2)],
    1: [((-94, -22, 34), (26, 44, 40), 0.3)],
    3: [((58, -44, -34), (26, 24, 48), 0.15), ((-58, -42, -24), (26, 24, 50), 0.15)],
    4: [((-10, -28, 0), (10.5, 10.5, 400), 0.03)],
}


class Grid(NamedTuple):
    """Voxels of a volume.

    Attributes:
        size: voxels along x, y and z.
        spacing: mm between them.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]


def smooth_field(rng: np.random.Generator, grid: Grid, scale_mm: float) -> np.ndarray:
    """Draws a smooth random field.

    Args:
        rng: where the numbers come from.
        grid: the voxels.
        scale_mm: how far apart places are that hardly have to do with each other.

    Returns:
        `(x, y, z)` float32, mean 0 and standard deviation about 1.
    """
    coarse = [max(4, int(np.ceil(n * step / scale_mm)) + 3) for n, step in zip(*grid, strict=True)]
    field = rng.standard_normal(coarse).astype(np.float32)
    # One cell of the coarse grid stays outside on every side.
    at = [1 + np.arange(n) * step / scale_mm for n, step in zip(*grid, strict=True)]
    for axis, position in enumerate(at):
        field = _spline(field, np.minimum(position, coarse[axis] - 2), axis)
    return field * np.float32(0.55**-1.5)  # what the interpolation takes from the spread


def _spline(field: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    """Reads a field along one axis by a quadratic B-spline without prefilter: smooth, and quick for large volumes."""
    base = np.round(position).astype(int)
    t = (position - base).astype(np.float32)
    shape = [-1 if k == axis else 1 for k in range(field.ndim)]
    weights = (0.5 * (0.5 - t) ** 2, 0.75 - t**2, 0.5 * (0.5 + t) ** 2)
    last = field.shape[axis] - 1
    return sum(
        np.take(field, np.clip(base + step, 0, last), axis) * weight.reshape(shape)
        for step, weight in zip((-1, 0, 1), weights, strict=True)
    )


def _inside(places: np.ndarray, centre: np.ndarray, axes: np.ndarray, lean: np.ndarray) -> np.ndarray:
    """Says how far out of a leaning ellipsoid places are: 0 is its middle, 1 its surface."""
    a, b, c = lean
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn = turn @ np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    away = places - np.reshape(centre, (3, 1, 1, 1))
    return np.sqrt(sum((np.tensordot(row, away, 1) / axis) ** 2 for row, axis in zip(turn.T, axes, strict=True)))


def tissues(rng: np.random.Generator, grid: Grid, places: np.ndarray, variety: float) -> np.ndarray:
    """Lays organs into a body.

    Args:
        rng: where the numbers come from.
        grid: the voxels.
        places: `(3, x, y, z)`, mm to the right, front and head of the middle of the first lumbar vertebra.
        variety: multiplies the differences from patient to patient.

    Returns:
        `(x, y, z)` uint8: numbers of `LABELS`, `AIR` and the other tissues.
    """
    vary = 0.12 * variety
    right, front, head = places
    build = np.exp(rng.normal(0, vary / 2, 2))
    body = ((np.abs(right) / (160 * build[0])) ** 2.4 + (np.abs(front - 4) / (108 * build[1])) ** 2.4) ** (1 / 2.4)
    fat = 1 - rng.uniform(0.08, 0.2) + 0.013 * smooth_field(rng, grid, 50.0)
    tissue = np.select([body > 1, body > fat, body > fat - 0.09], [AIR, FAT, MUSCLE], FAT).astype(np.uint8)
    # Ribs run down towards the front in the wall of the chest.
    around = np.arctan2(front, right)
    rib = (np.abs(body - fat + 0.045) < 0.022) & (np.sin((head + 25 * np.sin(around)) / 4.4) > 0.45) & (head > -25)
    tissue[rib] = BONE
    for side in (-1, 1):  # muscles beside the spine and in front of it
        tissue[_inside(places, (side * 38, -72, -40), (30, 24, 400), (0, 0, 0)) < 1] = MUSCLE
        tissue[_inside(places, (side * 34, -34, -70), (17, 19, 60), (0, 0, 0)) < 1] = MUSCLE
    _loops(rng, grid, tissue, body < fat - 0.1)
    for number, parts in _ORGANS.items():
        surface = 1 + 0.033 * variety * smooth_field(rng, grid, 35.0)
        for centre, axes, lean in parts:
            place = np.array(centre) + rng.normal(0, 5 * variety, 3) * (number != 4)
            shape = np.array(axes) * np.exp(rng.normal(0, vary, 3))
            organ = _inside(places, place, shape, rng.uniform(-lean, lean, 3)) < surface
            allowed = organ & (body < fat - 0.08)
            # Organs that come later yield to liver and vessels, as they lie against them.
            tissue[allowed & ~np.isin(tissue, (2,) if number in (1, 3) else ())] = number
    _spine(places, tissue)
    _lesions(rng, grid, places, tissue)
    return tissue


def _loops(rng: np.random.Generator, grid: Grid, tissue: np.ndarray, cavity: np.ndarray) -> None:
    """Fills the cavity with bowel: winding walls with content and gas."""
    winding = smooth_field(rng, grid, 24.0)
    content = cavity & (np.abs(winding) < 1.15) & (smooth_field(rng, grid, 80.0) > -0.45)
    tissue[content] = STOMACH
    tissue[content & (np.abs(winding) < 0.3) & (smooth_field(rng, grid, 30.0) > 1.2)] = GAS


def _spine(places: np.ndarray, tissue: np.ndarray) -> None:
    """Sets vertebrae with discs between them, the canal and the spinous processes."""
    right, front, head = places
    level = np.mod(head + 17, 34) - 17
    waist = 1 - 0.12 * np.cos(np.pi * level / 15)
    column = _inside(places, (0, -58, 0), (23, 17, 1e4), (0, 0, 0)) < waist
    tissue[column] = MUSCLE  # discs
    bodies = column & (np.abs(level) < 14)
    tissue[bodies] = 5
    arch = _inside(places, (0, -84, 0), (15, 12, 1e4), (0, 0, 0))
    tissue[(arch < 1) & (np.abs(level) < 12)] = BONE
    tissue[arch < 0.62] = MUSCLE  # the canal
    process = (np.abs(right) < 4) & (front < -94) & (front > -118) & (np.abs(level + 4) < 9)
    tissue[process] = BONE


def _lesions(rng: np.random.Generator, grid: Grid, places: np.ndarray, tissue: np.ndarray) -> None:
    """Sets none to three round lesions into the liver."""
    liver = np.argwhere(tissue == 2)
    for _ in range(rng.integers(0, 4)):
        radius = rng.uniform(8, 20, 3)
        ragged = 1 + 0.08 * smooth_field(rng, grid, 12.0)
        if len(liver):
            centre = places[:, *liver[rng.integers(len(liver))]]
            tissue[(_inside(places, centre, radius, np.zeros(3)) < ragged) & (tissue == 2)] = 6
