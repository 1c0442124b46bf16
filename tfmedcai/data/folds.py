"""Splits of a data set by image or by subject; an image is never in two parts, nor is an augmented copy of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Indices of images, `(n,)` int64 each, sorted; augmentation comes after the split."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(count: int, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2), seed: int = 0) -> Split:
    """Splits a data set by image.

    Args:
        count: number of images.
        fractions: of training, validation and test; they add up to 1.
        seed: of the random order.

    Returns:
        A `Split`. Each part is rounded to whole images; what is left over goes to training.

    Raises:
        ValueError: if a fraction is negative, if they do not add up to 1, or if a part that is wanted gets no image.

    Reference:
        Kuegler et al., AutoSNAP, MICCAI 2020, section 3.1.

    >>> [len(part) for part in split(10)]
    [7, 1, 2]
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"`fractions` must be 3 numbers from 0 that add up to 1. Received {fractions}.")
    validation, test = (round(count * fraction) for fraction in fractions[1:])
    sizes = (count - validation - test, validation, test)
    if any(size <= 0 < fraction for size, fraction in zip(sizes, fractions, strict=True)):
        raise ValueError(
            f"`count` must be enough for an image in each part of {fractions}. Received {count}, which gives {sizes}."
        )
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, np.cumsum(sizes)[:2])
    return Split(*(np.sort(part) for part in parts))


def folds_by_subject(
    subjects: Sequence[int] | np.ndarray, folds: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Makes folds for cross-validation in which no subject is both in training and in test.

    Args:
        subjects: `(n,)` int, the subject of each image.
        folds: how many; at most the number of subjects.
        seed: of the random order of the subjects.

    Returns:
        A list of (training, test): indices of images, `(m,)` int64, sorted. Every image is in one test part.

    Raises:
        ValueError: if `folds` is less than 2 or more than the number of subjects.

    >>> [test.tolist() for _, test in folds_by_subject([5, 5, 8, 8], folds=2)]
    [[0, 1], [2, 3]]
    """
    subjects = np.asarray(subjects)
    distinct = np.unique(subjects)
    if not 2 <= folds <= len(distinct):
        raise ValueError(f"`folds` must be from 2 to the number of subjects, {len(distinct)}. Received {folds}.")
    order = np.random.default_rng(seed).permutation(distinct)
    tests = [np.isin(subjects, part) for part in np.array_split(order, folds)]
    return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in tests]
