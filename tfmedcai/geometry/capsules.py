"""Straight parts of a width in an image: where a pixel lies beside one, and masks drawn from joints and widths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """A straight part of an instrument.

    Attributes:
        label: number of the class that it belongs to.
        start: x and y in px.
        end: x and y in px.
        width: px; the ends are round, so that parts which meet at a joint leave no gap.
    """

    label: int
    start: Sequence[float]
    end: Sequence[float]
    width: float


def beside(
    x: np.ndarray, y: np.ndarray, start: Sequence[float], end: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures how far along and beside a straight line points lie.

    Args:
        x: px.
        y: px; broadcast against `x`.
        start: x and y of the line's beginning.
        end: of its end.

    Returns:
        The part of the line, 0 at the start and 1 at the end, clipped to that; the distance from the nearest point of
        the line in px; the signed distance from the line without ends, positive to the right when looking along it on
        the screen.

    >>> [float(value) for value in beside(np.array(5.0), np.array(3.0), (0, 0), (10, 0))]
    [0.5, 3.0, 3.0]
    """
    (dx, dy), length = (end[0] - start[0], end[1] - start[1]), np.hypot(end[0] - start[0], end[1] - start[1])
    length = max(length, 1e-9)
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / length**2
    side = ((y - start[1]) * dx - (x - start[0]) * dy) / length
    part = np.clip(along, 0, 1)
    return part, np.hypot(x - start[0] - part * dx, y - start[1] - part * dy), side


def drawn(parts: Iterable[Part], size: tuple[int, int]) -> np.ndarray:
    """Draws parts as a mask; this is how a mask is made where a data set has joints and no masks.

    Args:
        parts: drawn one after the other, so that later ones hide earlier ones; those with a place that is not a number
            are left out.
        size: height and width in px.

    Returns:
        `(height, width)` uint8, 0 where there is no part.

    Raises:
        ValueError: if a width is not above 0 or a label is not from 1 to 254.

    >>> drawn([Part(1, (1, 1), (3, 1), width=1.0)], (3, 5)).tolist()
    [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    mask = np.zeros(size, np.uint8)
    for part in parts:
        if part.width <= 0 or not 1 <= part.label <= 254:
            raise ValueError(
                f"A part must have a width above 0 px and a label from 1 to 254. "
                f"Received {part.width} and {part.label}."
            )
        ends = np.array([part.start, part.end], float)
        if not np.isfinite(ends).all():
            continue
        low = np.clip(np.floor(ends.min(0) - part.width / 2), 0, size[::-1]).astype(int)
        high = np.clip(np.ceil(ends.max(0) + part.width / 2) + 1, 0, size[::-1]).astype(int)
        y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
        _, distance, _ = beside(x, y, part.start, part.end)
        mask[low[1] : high[1], low[0] : high[0]][distance <= part.width / 2] = part.label
    return mask
