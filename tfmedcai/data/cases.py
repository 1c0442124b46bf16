"""Finds and reads the cases of a segmentation data set: images, label and patient, in the layouts that are common."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfmedcai.data.resampling import stack
from tfmedcai.data.volumes import SUFFIXES, Volume, check_same_grid, file_stem, read_channels, read_labels


@dataclass(frozen=True)
class Case:
    """One study of one patient.

    Attributes:
        id: unique in its data set; predictions are named by it.
        patient: cases of one patient share it, so that a split keeps them together.
        images: one file a modality, or one with all modalities on a fourth axis.
        label: file on the grid of the first image; None where there is no label.
    """

    id: str
    patient: str
    images: tuple[Path, ...]
    label: Path | None = None


def read_case(
    case: Case, channels: int | None = None, labels: Collection[int] | None = None
) -> tuple[Volume, Volume | None]:
    """Reads images and label of a case.

    Args:
        case: what one of the functions below found.
        channels: number of all modalities; None for one a file.
        labels: the numbers that may occur in the label besides 0; None allows all.

    Returns:
        image: `(x, y, z, channels)` on the grid of the first file.
        label: `(x, y, z)` on the same grid, or None.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged or does not fit, with its name.
    """
    expected = len(case.images) if channels is None else channels
    # Several files are one channel each; a single file has them all.
    each = expected if len(case.images) == 1 else 1
    if each * len(case.images) != expected:
        raise ValueError(
            f"{case.images[0]}: case {case.id} must have {expected} channels. Received {len(case.images)} files."
        )
    image = stack([read_channels(path, each) for path in case.images])
    if case.label is None:
        return image, None
    label = read_labels(case.label, labels)
    check_same_grid(image, label)
    return image, label


@dataclass(frozen=True)
class Decathlon:
    """What the dataset.json of a Medical Segmentation Decathlon data set says.

    Attributes:
        training: cases with labels.
        test: cases without.
        modalities: names of the channels, in order.
        labels: number -> name, without the background.
    """

    training: list[Case]
    test: list[Case]
    modalities: tuple[str, ...]
    labels: dict[int, str]


def decathlon(folder: str | Path) -> Decathlon:
    """Reads the layout of the Medical Segmentation Decathlon: a dataset.json that names the files.

    Args:
        folder: with dataset.json in it.

    Returns:
        The cases; a file is a case and a patient.

    Raises:
        FileNotFoundError: if dataset.json or a file that it names is missing.
        ValueError: if dataset.json is damaged or names no case.

    Reference:
        Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 2022.
    """
    path = Path(folder) / "dataset.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Give the folder that holds the dataset.json.")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        training = [
            Case(file_stem(entry["image"]), file_stem(entry["image"]), (path.parent / entry["image"],),
                 path.parent / entry["label"])
            for entry in entries["training"]
        ]  # fmt: skip
        test = [Case(file_stem(name), file_stem(name), (path.parent / name,)) for name in entries.get("test", [])]
        modalities = tuple(name for _, name in sorted(entries["modality"].items(), key=lambda item: int(item[0])))
        labels = {int(number): name for number, name in entries["labels"].items() if int(number) != 0}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: this must be JSON with modality, labels and training as in the Medical Segmentation Decathlon. "
            f"Received {error!r}."
        ) from error
    _check_found(training, path, "no training case")
    _check_present(training + test, path)
    return Decathlon(training, test, modalities, labels)


def nih_pancreas(folder: str | Path) -> list[Case]:
    """Finds the cases of NIH Pancreas-CT: images PANCREAS_0001*.nii.gz and labels label0001.nii.gz, in any folder.

    Args:
        folder: around images and labels. The images are published as DICOM: convert them to NIfTI before.

    Returns:
        The cases in order of their numbers, each a patient; those without a label have None.

    Raises:
        FileNotFoundError: if the folder is missing or holds no such image.

    Reference:
        Roth et al., Data from Pancreas-CT, The Cancer Imaging Archive 2016.
    """
    files = _volumes(folder, everywhere=True)
    labels = {match[1]: path for path in files if (match := re.fullmatch(r"label(\d{4})", file_stem(path)))}
    cases = []
    for path in files:
        match = re.fullmatch(r"PANCREAS_(\d{4})(?!\d).*", file_stem(path))
        if match:
            cases.append(Case(f"PANCREAS_{match[1]}", match[1], (path,), labels.get(match[1])))
    _check_found(cases, folder, "no image PANCREAS_0001*.nii.gz (convert DICOM to NIfTI before)")
    return _distinct(sorted(cases, key=lambda case: case.id), folder)


def patient_folders(folder: str | Path, images: Sequence[str], label: str | None = None) -> list[Case]:
    """Finds cases that have a folder each, with the modalities and the label in it, as BraTS has.

    Args:
        folder: around the folders of the cases.
        images: patterns of the file names, one a modality, such as ("flair", "t1c") or ("*_flair",), without ending.
        label: pattern of the label; None for none.

    Returns:
        The cases in order of their names, which are those of the folders. Folders without a file of any pattern are
        passed over.

    Raises:
        FileNotFoundError: if the folder is missing or has no case, or if a case lacks a modality or label.
        ValueError: if several files of a case match one pattern.
    """
    patterns = [*images, label] if label else list(images)
    cases = []
    for place in sorted(path for path in _existing(folder).iterdir() if path.is_dir()):
        found = [_matches(place, pattern) for pattern in patterns]
        if not any(found):
            continue
        for pattern, paths in zip(patterns, found, strict=True):
            if not paths:
                raise FileNotFoundError(f"{place}: no file {pattern}.nii.gz. Complete the case or move it away.")
            if len(paths) > 1:
                raise ValueError(
                    f"{place}: {pattern} must match one file. Received {', '.join(p.name for p in paths)}."
                )
        files = [paths[0] for paths in found]
        cases.append(Case(place.name, place.name, tuple(files[: len(images)]), files[-1] if label else None))
    _check_found(cases, folder, f"no folder with files {', '.join(f'{pattern}.nii.gz' for pattern in patterns)}")
    return cases


def plain_folder(folder: str | Path, files_per_case: int = 1) -> list[Case]:
    """Finds cases in the folders images/ and labels/, with the same file names in both, or in a folder of images.

    Args:
        folder: around images/ and, where there are labels, labels/; or a folder of images without labels.
        files_per_case: with more than 1, the images of a case end in _0000, _0001 and so on, one a modality.

    Returns:
        The cases in order of their names, each a patient.

    Raises:
        FileNotFoundError: if there is no image, or if there are labels but not for all images.
        ValueError: if a case has another number of files.
    """
    root = _existing(folder)
    place = root / "images" if (root / "images").is_dir() else root
    files: dict[str, list[Path]] = {}
    for path in _volumes(place):
        name = file_stem(path)
        files.setdefault(re.sub(r"_\d{4}$", "", name) if files_per_case > 1 else name, []).append(path)
    labels = root / "labels"
    cases = []
    for name, paths in sorted(files.items()):
        if len(paths) != files_per_case:
            received = ", ".join(path.name for path in paths)
            raise ValueError(f"{place}: case {name} must have {files_per_case} files. Received {received}.")
        label = next(iter(_matches(labels, name)), labels / f"{name}.nii.gz") if labels.is_dir() else None
        cases.append(Case(name, name, tuple(paths), label))
    _check_found(cases, place, "no .nii.gz or .nii file")
    _check_present(cases, labels)
    return cases


def with_patients(cases: Sequence[Case], pattern: str) -> list[Case]:
    """Reads the patient of each case from its id.

    Args:
        cases: whose ids hold more than the patient, a date, say.
        pattern: regular expression with one group, the patient.

    Returns:
        The same cases with their patients.

    Raises:
        ValueError: if an id does not match, or the pattern has not one group.

    >>> case = Case("pat0001_2013-05-01", "", ())
    >>> with_patients([case], r"(pat\\d+)_.*")[0].patient
    'pat0001'
    """
    expression = re.compile(pattern)
    if expression.groups != 1:
        raise ValueError(f"`pattern` must have one group in parentheses, the patient. Received {pattern!r}.")
    matches = [expression.fullmatch(case.id) for case in cases]
    if None in matches:
        unmatched = cases[matches.index(None)].id
        raise ValueError(
            f"`pattern` must match the id of every case. Received {pattern!r}, which misses {unmatched!r}."
        )
    return [replace(case, patient=match[1]) for case, match in zip(cases, matches, strict=True) if match]


def _existing(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder. Check the path.")
    return Path(folder)


def _volumes(folder: str | Path, everywhere: bool = False) -> list[Path]:
    """Lists the NIfTI files of a folder; those that a system hides with a dot are none."""
    paths = _existing(folder).rglob("*") if everywhere else _existing(folder).iterdir()
    return sorted(path for path in paths if path.name.endswith(SUFFIXES) and not path.name.startswith("."))


def _matches(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for suffix in SUFFIXES for path in folder.glob(pattern + suffix) if path.name[0] != ".")


def _check_found(cases: Sequence[Case], place: str | Path, what: str) -> None:
    if not cases:
        raise FileNotFoundError(f"{place}: {what} here. Check the path and the layout.")


def _check_present(cases: Sequence[Case], place: Path) -> None:
    files = [path for case in cases for path in (*case.images, case.label) if path is not None]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{place}: {len(missing)} of {len(files)} files are missing, the first is {missing[0]}. "
            "Unpack the data set again."
        )


def _distinct(cases: list[Case], place: str | Path) -> list[Case]:
    ids = np.array([case.id for case in cases])
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{place}: {names[counts > 1][0]} must have one image. Received {counts.max()}.")
    return cases
