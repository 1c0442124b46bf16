"""Reads a CT from the files of a DICOM series."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from tfmedcai.data.images import import_pydicom
from tfmedcai.data.volumes import Volume

SUFFIXES = (".dcm", ".dicom", "")
_PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_SERIES = "SeriesInstanceUID", "SeriesDescription", "Modality"
# A slice may lie beside its place by this part of the distance of slices.
_BESIDE = 0.1
# DICOM counts mm to the left and the back, volumes to the right and the front.
_RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])


def is_dicom(path: Path) -> bool:
    """Says whether a path is a folder, or a file with the ending of a DICOM image or without any."""
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def read_series(path: str | Path) -> Volume:
    """Reads the slices of a CT.

    Args:
        path: a folder with the files of one series, of any names, or one of the files where there are several series;
            what is no DICOM image with a place in the patient is passed over.

    Returns:
        The volume `(slices, rows, columns)` float32, Hounsfield units.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ImportError: if pydicom is not installed.
        ValueError: if there is no CT or more than one, the slices do not make one grid, or headers lack where slices
            are or what their values mean.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder. Check the path.")
    pydicom = import_pydicom(path)
    slices = [_read(file, pydicom) for file in _files_of_series(path, pydicom)]
    corners, directions, spacings = (
        np.array([_numbers(record, keyword, path) for record in slices]) for keyword in _PLACE
    )
    sizes = {_pixels(record, path).shape for record in slices}
    if np.ptp(directions, axis=0).max() > 1e-4 or np.ptp(spacings, axis=0).max() > 1e-3 or len(sizes) > 1:
        raise ValueError(f"{path}: slices must have one size, spacing and orientation. Received several.")
    along_row, along_column = directions[0].reshape(2, 3)
    order = np.argsort(corners @ np.cross(along_row, along_column))
    step = _step(corners[order], path)
    # The first number of a spacing is the distance of rows.
    to_lps = np.stack([step, along_column * spacings[0, 0], along_row * spacings[0, 1], corners[order[0]]], axis=-1)
    affine = np.eye(4)
    affine[:3] = to_lps * _RAS_FROM_LPS[:, np.newaxis]
    return Volume(np.stack([_hounsfield(slices[place], path) for place in order]), affine, path=path)


def _files_of_series(path: Path, pydicom: Any) -> list[Path]:
    """Lists the files of the series that a path means."""
    folder = path if path.is_dir() else path.parent
    series = defaultdict(list)
    for file in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[*_SERIES, *_PLACE])
        except pydicom.errors.InvalidDicomError:
            continue
        if "ImagePositionPatient" in header:
            series[tuple(str(header.get(keyword, "")) for keyword in _SERIES)].append(file)
    chosen = series if path.is_dir() else {key: files for key, files in series.items() if path in files}
    scans = {key: files for key, files in chosen.items() if key[2] == "CT"}
    listed = "; ".join(f"{len(files)} of {key[2]} {key[1]!r}, as {files[0].name}" for key, files in chosen.items())
    if not scans:
        raise ValueError(
            f"{path}: there must be slices of a CT, one image a file. Received {listed or 'none'}: convert other kinds "
            "to NIfTI before."
        )
    if len(scans) > 1:
        raise ValueError(f"{path}: there must be one series. Received {listed}: give the path of one of these files.")
    return next(iter(scans.values()))


def _read(file: Path, pydicom: Any) -> Any:
    try:
        return pydicom.dcmread(file)
    except (OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: cannot read this as DICOM ({error}). Check that the file is whole.") from error


def _numbers(record: Any, keyword: str, path: Path) -> np.ndarray:
    value = record.get(keyword)
    try:
        numbers = np.array(value, float)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    valid = numbers.shape == (_PLACE[keyword],) and np.isfinite(numbers).all()
    if not valid or (keyword == "PixelSpacing" and min(numbers) <= 0):
        raise ValueError(f"{path}: slices must have `{keyword}`, {_PLACE[keyword]} numbers. Received {value}.")
    return numbers


def _pixels(record: Any, path: Path) -> np.ndarray:
    try:
        pixels = record.pixel_array
    # What is missing, a field or a decoder, makes another error each.
    except (AttributeError, RuntimeError, NotImplementedError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: cannot read the pixels ({error}). Convert the series to NIfTI before.") from error
    if pixels.ndim != 2:
        raise ValueError(f"{path}: files must hold one grey slice each. Received pixels of shape {pixels.shape}.")
    return pixels


def _hounsfield(record: Any, path: Path) -> np.ndarray:
    slope, intercept = record.get("RescaleSlope"), record.get("RescaleIntercept")
    if slope is None or intercept is None:
        raise ValueError(
            f"{path}: slices must have `RescaleSlope` and `RescaleIntercept`, which make Hounsfield units. Received "
            f"{slope} and {intercept}."
        )
    return _pixels(record, path).astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _step(corners: np.ndarray, path: Path) -> np.ndarray:
    """Returns the way from slice to slice, which must be the same for all."""
    if len(corners) < 2:
        raise ValueError(f"{path}: a CT must have two slices or more. Received {len(corners)}.")
    steps = np.diff(corners, axis=0)
    gaps = np.linalg.norm(steps, axis=1)
    step = (corners[-1] - corners[0]) / (len(corners) - 1)
    beside = corners - (corners[0] + np.arange(len(corners))[:, np.newaxis] * step)
    if gaps.min() == 0 or np.linalg.norm(beside, axis=1).max() > _BESIDE * np.linalg.norm(step):
        raise ValueError(
            f"{path}: slices must be equally spaced. Received gaps from {gaps.min():.4g} to {gaps.max():.4g} mm, "
            f"{np.median(gaps):.4g} in the median: is a slice missing, or one there twice?"
        )
    return step
