"""Annotated frames of surgical video: what is known of each, and reading their pictures, masks and joints."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfmedcai.data.video import SUFFIXES as VIDEOS
from tfmedcai.data.video import read_video
from tfmedcai.geometry.capsules import Part, drawn

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
UNKNOWN = 255  # class of a pixel that nobody looked at
NOWHERE = (float("nan"), float("nan"))
SHAFT, JAWS = 1, 2  # labels of masks that are drawn from joints


@dataclass(frozen=True)
class Frame:
    """One annotated frame.

    Attributes:
        sequence: name of the video that it belongs to.
        group: surgery, patient or kind of instrument, for splits that leave one out.
        number: of the frame in its sequence, in the order of time.
        image: picture file, or a video in which it is the frame `number`.
        points: name of a joint -> x and y in px, pixel centres at integers; NaN for one that is not in the picture. A
            joint that is not named here was not looked for.
        parts: what the mask is drawn from; None where masks are unknown, unless there is a file.
        mask: picture file of labels.
    """

    sequence: str
    group: str
    number: int
    image: Path
    points: Mapping[str, Sequence[float]] = field(default_factory=dict)
    parts: tuple[Part, ...] | None = None
    mask: Path | None = None

    def places(self, names: Sequence[str], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the joints in a fixed order.

        Args:
            names: of the joints.
            size: height and width of the picture: a joint outside it is not in the picture.

        Returns:
            `(names, 2)` float32 x and y in px, NaN where a joint is not in the picture or was not looked for; and
            `(names,)` bool, whether it was looked for.
        """
        places = np.array([self.points.get(name, NOWHERE) for name in names], np.float32).reshape(-1, 2)
        inside = np.all((places > -0.5) & (places < np.array(size[::-1]) - 0.5), axis=-1, keepdims=True)
        return np.where(inside, places, np.float32(np.nan)), np.isin(names, list(self.points))

    def labels(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the label of every pixel of a picture of a size, `(height, width)` uint8; `UNKNOWN` without a mask.

        Raises:
            ValueError: if the file cannot be read, has colours or another size.
        """
        if self.mask is None:
            return drawn(self.parts, size) if self.parts is not None else np.full(size, UNKNOWN, np.uint8)
        labels = np.asarray(_opened(self.mask))
        if labels.shape != size or labels.dtype != np.uint8:
            raise ValueError(
                f"{self.mask}: must be a grey 8-bit picture of {size[1]} x {size[0]} px whose values are labels. "
                f"Received shape {labels.shape}, type {labels.dtype}."
            )
        return labels


def read_picture(path: Path) -> np.ndarray:
    """Reads a picture as colours: grey ones are repeated, alpha is dropped.

    Returns:
        `(height, width, 3)` uint8, red, green, blue.

    Raises:
        ValueError: if the file is missing or damaged; the message names it.
    """
    picture = _opened(path)
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return np.repeat(np.asarray(picture, np.float32)[..., np.newaxis] / 257, 3, -1).clip(0, 255).astype(np.uint8)
    return np.asarray(picture.convert("RGB"))


def read_frames(frames: Iterable[Frame]) -> Iterator[tuple[Frame, np.ndarray]]:
    """Reads the pictures of frames, those of a video in one pass; what cannot be read is left out with a warning.

    Args:
        frames: in any order.

    Yields:
        A frame and its picture `(height, width, 3)` uint8; the frames of a video in the order of time.
    """
    of_videos: dict[Path, dict[int, Frame]] = {}
    for frame in frames:
        if frame.image.suffix.lower() in VIDEOS:
            of_videos.setdefault(frame.image, {})[frame.number] = frame
            continue
        try:
            yield frame, read_picture(frame.image)
        except ValueError as error:
            warnings.warn(f"{error} The frame is left out.", stacklevel=2)
    for path, wanted in of_videos.items():
        for number, image in read_video(path):
            if number in wanted:
                yield wanted.pop(number), image
            if not wanted:
                break
        if wanted:
            warnings.warn(f"{path}: frames {sorted(wanted)} are not there or damaged. They are left out.", stacklevel=2)


def pictures_in(folder: Path) -> list[Path]:
    """Returns the pictures in a folder, by name.

    Raises:
        FileNotFoundError: if the folder is missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of frames. Check the path.")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot read this picture ({error}).") from error
