"""Reads one case of registration: files of a CT, X-ray images and their cameras, and where the search starts."""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfmedcai.config.registration import CaseFiles, RegisterSettings
from tfmedcai.data.anatomy import Anatomy, read_anatomy
from tfmedcai.data.c_arm import read_camera
from tfmedcai.data.poses import read_pose
from tfmedcai.data.radiographs import Radiograph, read_radiograph
from tfmedcai.geometry.camera import Camera
from tfmedcai.inference.pose_from_points import pose_from_points
from tfmedcai.tasks.registration_problem import HERE, Problem, View, prepared

# From the front, and from the back: half a turn about the axis of the body.
DIRECTIONS = {"ap": HERE, "pa": (0.0, math.pi, 0.0, 0.0, 0.0, 0.0)}
COLUMNS = ("x_mm", "y_mm", "z_mm", "u_px", "v_px")


@dataclass(frozen=True, eq=False)
class Case:
    """A case that was read.

    Attributes:
        problem: its volume and views.
        start: `(6,)`, rotation vector in rad, translation in mm.
        truth: the same, or None.
    """

    problem: Problem
    start: np.ndarray
    truth: np.ndarray | None


def read_case(files: CaseFiles, settings: RegisterSettings) -> Case:
    """Reads a case.

    Args:
        files: paths.
        settings: which structures are registered.

    Returns:
        The `Case`. Poses refer to the middle of the structures' box, or of the CT without labels.

    Raises:
        FileNotFoundError: if a file is not there.
        ImportError: if one is DICOM and pydicom is not installed.
        ValueError: if one is damaged, or numbers of files do not fit.
    """
    if files.ct is None or not files.xray:
        raise ValueError("a registration needs a CT and an X-ray image: give `--ct` and `--xray`, or `--batch`.")
    _check_counts(files)
    anatomy = _anatomy(files.ct, files.labels, settings.structures, settings.masked)
    radiographs = [_radiograph(files, number, settings.cropped_px) for number in range(len(files.xray))]
    relatives = [HERE, *(read_pose(path) for path in files.view_pose)]
    problem = Problem(anatomy, tuple(map(View, radiographs, relatives)))
    start = _start(files.start, anatomy, radiographs[0].camera)
    truth = None if files.truth is None else read_pose(files.truth, anatomy.patient_from_volume)
    return Case(problem, start, truth)


def read_landmarks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads where points of the patient are seen in an image.

    Args:
        path: a CSV file with the columns x_mm, y_mm, z_mm, u_px, v_px.

    Returns:
        `(n, 3)` mm to the right, the front and the head, and `(n, 2)` x and y px.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a column is missing or a value is no finite number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"{path}: landmarks must have columns {', '.join(COLUMNS)}. Missing: {', '.join(missing)}.")
    values = np.array([[_number(row[name], path, line) for name in COLUMNS] for line, row in enumerate(rows, start=2)])
    return values[:, :3], values[:, 3:]


def _number(text: str | None, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: landmarks must be finite numbers. Received {text!r}.")
    return value


def _check_counts(files: CaseFiles) -> None:
    views = len(files.xray)
    allowed = {"camera": (0, 1, views), "view_pose": (views - 1,), "mask": (0, views)}
    for name, counts in allowed.items():
        found = len(getattr(files, name))
        if found not in counts:
            wanted = " or ".join(map(str, sorted({*counts})))
            raise ValueError(f"`--{name}` must name {wanted} files for {views} X-ray images. Received {found}.")


@functools.lru_cache(maxsize=2)
def _anatomy(ct: Path, labels: Path | None, structures: tuple[int, ...], masked: bool) -> Anatomy:
    return prepared(read_anatomy(ct, labels), structures, masked=masked)


def _radiograph(files: CaseFiles, number: int, cropped_px: int) -> Radiograph:
    inverted = {"auto": None, "yes": True, "no": False}[files.inverted]
    path = files.camera[number if len(files.camera) > 1 else 0] if files.camera else None
    camera = None if path is None else read_camera(path)
    mask = files.mask[number] if files.mask else None
    return read_radiograph(files.xray[number], camera, mask=mask, inverted=inverted, cropped_px=cropped_px)


def _start(given: str, anatomy: Anatomy, camera: Camera) -> np.ndarray:
    if given in DIRECTIONS:
        return np.array(DIRECTIONS[given])
    path = Path(given)
    if path.suffix.lower() == ".json":
        return read_pose(path, anatomy.patient_from_volume)
    if path.suffix.lower() != ".csv":
        raise ValueError(f"`--start` must be {' or '.join(DIRECTIONS)}, a .json or a .csv file. Received {given!r}.")
    patient, pixels = read_landmarks(path)
    places = np.column_stack([patient, np.ones(len(patient))]) @ np.linalg.inv(anatomy.patient_from_volume).T
    return np.asarray(pose_from_points(places[:, :3], pixels, camera))
