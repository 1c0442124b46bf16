"""Reads the folders of the i3PosNet data set: radiographs with the image poses of screws, drills or robots.

The data itself was not at hand when this was written. The layout is what the published code (MECLabTUDA/i3PosNet,
`dataset.py`, `evaluate.py`, `cutter.py`, `create_listfile.py`) reads:

    images/drr00140000.dcm           DICOM; "xray" instead of "drr" for real images. .png, .tif or .npy work, too.
    tracked/tracked00140000.JSON     {"Image": {"HeadX": px, "HeadY": px, "HeadAngle": deg, "HeadTilt": deg,
                                     "ResolutionAtHead": mm/px}, ...}
    parameters/                      read by nothing that computes; ignored here, so poses in space are not known.

HeadX is the column and HeadY the row of the origin, pixel centres at integers; HeadAngle is counter-clockwise on the
screen from the image's +x axis.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmedcai.data.images import read_image

_SUFFIXES = (".dcm", ".png", ".tif", ".npy")
_KEYS = ("HeadX", "HeadY", "HeadAngle", "HeadTilt", "ResolutionAtHead")


def indices(folder: str | Path, prefix: str = "drr") -> list[int]:
    """Lists the images of a data set.

    Args:
        folder: with the folders "images" and "tracked" in it.
        prefix: "drr" for synthetic, "xray" for real images.

    Returns:
        The numbers in the file names, in ascending order.

    Raises:
        FileNotFoundError: if the folder is missing or holds no image of that prefix.
    """
    images = Path(folder) / "images"
    if not images.is_dir() or not (Path(folder) / "tracked").is_dir():
        raise FileNotFoundError(
            f"{folder} must hold the folders `images` and `tracked` of the i3PosNet data set. Unpack the data set, and "
            "give the folder around these two."
        )
    pattern = re.compile(re.escape(prefix) + r"(\d{8})(" + "|".join(map(re.escape, _SUFFIXES)) + ")")
    found = {int(match[1]) for match in map(pattern.fullmatch, (path.name for path in images.iterdir())) if match}
    if not found:
        raise FileNotFoundError(
            f"{images} holds no file {prefix}00000000.dcm or the like. Check `prefix`: drr or xray?"
        )
    return sorted(found)


def subject_of(index: int) -> int:
    """Says which subject an image shows, from its number.

    The published lists number images from 100 000 on in blocks of 20 000, one for each instrument: 5 000 training
    images of each of three subjects, then 1 000 evaluation images of each.

    Args:
        index: number of an image.

    Returns:
        1, 2 or 3, or -1 where the lists do not say.

    >>> [subject_of(index) for index in (140_000, 145_000, 157_500, 20_110)]
    [1, 2, 3, -1]
    """
    block = (index - 100_000) % 20_000
    if index < 100_000 or block >= 18_000:
        return -1
    return 1 + (block // 5_000 if block < 15_000 else (block - 15_000) // 1_000)


def read_case(folder: str | Path, index: int, prefix: str = "drr", invert: bool = False) -> dict[str, np.ndarray]:
    """Reads one image with its label.

    Args:
        folder: with the folders "images" and "tracked" in it.
        index: number of the image.
        prefix: "drr" for synthetic, "xray" for real images.
        invert: exchange dark and bright, which Dataset C (real images) needs to look like Dataset A.

    Returns:
        "image": `(height, width)` float32 in [0, 1]. "image_pose": `(5,)` float32, x px, y px, angle rad, tilt rad,
        resolution mm/px. "subject": int64.

    Raises:
        FileNotFoundError: if the image or its label is missing.
        ImportError: if the image is DICOM and pydicom is not installed.
        ValueError: if one of them cannot be read.
    """
    stem = Path(folder) / "images" / f"{prefix}{index:08d}"
    path = next(
        (found for suffix in _SUFFIXES if (found := stem.with_suffix(suffix)).is_file()), stem.with_suffix(".dcm")
    )
    image, label = read_image(path), Path(folder) / "tracked" / f"tracked{index:08d}.JSON"
    return {
        "image": 1.0 - image if invert else image,
        "image_pose": _read_label(label),
        "subject": np.int64(subject_of(index)),
    }


def _read_label(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"There is no label {path}. Give an image that has one, or unpack the data set again.")
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))["Image"]
        x, y, angle, tilt, resolution = (float(entry[key]) for key in _KEYS)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Label {path} must be JSON with {', '.join(_KEYS)} under Image. Received {error!r}."
        ) from error
    label = np.array([x, y, math.radians(angle), math.radians(tilt), resolution], np.float32)
    if not np.isfinite(label).all() or resolution <= 0:
        raise ValueError(f"Label {path} must hold finite numbers, ResolutionAtHead above 0. Received {entry}.")
    return label


def dataset(
    folder: str | Path, chosen: Sequence[int] | None = None, prefix: str = "drr", invert: bool = False
) -> tf.data.Dataset:
    """Reads a data set image by image, in order.

    Args:
        folder: with the folders "images" and "tracked" in it.
        chosen: numbers of images; all if None.
        prefix: "drr" for synthetic, "xray" for real images.
        invert: exchange dark and bright, which Dataset C (real images) needs to look like Dataset A.

    Returns:
        A `tf.data.Dataset` of what `read_case` returns.

    Raises:
        FileNotFoundError: if the folder or one of the chosen images is missing.
    """
    available = indices(folder, prefix)
    chosen = available if chosen is None else [int(index) for index in chosen]
    missing = sorted(set(chosen) - set(available))
    if missing:
        raise FileNotFoundError(
            f"{folder} holds no image {prefix}{missing[0]:08d} ({len(missing)} of the chosen are missing). Choose from "
            f"the {len(available)} numbers that `indices` lists."
        )
    signature = {
        "image": tf.TensorSpec((None, None), tf.float32),
        "image_pose": tf.TensorSpec((5,), tf.float32),
        "subject": tf.TensorSpec((), tf.int64),
    }
    return tf.data.Dataset.from_generator(
        lambda: (read_case(folder, index, prefix, invert) for index in chosen), output_signature=signature
    )
