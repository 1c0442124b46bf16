"""Splits of a data set by image, subject or patient; an image is never in two parts, nor is an augmented copy of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfmedcai.data.files import write_whole


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
    subjects: Sequence[int] | Sequence[str] | np.ndarray, folds: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Makes folds for cross-validation in which no subject is both in training and in test.

    Args:
        subjects: `(n,)` int or str, the subject of each image.
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


def half_split(sequences: Sequence[str], numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Splits every sequence of a video in its middle: the first halves are for training, the second for test.

    Args:
        sequences: `(n,)` name of the sequence of each frame.
        numbers: `(n,)` its place in time.

    Returns:
        Indices of frames, `(m,)` int64, sorted: training and test.

    Reference:
        Rieke et al., MICCAI 2015; Laina, Rieke et al., CSL, MICCAI 2017, section 3.2.

    >>> [part.tolist() for part in half_split(["a", "a", "b", "a"], [7, 3, 1, 5])]
    [[1], [0, 2, 3]]
    """
    names, times = np.asarray(sequences), np.asarray(numbers)
    first = []
    for name in np.unique(names):
        own = np.flatnonzero(names == name)
        first += own[np.argsort(times[own], kind="stable")][: len(own) // 2].tolist()
    training = np.sort(np.array(first, np.int64))
    return training, np.setdiff1d(np.arange(len(names)), training)


def leave_one_out(groups: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Makes a fold for each group, a sequence or a surgery, that is then left out of training.

    Args:
        groups: `(n,)` name of the group of each frame.

    Returns:
        In the order of the names, (training, test): indices of frames, `(m,)` int64, sorted.

    Raises:
        ValueError: if there are not two groups or more.

    >>> [test.tolist() for _, test in leave_one_out(["b", "a", "b"])]
    [[1], [0, 2]]
    """
    members = np.asarray(groups)
    names = np.unique(members)
    if len(names) < 2:
        raise ValueError(f"`groups` must have 2 or more names to leave one out. Received {names.tolist()}.")
    return [(np.flatnonzero(members != name), np.flatnonzero(members == name)) for name in names]


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation: ids of cases, sorted.

    Attributes:
        training: of the patients that are learnt from.
        validation: of those that are not.
    """

    training: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class PatientFolds:
    """A cross-validation by patient.

    Attributes:
        patients: case -> patient.
        folds: every case is in the validation part of one of them.
        seed: of the random order of the patients.
    """

    patients: dict[str, str]
    folds: tuple[Fold, ...]
    seed: int

    def __post_init__(self) -> None:
        """Refuses folds that leak or leave cases out; this holds for a file that was edited as well."""
        for fold in self.folds:
            if set(fold.training) | set(fold.validation) != set(self.patients):
                raise ValueError("Every case must be in the training or validation part of every fold.")
            shared = _patients(self.patients, fold.training) & _patients(self.patients, fold.validation)
            if shared:
                raise ValueError(f"No patient may be in training and validation of a fold. Received {min(shared)}.")
        validated = [case for fold in self.folds for case in fold.validation]
        if sorted(validated) != sorted(self.patients):
            raise ValueError("Every case must be in the validation part of one fold and one only.")

    def write(self, path: str | Path) -> None:
        """Writes the folds as JSON, whole or not at all."""
        text = json.dumps(asdict(self), indent=1) + "\n"
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, path: str | Path, patients: Mapping[str, str]) -> PatientFolds:
        """Reads folds that `write` wrote.

        Args:
            path: a file.
            patients: case -> patient, of the data set that is at hand.

        Returns:
            The folds as they were written.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, if a patient is in training and validation of a fold, or if the folds were
                made for other cases.
        """
        try:
            entries = json.loads(Path(path).read_text(encoding="utf-8"))
            folds = tuple(Fold(tuple(fold["training"]), tuple(fold["validation"])) for fold in entries["folds"])
            read = cls({**entries["patients"]}, folds, int(entries["seed"]))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path}: there is no such file. Check the path.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: these are no folds by patient ({error}). Make them anew.") from error
        changed = sorted(dict(read.patients.items() ^ patients.items()))
        if changed:
            raise ValueError(f"{path}: these folds are of other cases; {changed[0]} is new or gone. Make them anew.")
        return read


def patient_folds(patients: Mapping[str, str], folds: int = 5, seed: int = 0) -> PatientFolds:
    """Makes folds for cross-validation in which all cases of a patient stay together.

    Args:
        patients: case -> patient.
        folds: how many; at most the number of patients.
        seed: of the random order of the patients. The order of the cases plays no part.

    Returns:
        The folds.

    Raises:
        ValueError: if `folds` is less than 2 or more than the number of patients.

    >>> folds = patient_folds({"a1": "a", "a2": "a", "b": "b"}, folds=2)
    >>> [fold.validation for fold in folds.folds]
    [('a1', 'a2'), ('b',)]
    """
    cases = np.array(sorted(patients))
    parts = folds_by_subject([patients[case] for case in cases], folds, seed)
    made = [Fold(*(tuple(cases[part].tolist()) for part in pair)) for pair in parts]
    return PatientFolds({case: patients[case] for case in cases.tolist()}, tuple(made), seed)


def _patients(patients: Mapping[str, str], cases: Iterable[str]) -> set[str]:
    return {patients[case] for case in cases}
