"""Reads and writes video through FFmpeg."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".mpg", ".mpeg", ".m4v", ".webm", ".wmv")
CODECS = ("libx264", "mpeg4")  # the first that is there


def frame_rate(path: Path | str) -> float:
    """Returns the frames a second of a video; 25 where the file does not say.

    Raises:
        ValueError: if the file cannot be read.
    """
    with _opened(path) as container:
        return float(container.streams.video[0].average_rate or 25)


def read_video(path: Path | str) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes a video frame by frame; damaged frames are left out with a warning.

    Args:
        path: a file, or the address of a stream.

    Yields:
        The number of the frame, from 0, which counts damaged ones; `(height, width, 3)` uint8, red, green, blue.

    Raises:
        ValueError: if the file is missing or is no video.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate, start, last, damaged = stream.average_rate, stream.start_time or 0, -1, 0
        has_times = bool(rate) and container.format.name != "avi"  # AVI has the order of coding only
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    damaged += 1
                    continue
                known = has_times and frame.pts is not None
                number = round((frame.pts - start) * frame.time_base * rate) if known else last + 1
                last = max(number, last + 1)  # a number is given once
                yield last, frame.to_ndarray(format="rgb24")
    if damaged:
        warnings.warn(f"{path}: {damaged} damaged frames are left out.", stacklevel=2)


def write_video(path: Path | str, frames: Iterable[np.ndarray], rate: float) -> int:
    """Encodes frames, as they come.

    Args:
        path: its suffix says the format: .mp4, .mkv, .avi, .mov.
        frames: `(height, width, 3)` uint8, red, green, blue, all of one size; of an odd size the last row or column is
            repeated, which the format needs.
        rate: frames a second.

    Returns:
        How many were written.

    Raises:
        ValueError: if a frame has another size than the first.
    """
    codec = next(name for name in CODECS if name in av.codecs_available)
    count, size = 0, None
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        for image in frames:
            if size is None:
                size = image.shape
                stream.height, stream.width, stream.pix_fmt = *(edge + edge % 2 for edge in size[:2]), "yuv420p"
                stream.options = {"crf": "20"} if codec == "libx264" else {}
            if image.shape != size:
                raise ValueError(f"All frames must have the shape of the first, {size}. Received {image.shape}.")
            even = np.pad(image, [(0, edge % 2) for edge in size[:2]] + [(0, 0)], mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            count += 1
        if count:
            container.mux(stream.encode())
    return count


def _opened(path: Path | str) -> av.container.InputContainer:
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path}: cannot read this video ({error}).") from error
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path}: has no pictures.")
    return container
