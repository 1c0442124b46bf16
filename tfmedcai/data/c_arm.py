"""Reads and writes the camera of a C-arm: a JSON file, or what the header of a DICOM image says of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tfmedcai.data.files import write_whole
from tfmedcai.data.images import import_pydicom
from tfmedcai.geometry.camera import NOMINAL_C_ARM, Camera

# What a header may say of the pixels' pitch, best first, and why one may doubt it.
_PITCHES = {
    "ImagerPixelSpacing": "",
    "PixelSpacing": "which may be meant in the patient",
    "DetectorElementSpacing": "which is right only if pixels are not binned",
}
_DISTANCES = "DistanceSourceToDetector", "DistanceSourceToPatient"
_ANGLES = "PositionerPrimaryAngle", "PositionerSecondaryAngle"
HEADER = ("Rows", "Columns", *_PITCHES, *_DISTANCES, *_ANGLES)


class _File(BaseModel):
    """The fields of the JSON file: the arguments of `Camera.from_c_arm`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    source_detector_mm: float
    pixel_mm: tuple[float, float] | float
    image_size: tuple[int, int]
    principal_point_px: tuple[float, float] | None = None
    source_isocentre_mm: float | None = None
    mirrored: bool = False


def write_camera(path: str | Path, camera: Camera) -> None:
    """Writes a camera as JSON, whole or not at all.

    Args:
        path: a file; folders are made.
        camera: the `Camera`.

    Raises:
        ValueError: if the place cannot be written to.
    """
    text = _File(**asdict(camera)).model_dump_json(indent=1) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_camera(path: str | Path, nominal: Camera = NOMINAL_C_ARM) -> Camera:
    """Reads a camera.

    Args:
        path: a .dcm or .dicom image, or a .json file with the arguments of `Camera.from_c_arm`: source_detector_mm,
            pixel_mm and image_size, and as one likes principal_point_px, source_isocentre_mm and mirrored.
        nominal: stands in for what a DICOM header does not say.

    Returns:
        The `Camera`.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the file is DICOM and pydicom is not installed.
        ValueError: if the file is damaged, a field is missing, unknown or out of its range.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return camera_from_header(read_header(path), nominal, str(path))
    try:
        return Camera.from_c_arm(**_File.model_validate_json(_there(path).read_bytes()).model_dump())
    except ValidationError as error:
        reasons = (": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors())
        raise ValueError(f"{path}: this is no camera ({'; '.join(reasons)}). See `read_camera`.") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_header(path: str | Path) -> dict[str, Any]:
    """Reads what the header of a DICOM image says of the C-arm.

    Args:
        path: a .dcm or .dicom file.

    Returns:
        Keyword -> value for those of `HEADER` that are there.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if pydicom is not installed.
        ValueError: if the suffix is another or the file is not DICOM.
    """
    path = Path(path)
    if path.suffix.lower() not in (".dcm", ".dicom"):
        raise ValueError(f"{path}: a camera must be a .json, .dcm or .dicom file. Received {path.suffix!r}.")
    pydicom = import_pydicom(_there(path))
    try:
        record = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER))
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: this is no DICOM image ({error}). Check that it is whole.") from error
    return {keyword: record[keyword].value for keyword in HEADER if keyword in record}


def camera_from_header(header: Mapping[str, Any], nominal: Camera = NOMINAL_C_ARM, name: str = "the header") -> Camera:
    """Finds the camera that took an image from its DICOM header, and warns of all that it does not say.

    The central ray is taken to meet the middle of the image, since no field says where it does.

    Args:
        header: keyword -> value, as from `read_header`; lengths in mm.
        nominal: stands in for what is missing; its detector is taken to be as wide, and its pixels square.
        name: of the header, for messages.

    Returns:
        The `Camera`.

    Raises:
        ValueError: if the size of the image is missing or lengths contradict each other.

    >>> header = {"Rows": 768, "Columns": 768, "ImagerPixelSpacing": [0.388, 0.388]}
    >>> header |= {"DistanceSourceToDetector": 1164, "DistanceSourceToPatient": 622}
    >>> camera_from_header(header).focal_length_px
    (3000.0, 3000.0)
    """
    size = _positive(header.get("Rows")), _positive(header.get("Columns"))
    if None in size:
        raise ValueError(
            f"{name}: `Rows` and `Columns` must be the size of the image in px. "
            f"Received {header.get('Rows')} and {header.get('Columns')}."
        )
    height, width = map(int, size)
    detector, isocentre = (_positive(header.get(keyword)) for keyword in _DISTANCES)
    if detector is None:
        detector = nominal.source_detector_mm
        _warn(name, "DistanceSourceToDetector", f"{detector:g} mm")
    pitch = _pitch(header, name)
    if pitch is None:
        pitch = nominal.pixel_mm[0] * nominal.image_size[1] / width
        _warn(name, "ImagerPixelSpacing", f"{pitch:.4g} mm, that of a detector as wide as the nominal one,")
    if isocentre is None:
        isocentre = nominal.source_isocentre_mm
        _warn(name, "DistanceSourceToPatient", f"{isocentre} mm")
    try:
        return Camera.from_c_arm(detector, pitch, (height, width), source_isocentre_mm=isocentre)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def positioner_angles(header: Mapping[str, Any], name: str = "the header") -> tuple[float, float]:
    """Finds how the C-arm was turned from a DICOM header, and warns if it does not say.

    Args:
        header: keyword -> value, as from `read_header`; angles in deg.
        name: of the header, for messages.

    Returns:
        Primary and secondary angle in rad: the detector to the patient's left of the front, and to the head. 0 where
        the header does not say.
    """
    angles = []
    for keyword in _ANGLES:
        angle = _number(header.get(keyword))
        if angle is None:
            angle = 0.0
            _warn(name, keyword, "0 deg")
        angles.append(math.radians(angle))
    return angles[0], angles[1]


def _pitch(header: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    for keyword, doubt in _PITCHES.items():
        try:
            rows, columns = map(_positive, header.get(keyword))
        except (TypeError, ValueError):
            continue
        if rows and columns:
            if doubt:
                _warn(name, "ImagerPixelSpacing", f"{keyword}, {doubt},")
            # DICOM has the distance between rows first, which is along y.
            return columns, rows
    return None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if math.isfinite(float(value)) else None
    except (TypeError, ValueError):
        return None


def _warn(name: str, keyword: str, instead: str) -> None:
    warnings.warn(f"{name} has no {keyword}: {instead} is taken. Write a JSON file if you know better.", stacklevel=3)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.")
    return path
