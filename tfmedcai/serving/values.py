"""Inputs as people write them, files and numbers, to the arrays that a signature expects, and arrays to JSON."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from tfmedcai.data.images import read_image
from tfmedcai.data.resampling import reorient, stack
from tfmedcai.data.volumes import SUFFIXES as VOLUMES
from tfmedcai.data.volumes import Volume, read_channels, write_volume
from tfmedcai.runs import write_whole
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


@dataclass(frozen=True)
class VolumeInput:
    """The first volume file among the inputs: answers are written on its grid.

    Attributes:
        sent: with the axes of the patient, as a server gets it.
        orientation: of the file.
    """

    sent: Volume
    orientation: str

    @classmethod
    def among(cls, texts: Iterable[str]) -> Self | None:
        """Finds it; None if no input is a volume.

        Args:
            texts: as `read_input` takes them.

        Returns:
            The volume.
        """
        values = [text.partition("=")[2].split(",")[0] for text in texts]
        found = next((value for value in values if value.endswith(VOLUMES)), None)
        volume = None if found is None else read_channels(found, 1)
        return None if volume is None else cls(reorient(volume), volume.orientation)

    @property
    def spacing(self) -> np.ndarray:
        """`(3,)` float32, mm along x, y and z of what a server is sent."""
        return np.array(self.sent.spacing, np.float32)

    def fits(self, array: np.ndarray) -> bool:
        """Says whether an output of any shape has a value for each voxel."""
        return array.dtype.kind in "iuf" and array.shape[:3] == self.sent.array.shape[:3]

    def write(self, path: Path, array: np.ndarray) -> None:
        """Writes an output `(x, y, z)` or `(x, y, z, channels)` as NIfTI on the grid of the file."""
        write_volume(path, reorient(self.sent.holding(array), self.orientation))


def write_outputs(outputs: Mapping[str, np.ndarray], folder: Path, volume: VolumeInput | None) -> dict[str, Path]:
    """Writes what a server answered.

    Args:
        outputs: name -> array.
        folder: where; it is made.
        volume: the volume that was asked about, if there was one.

    Returns:
        Name -> file: NIfTI for what has a value for each voxel of the volume, else .npy.

    Raises:
        ValueError: if the place cannot be written to.
    """
    written = {}
    for name, array in sorted(outputs.items()):
        if volume is not None and volume.fits(array):
            written[name] = folder / f"{name}.nii.gz"
            volume.write(written[name], array)
        else:
            written[name] = folder / f"{name}.npy"
            plain = array.astype(str) if array.dtype == object else array
            write_whole(written[name], lambda path, plain=plain: np.save(path, plain))
    return written


def to_json(array: np.ndarray) -> object:
    """Returns an array of any shape as nested lists of numbers, or of `{"b64": ...}` for bytes.

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
    volume = reorient(stack([read_channels(path, 1) for path in value.split(",")]))
    return volume.array if len(info.tensor_shape.dim) > 3 else volume.array[..., 0]


def _with_axes(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    if info.tensor_shape.unknown_rank:
        return array
    rank = len(info.tensor_shape.dim)
    if rank == 0 and array.size == 1:
        return array.reshape(())
    return array.reshape((1,) * max(0, rank - array.ndim) + array.shape)
