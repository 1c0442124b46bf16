"""Reads one grey-scale radiograph from PNG, TIFF, JPEG, DICOM or NumPy files."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError


def read_image(path: str | Path) -> np.ndarray:
    """Reads a grey-scale radiograph.

    Args:
        path: a file. Its suffix says the format: .png, .tif, .tiff, .jpg, .jpeg, .bmp (8 or 16 bit), .dcm, .dicom
            (needs the package pydicom) or .npy (integers, or floats from 0 to 1).

    Returns:
        `(height, width)` float32 in [0, 1], 1 is bright: the range of the integer format is mapped there. Of DICOM this
        is the range of the stored bits, inverted if the header says MONOCHROME1.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the file is DICOM and pydicom is not installed.
        ValueError: if the file is not an image, has another number of dimensions, colours, or NaN.
    """
    pixels, largest = _read(Path(path))
    if pixels.min() < 0 or pixels.max() > 1:
        raise ValueError(
            f"Image {path} must hold values from 0 to {largest:g}. Received {pixels.min() * largest:g} to "
            f"{pixels.max() * largest:g}: scale it before."
        )
    return pixels


def read_measured(path: str | Path) -> np.ndarray:
    """Reads a grey-scale radiograph as `read_image` does, but floats of any range, line integrals say.

    Args:
        path: a file.

    Returns:
        `(height, width)` float32; integers in [0, 1] as `read_image` has them, floats as they are.

    Raises:
        FileNotFoundError, ImportError, ValueError: as `read_image`, but for the range.
    """
    return _read(Path(path))[0]


def import_pydicom(path: Path) -> Any:
    """Returns the module pydicom, which not everybody needs, to read a file with.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module("pydicom")
    except ImportError as error:
        raise ImportError(f"Reading {path} needs the package pydicom: `pip install pydicom`.") from error


def _read(path: Path) -> tuple[np.ndarray, float]:
    """Returns pixels, as fractions of the range of integers, and the largest of that range."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no image file {path}. Check the path.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"Image {path} must have a suffix of {', '.join(_READERS)}. Received {path.suffix!r}.")
    pixels, largest = reader(path)
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4) and np.all(pixels[..., :3] == pixels[..., :1]):
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or min(pixels.shape) == 0:
        raise ValueError(
            f"Image {path} must be grey, of shape (height, width). Received shape {pixels.shape}: save one channel and "
            "one frame of it."
        )
    pixels = pixels.astype(np.float32) / np.float32(largest)
    if not np.isfinite(pixels).all():
        raise ValueError(
            f"Image {path} must hold finite numbers. Received {np.sum(~np.isfinite(pixels))} NaN or infinite pixels: "
            "replace them before."
        )
    return pixels, largest


def _read_picture(path: Path) -> tuple[np.ndarray, float]:
    try:
        with Image.open(path) as picture:
            picture.load()
            # Palettes are indices, not grey values.
            pixels = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"Image {path} cannot be read ({error}). Check that it is whole, or save it anew.") from error
    if pixels.dtype == bool:
        return pixels, 1.0
    # Pillow reads 16-bit pictures as int32.
    return pixels, 1.0 if pixels.dtype.kind == "f" else 255.0 if pixels.dtype == np.uint8 else 65535.0


def _read_array(path: Path) -> tuple[np.ndarray, float]:
    try:
        pixels = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"Image {path} cannot be read ({error}). Save it with numpy.save as a plain array.") from error
    if pixels.dtype.kind not in "uifb":
        raise ValueError(f"Image {path} must hold integers or floats. Received dtype {pixels.dtype}.")
    return pixels, float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0


def _read_dicom(path: Path) -> tuple[np.ndarray, float]:
    pydicom = import_pydicom(path)
    try:
        record = pydicom.dcmread(path)
        pixels, largest = record.pixel_array, float(2 ** int(record.BitsStored) - 1)
    # pydicom raises an error of its own, and with a missing or odd header or decoder any of the others.
    except (pydicom.errors.InvalidDicomError, AttributeError, RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"Image {path} cannot be read ({error}). Check that it is a whole DICOM image.") from error
    if record.get("PixelRepresentation", 0) == 1:
        pixels = pixels.astype(np.int64) + 2 ** (int(record.BitsStored) - 1)
    return largest - pixels if record.PhotometricInterpretation == "MONOCHROME1" else pixels, largest


_PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
_READERS: dict[str, Callable[[Path], tuple[np.ndarray, float]]] = {
    **dict.fromkeys(_PICTURES, _read_picture),
    ".dcm": _read_dicom,
    ".dicom": _read_dicom,
    ".npy": _read_array,
}
