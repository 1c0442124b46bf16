"""Follows instruments through a video or pictures: joints as CSV, frames with what was found, frames a second."""

import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfmedcai.config import TrackingSettings
from tfmedcai.data.frames import PICTURES, Frame, pictures_in, read_frames, read_picture
from tfmedcai.data.video import SUFFIXES as VIDEOS
from tfmedcai.data.video import frame_rate, read_video, write_video
from tfmedcai.reports.frames import marked
from tfmedcai.runs import write_whole

RATE = 25.0  # frames a second of a video made of pictures
COLUMNS = ("frame", "joint", "x", "y", "confidence")
Tracker = Callable[[np.ndarray], dict[str, np.ndarray]]


def follow(tracker: Tracker, path: Path, output: Path, tracking: TrackingSettings) -> dict[str, Any]:
    """Tracks every frame of a file and writes what was found.

    Args:
        tracker: `(1, height, width, 3)` uint8 -> "joints", "confidence" and, where there is one, "mask", in px of it.
        path: a video, a folder of pictures, or one picture.
        output: folder for `<name>_joints.csv` (frame, joint, x, y, confidence; empty where a joint is not there) and
            `<name>_tracked.mp4` or `.png`.
        tracking: names of the joints and the confidence below which one is not there.

    Returns:
        The paths, how many frames, and how many a second: of the network alone, and with decoding, drawing and writing.

    Raises:
        ValueError: if the file cannot be read or holds no frame.
    """
    single = path.suffix.lower() in PICTURES
    joints_file = output / f"{path.stem}_joints.csv"
    picture = output / f"{path.stem}_tracked{'.png' if single else '.mp4'}"
    rows: list[tuple[Any, ...]] = []
    seconds = {"network": 0.0}

    def drawn() -> Iterator[np.ndarray]:
        for number, image in _frames(path):
            began = time.perf_counter()
            found = {name: array[0] for name, array in tracker(image[np.newaxis]).items()}
            # The first frame waits for the graph to be built.
            seconds["network"] += time.perf_counter() - began if rows else 0.0
            sure = found["confidence"] >= tracking.confidence
            places = np.where(sure[:, np.newaxis], found["joints"], np.nan)
            rows.extend(_rows(number, tracking.joints, places, found["confidence"]))
            yield marked(image, places, found.get("mask"))

    began = time.perf_counter()
    if single:
        image = next(drawn())
        write_whole(picture, lambda temporary: Image.fromarray(image).save(temporary, format="PNG"))
    else:
        rate = frame_rate(path) if path.is_file() else RATE
        write_whole(picture, lambda temporary: write_video(temporary, drawn(), rate))
    whole = time.perf_counter() - began
    count = len(rows) // len(tracking.joints)
    write_whole(joints_file, lambda temporary: _write(temporary, rows))
    answer = {"image": str(path), "frames": count, "joints": str(joints_file), "picture": str(picture)}
    if count > 1:
        speed = {"network": (count - 1) / seconds["network"], "all": count / whole}
        answer["frames_per_second"] = {name: round(value, 2) for name, value in speed.items()}
    return answer


def _frames(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yields number and picture; what is damaged is left out with a warning."""
    if path.is_dir():
        pictures = [Frame(path.name, path.name, number, file) for number, file in enumerate(pictures_in(path))]
        size: tuple[int, ...] | None = None
        for frame, image in read_frames(pictures):
            size = size or image.shape
            if image.shape != size:
                raise ValueError(f"{frame.image}: must have the size of the first picture, {size[1]} x {size[0]} px.")
            yield frame.number, image
    elif path.suffix.lower() in PICTURES:
        yield 0, read_picture(path)
    elif path.suffix.lower() in VIDEOS:
        yield from read_video(path)
    else:
        raise ValueError(f"{path}: must be a video ({', '.join(VIDEOS)}), a picture or a folder of pictures.")


def _rows(number: int, names: tuple[str, ...], places: np.ndarray, confidence: np.ndarray) -> Iterator[tuple[Any, ...]]:
    for name, (x, y), sure in zip(names, places.tolist(), confidence.tolist(), strict=True):
        where = ("", "") if np.isnan(x) else (round(x, 2), round(y, 2))
        yield (number, name, *where, round(sure, 4))


def _write(path: Path, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        raise ValueError("there is no frame that could be read.")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
