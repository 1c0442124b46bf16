"""The volumes of the segmentation task: found on disk or simulated, brought to one grid and scale, split by patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfmedcai.config import SegmentationSettings
from tfmedcai.data.cases import Case, decathlon, nih_pancreas, patient_folders, plain_folder, read_case, with_patients
from tfmedcai.data.folds import patient_folds
from tfmedcai.data.intensity import clip, foreground, z_score
from tfmedcai.data.resampling import reorient, resample, resample_onto, resize
from tfmedcai.data.volumes import SUFFIXES, Volume
from tfmedcai.simulators.organs import OrganScene, simulate

ORIENTATION = "RAS"
PATIENTS_OF_A_SEED = 10_000  # simulated ones; seeds have none in common


@dataclass(frozen=True)
class Prepared:
    """A case as the network sees it, and the grid that answers go back to.

    Attributes:
        id: name of the case.
        patient: whose it is.
        image: `(x, y, z, channels)` float16, normalised.
        label: `(x, y, z)` uint8 classes, 0 is background; None where there is no label.
        grid: the volume of `image` before normalisation, with its affine.
        truth: classes on the grid of the file; None where there is no label.
        source: the image as it was read: answers are written on its grid.
    """

    id: str
    patient: str
    image: np.ndarray
    label: np.ndarray | None
    grid: Volume
    truth: Volume | None
    source: Volume


def find_cases(settings: SegmentationSettings) -> list[Case]:
    """Returns the labelled cases of a data set on disk.

    Raises:
        FileNotFoundError: if folder or files are missing, or there is no label.
        ValueError: if no folder is named, or a name does not tell the patient.
    """
    if settings.folder is None:
        raise ValueError(f"`segmentation.folder` must name the folder of the {settings.dataset} data set.")
    match settings.dataset:
        case "decathlon":
            found = decathlon(settings.folder).training
        case "nih_pancreas":
            found = nih_pancreas(settings.folder)
        case "patient_folders":
            found = patient_folders(settings.folder, settings.images, settings.label)
        case _:
            found = plain_folder(settings.folder, max(1, len(settings.images)))
    labelled = [case for case in found if case.label is not None]
    if not labelled:
        raise FileNotFoundError(
            f"{settings.folder}: {len(found)} images and no labels to learn from. Check the path and the layout "
            "(labels/ beside images/)."
        )
    return with_patients(labelled, settings.patient) if settings.patient else labelled


def load_cases(settings: SegmentationSettings, seed: int) -> list[Prepared]:
    """Returns all cases, read or simulated, and prepared.

    Raises:
        ValueError: if a file is damaged or fits not; the message names it.
    """
    if settings.dataset == "simulated":
        return [_simulated(settings, seed, number) for number in range(settings.cases)]
    declared = tuple(decathlon(settings.folder).labels) if settings.dataset == "decathlon" and settings.folder else None
    prepared = []
    for case in find_cases(settings):
        image, label = read_case(case, channels_of(case, settings), declared)
        prepared.append(prepare(case.id, case.patient, image, label, settings))
    for number, (name, labels) in enumerate(settings.structures.items(), start=1):
        if not any(case.truth is not None and (case.truth.array == number).any() for case in prepared):
            raise ValueError(
                f"{settings.folder}: no case has the structure {name}, labels {', '.join(map(str, labels))}. "
                "Correct `segmentation.structures`."
            )
    return prepared


def channels_of(case: Case, settings: SegmentationSettings) -> int | None:
    """Returns the number of channels that a case must have; None for one a file."""
    if settings.dataset == "decathlon" and settings.folder is not None:
        return len(decathlon(settings.folder).modalities)
    return None if len(case.images) > 1 or len(settings.images) < 2 else len(settings.images)


def prepare(case: str, patient: str, image: Volume, label: Volume | None, settings: SegmentationSettings) -> Prepared:
    """Brings one case to the orientation, spacing and scale of the network.

    Args:
        case: its name.
        patient: whose it is.
        image: `(x, y, z, channels)` or `(x, y, z)` grey values.
        label: `(x, y, z)` labels on the same grid, or None.
        settings: spacing, window and structures.

    Returns:
        The case as the network sees it, with the grid of its file.
    """
    if image.array.ndim == 3:
        image = image.holding(image.array[..., np.newaxis])
    grid = resize(resample(reorient(image, ORIENTATION), settings.spacing), settings.resized)
    truth = label.holding(_classes(label.array, settings)) if label is not None else None
    classes = resample_onto(truth, grid, "nearest").array if truth is not None else None
    return Prepared(case, patient, normalised(grid.array, settings).astype(np.float16), classes, grid, truth, image)


def normalised(array: np.ndarray, settings: SegmentationSettings) -> np.ndarray:
    """Cuts grey values off and scales them to mean 0 and deviation 1; `(x, y, z, channels)` float32."""
    mask = foreground(array) if settings.inside_patient else None
    if settings.window is not None:
        array = clip(array, *settings.window)
    return z_score(array, mask)


def restored(classes: np.ndarray, prepared: Prepared) -> Volume:
    """Returns predicted classes, `(x, y, z)` on the prepared grid, on the grid of the file."""
    answer = prepared.grid.holding(classes)
    return resample_onto(answer, prepared.source, "nearest")


def patients_of(prepared: Sequence[Prepared]) -> dict[str, str]:
    """Returns whose each case is: case -> patient."""
    return {case.id: case.patient for case in prepared}


def inner_fold(
    prepared: Sequence[Prepared], settings: SegmentationSettings, number: int, data_seed: int
) -> tuple[list[Prepared], list[Prepared]]:
    """Splits the cases that a seed may learn from into those of training and those of validation, by patient.

    A single patient is cut across, so that a search is possible with two patients in all. What it then measures is
    flattered, since the two pieces are of one body; the evaluation, on the other patient, is not.

    Args:
        prepared: the cases.
        settings: number of folds.
        number: which fold.
        data_seed: seed of the order of the patients.

    Returns:
        The cases of training, and those of validation.
    """
    patients = patients_of(prepared)
    count = min(max(2, settings.search_folds), len(set(patients.values())))
    if count == 1:
        pieces = [_cut_across(case) for case in prepared]
        pair = [below for below, _ in pieces], [above for _, above in pieces]
        return pair[number % 2], pair[1 - number % 2]
    fold = patient_folds(patients, count, data_seed).folds[number % count]
    training, validation = ([case for case in prepared if case.id in ids] for ids in (fold.training, fold.validation))
    return training, validation


def _cut_across(case: Prepared) -> tuple[Prepared, Prepared]:
    """Cuts a labelled case into what lies below and above the middle of its structures."""
    assert case.label is not None  # noqa: S101 (the cases of a search have labels)
    slices = np.flatnonzero(case.label.any(axis=(0, 1)))
    middle = max(1, int(np.median(slices))) if len(slices) else case.image.shape[2] // 2
    lower, upper = (
        replace(case, image=case.image[:, :, part], label=case.label[:, :, part])
        for part in (slice(middle), slice(middle, None))
    )
    return lower, upper


def _simulated(settings: SegmentationSettings, seed: int, number: int) -> Prepared:
    made = simulate(OrganScene(settings.modality), PATIENTS_OF_A_SEED * seed + number)
    name = f"simulated_{number:03d}"
    return prepare(name, name, Volume(made.image, made.affine), Volume(made.label, made.affine), settings)


def _classes(array: np.ndarray, settings: SegmentationSettings) -> np.ndarray:
    table = np.zeros(max(int(array.max()), *settings.labels()) + 1, np.uint8)
    for label, number in settings.labels().items():
        table[label] = number
    return table[array]


def inputs_in(folder: Path, settings: SegmentationSettings) -> list[Path]:
    """Returns the cases in a folder: its NIfTI files, or, with a file a modality, its folders or the folder itself.

    Raises:
        FileNotFoundError: if there are none.
    """
    if not settings.images:
        found = [path for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES) and path.name[0] != "."]
    elif any(path.name.endswith(SUFFIXES) for path in folder.iterdir()):
        found = [folder]
    else:
        found = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    if not found:
        raise FileNotFoundError(
            f"{folder}: nothing to ask about here, no {' or '.join(SUFFIXES)} file. Check the path."
        )
    return found


def case_of(path: Path, settings: SegmentationSettings) -> Case:
    """Returns a case without a label from what a user names: a NIfTI file, or a folder with a file a modality.

    Raises:
        FileNotFoundError: if a modality is missing.
    """
    if path.is_dir() and settings.images:
        found = [candidate for candidate in patient_folders(path.parent, settings.images) if candidate.id == path.name]
        if not found:
            raise FileNotFoundError(f"{path}: must hold {', '.join(settings.images)} as .nii.gz files.")
        return found[0]
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return Case(name, name, (path,))
