"""Reads and writes the pose of a C-arm as JSON, in the frame of the volume and in that of the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tfmedcai.data.files import write_whole
from tfmedcai.geometry.rigid import matrix_from_pose, pose_from_matrix

FRAME = (
    "Lengths are in mm. The frame of the C-arm, from its isocentre: x right and y down in the image, z from the source "
    "to the detector. That of the volume, from its middle: x to the patient's left, y to the feet, z to the back. That "
    "of the patient is the one of NIfTI: to the right, the front and the head. `matrix` takes the C-arm's frame to the "
    "volume's, `patient_matrix` to the patient's; `rotation_deg`, a rotation vector, and `translation_mm` say the same "
    "as `matrix`."
)
# Numbers that people and programs round still agree to this, in mm and as elements of a rotation.
_MM, _TURN = 1e-2, 1e-4
_Row = tuple[float, float, float, float]
_Vector = tuple[float, float, float]


class _File(BaseModel):
    """The fields of the JSON file; a pose is told by either of the matrices, or by rotation and translation."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    rotation_deg: _Vector | None = None
    translation_mm: _Vector | None = None
    matrix: tuple[_Row, _Row, _Row, _Row] | None = None
    patient_matrix: tuple[_Row, _Row, _Row, _Row] | None = None
    frame: str = FRAME


def write_pose(path: str | Path, pose: np.ndarray, patient_from_volume: np.ndarray | None = None) -> None:
    """Writes a pose as JSON, whole or not at all.

    Args:
        path: a file; folders are made.
        pose: `(6,)`, rotation vector in rad, translation in mm, of the C-arm in the frame of a volume.
        patient_from_volume: `(4, 4)`, as of an `Anatomy`; None if the volume is of no patient. With it the pose can be
            read for another volume of the patient, with another middle.

    Raises:
        ValueError: if the pose is not six finite numbers, or the place cannot be written to.
    """
    pose = np.asarray(pose, float)
    if pose.shape != (6,) or not np.isfinite(pose).all():
        raise ValueError(f"`pose` must be six finite numbers, rad and mm. Received {pose.tolist()}.")
    matrix = matrix_from_pose(pose).numpy()
    content = _File(
        rotation_deg=tuple(np.degrees(pose[:3]).tolist()),
        translation_mm=tuple(pose[3:].tolist()),
        matrix=_rows(matrix),
        patient_matrix=None if patient_from_volume is None else _rows(patient_from_volume @ matrix),
    )
    text = content.model_dump_json(indent=1) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_pose(path: str | Path, patient_from_volume: np.ndarray | None = None) -> np.ndarray:
    """Reads a pose.

    Args:
        path: a JSON file with `rotation_deg` and `translation_mm`, or `matrix`, or `patient_matrix`, or several of
            these that agree; what they are is said in `FRAME`.
        patient_from_volume: `(4, 4)`, as of the `Anatomy` that the pose is for. With it the pose in the patient
            counts, where the file has it, whatever volume the file was written for.

    Returns:
        `(6,)` float64, rotation vector in rad, translation in mm, of the C-arm in the frame of the volume.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, holds no pose, a matrix is not rigid, or its fields contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.")
    try:
        content = _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        reasons = (": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors())
        raise ValueError(
            f"{path}: this is no pose ({'; '.join(reasons)}). Give `rotation_deg` and `translation_mm`, or `matrix`."
        ) from error
    told = _told(content, path)
    if patient_from_volume is not None and content.patient_matrix is not None:
        matrix = np.linalg.inv(patient_from_volume) @ _rigid(content.patient_matrix, "patient_matrix", path)
        return pose_from_matrix(matrix).numpy()
    if told is None:
        raise ValueError(
            f"{path}: a pose must have `rotation_deg` and `translation_mm`, or `matrix`, in the frame of the volume. "
            "Received none of them: name the CT if the pose is in the patient."
        )
    return told


def _told(content: _File, path: Path) -> np.ndarray | None:
    """Returns the pose in the frame of the volume, which is told once or twice."""
    if (content.rotation_deg is None) != (content.translation_mm is None):
        raise ValueError(f"{path}: `rotation_deg` and `translation_mm` must be there both. Received one of them.")
    pose = None
    if content.rotation_deg is not None and content.translation_mm is not None:
        pose = np.array([*np.radians(content.rotation_deg), *content.translation_mm])
    if content.matrix is None:
        return pose
    matrix = _rigid(content.matrix, "matrix", path)
    if pose is None:
        return pose_from_matrix(matrix).numpy()
    apart = np.abs(matrix_from_pose(pose).numpy() - matrix)
    if apart[:3, :3].max() > _TURN or apart[:3, 3].max() > _MM:
        raise ValueError(
            f"{path}: `rotation_deg` and `translation_mm` must be those of `matrix`. Received elements up to "
            f"{apart[:3, :3].max():.3g} and {apart[:3, 3].max():.3g} mm apart: leave one of them out."
        )
    return pose


def _rigid(rows: tuple[_Row, ...], field: str, path: Path) -> np.ndarray:
    matrix = np.array(rows)
    turn = matrix[:3, :3]
    square = np.abs(turn @ turn.T - np.eye(3)).max() <= _TURN and np.linalg.det(turn) > 0
    if not square or np.abs(matrix[3] - [0, 0, 0, 1]).max() > 0:
        raise ValueError(
            f"{path}: `{field}` must be rigid, a rotation of orthonormal rows and 0, 0, 0, 1 below. Received "
            f"{matrix.tolist()}."
        )
    return matrix


def _rows(matrix: np.ndarray) -> tuple[_Row, ...]:
    return tuple(tuple(row) for row in np.asarray(matrix, float).tolist())
