"""Distances between the surfaces of two masks, in mm, computed on the bounding box of both."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from surface_distance import lookup_tables

CONVENTIONS = ("subvoxel", "border")
Spacing = tuple[float, ...]
_LINES = 300  # how many lines around a point are searched
_TREE_COST = 100  # time to ask a k-d tree for one far point, in voxels of a distance transform


class SurfaceDistances(NamedTuple):
    """How far each element of one surface is from the other surface.

    Attributes:
        to_truth: `(n,)` float, mm, from the elements of the predicted surface to the true one; inf if that is empty.
        to_prediction: `(m,)` float, mm, from the elements of the true surface to the predicted one, likewise.
        predicted_areas: `(n,)` float, size of the elements: mm^2 in 3D and mm in 2D, or 1 for border voxels.
        true_areas: `(m,)` float, likewise.
        convention: "subvoxel" or "border".
    """

    to_truth: np.ndarray
    to_prediction: np.ndarray
    predicted_areas: np.ndarray
    true_areas: np.ndarray
    convention: str

    def dice(self, tolerance_mm: float) -> float:
        """Returns the part of both surfaces that is within `tolerance_mm` of the other; NaN if both are empty."""
        total = self.predicted_areas.sum() + self.true_areas.sum()
        if total == 0:
            return float("nan")
        # 5 x 0.4 mm is within 2 mm, whatever the rounding of sums of squares says.
        reach = tolerance_mm * (1 + 1e-6)
        close = self.predicted_areas[self.to_truth <= reach].sum()
        close += self.true_areas[self.to_prediction <= reach].sum()
        return float(close / total)

    def hausdorff(self, percent: float = 95.0) -> float:
        """Returns the larger of both directed percentiles, mm; inf if one surface is empty, NaN if both are."""
        if not len(self.to_truth) and not len(self.to_prediction):
            return float("nan")
        if not len(self.to_truth) or not len(self.to_prediction):
            return float("inf")
        if self.convention == "border":
            return float(max(np.percentile(self.to_truth, percent), np.percentile(self.to_prediction, percent)))
        return max(
            _weighted_percentile(self.to_truth, self.predicted_areas, percent),
            _weighted_percentile(self.to_prediction, self.true_areas, percent),
        )

    def average(self) -> float:
        """Returns the mean distance over both surfaces together, mm; inf if one is empty, NaN if both are."""
        if not len(self.to_truth) and not len(self.to_prediction):
            return float("nan")
        total = self.predicted_areas @ self.to_truth + self.true_areas @ self.to_prediction
        return float(total / (self.predicted_areas.sum() + self.true_areas.sum()))


def _weighted_percentile(distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
    order = np.argsort(distances)
    covered = np.cumsum(areas[order])
    reached = np.searchsorted(covered / covered[-1], percent / 100)
    return float(distances[order[min(reached, len(order) - 1)]])


def surface_distances(
    prediction: ArrayLike, truth: ArrayLike, spacing: Sequence[float], convention: str = "subvoxel"
) -> SurfaceDistances:
    """Measures the distances between two surfaces.

    "subvoxel" lays the surface between the voxels, at the corners where 8 (in 2D: 4) voxels meet that are not all the
    same, and weighs each such element by its area, as in DeepMind's surface-distance. "border" takes the voxels of a
    mask that touch its outside with a face, all with the same weight, as MONAI and MedPy do by default. Both regard
    what lies outside the array as outside the mask. The values differ: say with a number which convention it is.

    Args:
        prediction: `(x, y)` or `(x, y, z)`, non-zero inside.
        truth: of the same shape.
        spacing: mm between voxels, one number an axis.
        convention: "subvoxel" or "border".

    Returns:
        The distances in both directions.

    Raises:
        ValueError: if shapes, spacing or convention are not as said above.

    Reference:
        Nikolov et al., Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
        radiotherapy, 2018 (arXiv:1809.04430), section on surface DSC.

    >>> wall = np.zeros((4, 6), bool)
    >>> wall[:, :2] = True
    >>> surface_distances(wall, np.roll(wall, 1, axis=1), spacing=(1.0, 0.5)).hausdorff(100)
    0.5
    """
    masks = [np.asarray(mask) for mask in (prediction, truth)]
    masks = [mask if mask.dtype == bool else mask != 0 for mask in masks]
    steps = tuple(float(step) for step in spacing)
    _check(masks, steps, convention)
    boxes = [bounding_box(mask) for mask in masks]
    found = [box for box in boxes if box is not None]
    if not found:
        none = np.zeros(0)
        return SurfaceDistances(none, none, none, none, convention)
    around = tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts)) for parts in zip(*found, strict=True)
    )
    masks = [mask[around] for mask in masks]
    if convention == "border":
        surfaces = [_border(mask) for mask in masks]
        elements = [np.flatnonzero(surface) for surface in surfaces]
        areas = [np.ones(len(element)) for element in elements]
    else:
        table = _areas(steps)
        codes = [_corner_codes(mask) for mask in masks]
        # 0 wraps around to 255, so that one comparison leaves out both what is all outside and what is all inside.
        surfaces = [code - np.uint8(1) < len(table) - 2 for code in codes]
        elements = [np.flatnonzero(surface) for surface in surfaces]
        areas = [table[code.ravel()[element]] for code, element in zip(codes, elements, strict=True)]
    to_truth = _distances(elements[0], surfaces[1], elements[1], steps)
    to_prediction = _distances(elements[1], surfaces[0], elements[0], steps)
    return SurfaceDistances(to_truth, to_prediction, areas[0], areas[1], convention)


def _check(masks: list[np.ndarray], spacing: tuple[float, ...], convention: str) -> None:
    shapes = [mask.shape for mask in masks]
    if shapes[0] != shapes[1] or len(shapes[0]) not in (2, 3):
        raise ValueError(
            "`prediction` and `truth` must have the same shape, (x, y) or (x, y, z). "
            f"Received shapes {shapes[0]} and {shapes[1]}: bring both onto one grid."
        )
    if len(spacing) != len(shapes[0]) or not all(0 < step < np.inf for step in spacing):
        raise ValueError(f"`spacing` must be {len(shapes[0])} numbers above 0, in mm. Received {spacing}.")
    if convention not in CONVENTIONS:
        raise ValueError(f"`convention` must be one of {CONVENTIONS}. Received {convention!r}.")


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Returns the smallest box around a mask.

    Args:
        mask: bool, any number of axes.

    Returns:
        One slice an axis, or None for an empty mask.

    >>> bounding_box(np.array([[False, True, True], [False, False, False]]))
    (slice(0, 1, None), slice(1, 3, None))
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        # Each axis is searched within what the axes before it left over.
        part = mask[tuple(box)]
        there = np.flatnonzero(part.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(there):
            return None
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def _border(mask: np.ndarray) -> np.ndarray:
    inside = mask.copy()
    for axis in range(mask.ndim):
        first, last = [(slice(None),) * axis + (part,) for part in (slice(1, None), slice(None, -1))]
        inside[first] &= mask[last]
        inside[last] &= mask[first]
        for edge in (0, -1):
            inside[(slice(None),) * axis + (edge,)] = False
    return mask & ~inside


def _corner_codes(mask: np.ndarray) -> np.ndarray:
    """Packs the 4 or 8 voxels that meet at a corner into one number, `(n + 1, ...)` uint8; the first voxel on top."""
    codes = np.pad(mask, 1).view(np.uint8)
    for axis in reversed(range(mask.ndim)):
        first, last = [(slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None))]
        codes = (codes[first] << (1 << (mask.ndim - 1 - axis))) | codes[last]
    return codes


@functools.lru_cache(maxsize=256)
def _areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Returns the size of the surface element of every corner code."""
    if len(spacing) == 2:
        return lookup_tables.create_table_neighbour_code_to_contour_length(spacing)
    return lookup_tables.create_table_neighbour_code_to_surface_area(spacing)


def _distances(points: np.ndarray, surface: np.ndarray, elements: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Measures the distance of points to the nearest element of a surface, `(n,)` float64, mm.

    Along one axis the distance to the surface is known for the whole box after two sweeps. A point then has to look
    at the lines around it only, the nearest first, until the next line is farther than what was found: few lines
    where two surfaces are close, as those of segmentations mostly are. What is not settled after `_LINES` lines is
    asked from a k-d tree, or from a distance transform of the box if that is cheaper.

    Args:
        points: `(n,)` int, flat indices into `surface`.
        surface: bool, the box.
        elements: `(m,)` int, flat indices of the surface.
        spacing: mm.

    Returns:
        `(n,)` float64, mm; inf where there is no surface.
    """
    if not len(points) or not len(elements):
        return np.full(len(points), np.inf)
    along = int(np.argmin(spacing))
    across = [axis for axis in range(surface.ndim) if axis != along]
    lines, squares = _lines_around(tuple(spacing[axis] for axis in across))
    inside = (np.abs(lines) < [surface.shape[axis] for axis in across]).all(axis=1)
    reach, lines, squares = squares[-1], lines[inside], squares[inside]
    margin = np.abs(lines).max(axis=0)
    sight = _line_of_sight(np.ascontiguousarray(np.moveaxis(surface, along, 0)), spacing[along])
    sight = np.pad(sight, [(0, 0), *((m, m) for m in margin)], constant_values=np.inf)
    strides = np.array(sight.strides) // sight.itemsize
    places = np.stack(np.unravel_index(points, surface.shape), axis=-1)
    at = (places[:, [along, *across]] + [0, *margin]) @ strides
    best = _search(sight.ravel(), at, lines @ strides[1:], squares)
    distances = np.sqrt(best, dtype=np.float64)
    far = np.flatnonzero(best > reach)
    if len(far) * _TREE_COST > surface.size:
        distances[far] = distance_transform_edt(~surface, sampling=spacing).ravel()[points[far]]
    elif len(far):
        tree = cKDTree(np.stack(np.unravel_index(elements, surface.shape), axis=-1) * spacing, balanced_tree=False)
        distances[far] = tree.query(places[far] * spacing)[0]
    return distances


@functools.lru_cache(maxsize=256)
def _lines_around(spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Lists the nearest lines of a grid: `(n, axes)` int steps and `(n,)` float32 squared distances, ascending."""
    most = _LINES if len(spacing) == 1 else [int(np.sqrt(_LINES) * max(1.0, min(spacing) / step)) for step in spacing]
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in np.atleast_1d(most)), indexing="ij"), axis=-1)
    steps = steps.reshape(-1, len(spacing))
    squares = np.square(steps * spacing).sum(axis=1)
    nearest = np.argsort(squares, kind="stable")[:_LINES]
    return steps[nearest], squares[nearest].astype(np.float32)


def _line_of_sight(surface: np.ndarray, spacing: float) -> np.ndarray:
    """Measures the squared distance of every place to the surface along the first axis, float32, mm^2; inf for none."""
    steps = np.where(surface, np.float32(0), np.float32(np.inf))
    # Plane by plane: accumulating along an axis is ten times slower in numpy.
    for before, here in itertools.pairwise(steps):
        np.minimum(here, before + 1, out=here)
    for after, here in itertools.pairwise(steps[::-1]):
        np.minimum(here, after + 1, out=here)
    return np.square(steps * np.float32(spacing))


def _search(sight: np.ndarray, at: np.ndarray, offsets: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Finds the smallest sum of `squares` and `sight` over the offsets for each point, `(n,)` float32."""
    best = sight[at]
    points, current = np.arange(len(at)), best
    for offset, square in zip(offsets[1:], squares[1:], strict=True):
        going = current > square
        left = np.count_nonzero(going)
        if left == 0:
            break
        # Points that are done do no harm: they are left behind when that pays.
        if left < 0.8 * len(points):
            best[points] = current
            points, at, current = points[going], at[going], current[going]
        np.minimum(current, sight[at + offset] + square, out=current)
    best[points] = current
    return best
