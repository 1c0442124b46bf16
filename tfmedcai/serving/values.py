"""Inputs as people write them, files and numbers, to the arrays that a signature expects, and arrays to JSON."""

import base64
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from tfmedcai.data.images import read_image
from tfmedcai.data.resampling import reorient, stack
from tfmedcai.data.volumes import SUFFIXES as VOLUMES
from tfmedcai.data.volumes import read_channels
from tfmedcai.serving.tensors import WIRE

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom")


def read_input(text: str, expected: Mapping[str, TensorInfo]) -> tuple[str, np.ndarray]:
    """Reads one input of a signature.

    Args:
        text: `name=file.npy`, `name=file.png` (or another picture, or DICOM), `name=file.nii.gz` (several files with
            commas between are the channels), `name=1.5,2,3`; for strings `name=text`.
        expected: the signature's inputs by name.

    Returns:
        The input's name, and its value with the signature's dtype and, by added axes of size 1, its number of axes.

    Raises:
        ValueError: if the name is unknown or the value cannot be read.
        OSError: if the file cannot be read.

    >>> info = TensorInfo(dtype=types_pb2.DT_FLOAT, tensor_shape={"dim": [{"size": -1}, {"size": 3}]})
    >>> read_input("angles=10,20,30", {"angles": info})
    ('angles', array([[10., 20., 30.]], dtype=float32))
    """
    name, equals, value = text.partition("=")
    if not equals or name not in expected:
        raise ValueError(f"`input` must be NAME=VALUE with NAME one of {sorted(expected)}. Received {text!r}.")
    info = expected[name]
    suffix = Path(value).suffix.lower()
    if info.dtype == types_pb2.DT_STRING:
        return name, _with_axes(np.array([value.encode()], object), info)
    dtype = WIRE[info.dtype].dtype
    if suffix == ".npy":
        return name, _with_axes(np.load(value).astype(dtype), info)
    if value.endswith(VOLUMES):
        return name, _with_axes(_volume(value, info).astype(dtype), info)
    if suffix in _PICTURES:
        return name, _with_axes(_picture(Path(value), dtype, info), info)
    try:
        numbers = np.array([float(number) for number in value.split(",")])
    except ValueError as error:
        kinds = ", ".join((".npy", *VOLUMES, *_PICTURES))
        raise ValueError(f"`input` {name} must be a file ({kinds}) or numbers. Received {value!r}.") from error
    return name, _with_axes(numbers.astype(dtype), info)


def to_json(array: np.ndarray) -> object:
    """Returns nested lists of numbers, or of `{"b64": ...}` for bytes.

    >>> to_json(np.array([b"abc"], object))
    [{'b64': 'YWJj'}]
    """
    if array.dtype != object:
        return array.astype(np.float64 if array.dtype.kind == "V" else array.dtype).tolist()
    if array.ndim == 0:
        return {"b64": base64.b64encode(array.item()).decode()}
    return [to_json(np.asarray(item, object)) for item in array]


def _picture(path: Path, dtype: np.dtype, info: TensorInfo) -> np.ndarray:
    """Reads a picture: its integers, or values in [0, 1] for a float input; with channels if four axes are expected."""
    sizes = [dim.size for dim in info.tensor_shape.dim]
    in_colour = sizes[-1:] == [3]
    if dtype.kind == "f" and not in_colour:
        pixels = read_image(path)
    else:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB") if in_colour else image)
        pixels = pixels / 255 if dtype.kind == "f" else pixels
    return (pixels[..., None] if pixels.ndim == 2 and len(sizes) == 4 else pixels).astype(dtype)


def _volume(value: str, info: TensorInfo) -> np.ndarray:
    """Reads a volume `(x, y, z)`, or several as channels on the first grid, axes along the patient."""
    volume = reorient(stack([read_channels(path, 1) for path in value.split(",")]), "RAS")
    return volume.array if len(info.tensor_shape.dim) > 3 else volume.array[..., 0]


def _with_axes(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    if info.tensor_shape.unknown_rank:
        return array
    rank = len(info.tensor_shape.dim)
    if rank == 0 and array.size == 1:
        return array.reshape(())
    return array.reshape((1,) * max(0, rank - array.ndim) + array.shape)
