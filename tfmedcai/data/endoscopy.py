"""Layouts of annotated surgical video: retinal microsurgery, laparoscopy, EndoVis'15, and plain folders."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmedcai.data.frames import JAWS, NOWHERE, SHAFT, Frame, pictures_in
from tfmedcai.data.video import SUFFIXES as VIDEOS
from tfmedcai.geometry.capsules import Part

RETINAL_JOINTS = ("shaft", "joint", "tip_1", "tip_2")
ENDOVIS_JOINTS = ("LeftClasperPoint", "RightClasperPoint", "HeadPoint", "ShaftPoint", "TrackedPoint", "EndPoint")
SIDES = ("left", "right")
LAPAROSCOPY = re.compile(r"<PositionIndex>\s*(\d+)\s*</PositionIndex>|<tool>([^<]*)</tool>")
Point = Sequence[float]


@dataclass(frozen=True)
class Widths:
    """How thick instruments are, in px of the frames, where masks are made from joints; 0 makes no masks.

    A shaft is drawn from its beginning to the joint, a jaw from the joint to its tip, with round ends.
    """

    # Width of a shaft.
    shaft: float = 0.0
    # Width of a jaw.
    jaw: float = 0.0

    def parts(
        self, shafts: Sequence[tuple[Point, Point]], jaws: Sequence[tuple[Point, Point]]
    ) -> tuple[Part, ...] | None:
        """Returns what a mask is drawn from; None if there is a part without a width."""
        if not self.shaft:
            return None
        jaws = jaws if self.jaw else ()
        return (
            *(Part(SHAFT, start, end, self.shaft) for start, end in shafts),
            *(Part(JAWS, start, end, self.jaw) for start, end in jaws),
        )


def retinal(folder: Path, widths: Widths = Widths()) -> list[Frame]:
    """Finds the frames of Retinal Microsurgery Instrument Tracking.

    Args:
        folder: has a folder of pictures and a file `<name>_joints.txt` for each sequence; a picture is named by the
            number of its frame.
        widths: for masks.

    Returns:
        Frames with the joints shaft, joint, tip_1 and tip_2; all are absent where the file says -1.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if a line has another number of values; the message names it.

    Reference:
        Sznitman et al., Data-driven visual tracking in retinal microsurgery, MICCAI 2012.
    """
    frames = []
    for file in _files(folder, "*_joints.txt"):
        sequence = file.name.removesuffix("_joints.txt")
        lines = enumerate(file.read_text().splitlines(), start=1)
        points = dict(_retinal_line(file, number, line) for number, line in lines if line.strip())
        for picture in pictures_in(folder / sequence):
            if int(picture.stem) in points:
                places = points[int(picture.stem)]
                shaft, joint, *tips = places.values()
                parts = widths.parts([(shaft, joint)], [(joint, tip) for tip in tips])
                frames.append(Frame(sequence, sequence, int(picture.stem), picture, places, parts))
    return frames


def _retinal_line(file: Path, line: int, text: str) -> tuple[int, dict[str, Point]]:
    words = text.split()
    if len(words) != 1 + 2 * len(RETINAL_JOINTS):
        raise ValueError(
            f"{file}, line {line}: must be a frame and row and column of {len(RETINAL_JOINTS)} joints. "
            f"Received {len(words)} values."
        )
    number, *values = (int(float(word)) for word in words)
    pairs = [(column, row) for row, column in zip(values[::2], values[1::2], strict=True)]
    return number, dict(zip(RETINAL_JOINTS, [NOWHERE if min(pair) < 0 else pair for pair in pairs], strict=True))


def laparoscopy(folder: Path, widths: Widths = Widths()) -> list[Frame]:
    """Finds the frames of in-vivo laparoscopy with one or two instruments.

    Args:
        folder: has `<name>.xml` and a folder of pictures for each sequence; a tool is row, column, length and angle.
        widths: for masks, of shafts; jaws are not annotated.

    Returns:
        Frames with the joints left and right, between shaft and jaws of the instrument that comes from there.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if a file is damaged or a tool has another number of values.
    """
    frames = []
    for file in _files(folder, "*.xml"):
        tools: dict[int, list[tuple[Point, Point]]] = {}
        current: list[tuple[Point, Point]] = []
        # The published files are no well-formed XML: some frames are not closed.
        for index, tool in LAPAROSCOPY.findall(file.read_text()):
            if index:
                tools[int(index)] = current = []
            else:
                current.append(_tool(file, tool))
        if not tools:
            raise ValueError(f"{file}: must have frames with a <PositionIndex>. Received none.")
        for picture in pictures_in(folder / file.stem):
            if (number := int(picture.stem)) in tools:
                places = by_side({end: begin for begin, end in tools[number]})
                joints = {side: NOWHERE if joint is None else joint for side, joint in places.items()}
                parts = widths.parts([(begin, joint) for begin, joint in tools[number]], ())
                frames.append(Frame(file.stem, file.stem, number, picture, joints, parts))
    return frames


def _tool(file: Path, text: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns where the shaft begins, and the joint where it ends."""
    words = text.split()
    if len(words) != 4:
        raise ValueError(f"{file}: a tool must be row, column, length and angle. Received `{text}`.")
    row, column, length, angle = map(float, words)
    return (column + length * math.cos(angle), row + length * math.sin(angle)), (column, row)


def by_side(shafts: dict[Point, Point]) -> dict[str, Point | None]:
    """Tells the left from the right instrument.

    Args:
        shafts: joint of each instrument -> a place further back on its shaft, both x and y in px; two at most count.

    Returns:
        "left" and "right" -> joint, or None. A single instrument belongs to the side that it comes from; of two, the
        one that comes from further left is the left one.

    >>> by_side({(50, 9): (90, 9)}), by_side({(50, 9): (90, 9), (70, 9): (95, 30)})
    ({'left': None, 'right': (50, 9)}, {'left': (50, 9), 'right': (70, 9)})
    """
    ordered = sorted(shafts, key=lambda joint: shafts[joint][0])
    if len(ordered) > 1:
        return {"left": ordered[0], "right": ordered[-1]}
    side = SIDES[shafts[ordered[0]][0] > ordered[0][0]] if ordered else None
    return {name: ordered[0] if name == side else None for name in SIDES}


def endovis(folder: Path, widths: Widths = Widths()) -> list[Frame]:
    """Finds the annotated frames of the EndoVis'15 tracking challenge with its multi-joint labels.

    Args:
        folder: has `<name>_labels.json`, and beside it a folder `<name>` with the pictures that the file names, or a
            video `<name>` with as many frames.
        widths: for masks.

    Returns:
        Frames with the joints left.TrackedPoint, right.HeadPoint and so on, by the side that an instrument comes from.
        Frames without labels, four in five, are left out.

    Raises:
        FileNotFoundError: if there are no labels, or no pictures beside them.
        ValueError: if a file is damaged.

    Reference:
        Du et al., Articulated multi-instrument 2-D pose estimation, IEEE Transactions on Medical Imaging 2018.
    """
    frames = []
    for file in _files(folder, "*_labels.json"):
        sequence = file.name.removesuffix("_labels.json")
        try:
            entries = json.loads(file.read_text())
            labelled = {number: _tools(entry["annotations"]) for number, entry in enumerate(entries)}
            names = [Path(entry["filename"]).name for entry in entries]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{file}: must be a list of images with annotations ({error!r}).") from error
        video = _video(folder, sequence)
        for number, tools in labelled.items():
            if tools:
                image = video or folder / sequence / names[number]
                frames.append(Frame(sequence, sequence, number, image, *_endovis_joints(tools, widths)))
    return frames


def _tools(annotations: list[dict]) -> list[dict[str, Point]]:
    """Gathers the points by instrument; a point without a name goes to the one that lacks it."""
    tools: dict[str, dict[str, Point]] = {}
    for point in annotations:
        if point.get("id"):
            tools.setdefault(point["id"], {})[point["class"]] = (point["x"], point["y"])
    for point in annotations:
        lacking = [tool for tool in tools.values() if point["class"] not in tool]
        if not point.get("id") and len(lacking) == 1:
            lacking[0][point["class"]] = (point["x"], point["y"])
    return list(tools.values())


def _endovis_joints(tools: list[dict[str, Point]], widths: Widths) -> tuple[dict[str, Point], tuple[Part, ...] | None]:
    shafts, jaws, ends = [], [], {}
    for number, tool in enumerate(tools):
        head = tool.get("HeadPoint", tool.get("ShaftPoint"))
        back = tool.get("EndPoint", tool.get("TrackedPoint"))
        if head is None or back is None:
            continue
        ends[(*head, number)] = back
        shafts.append((back, tool.get("ShaftPoint", head)))
        jaws.append((tool.get("ShaftPoint", head), head))
        jaws += [(head, tool[tip]) for tip in ENDOVIS_JOINTS[:2] if tip in tool]
    joints: dict[str, Point] = {}
    for side, found in by_side(ends).items():
        own = {name: NOWHERE for name in ENDOVIS_JOINTS} if found is None else tools[int(found[2])]
        joints |= {f"{side}.{name}": place for name, place in own.items()}
    return joints, widths.parts(shafts, jaws)


def plain(folder: Path) -> list[Frame]:
    """Finds the frames of sequences in plain folders.

    Args:
        folder: has `<name>.csv` for each sequence, with the columns frame, joint, x and y (px; empty: not in the
            picture), as predictions are written too; beside it a folder `<name>` of pictures, of which frame n is the
            n-th by name, from 0, or a video `<name>`. Masks lie as `<name>_masks/<frame>.png`, where there are any,
            named as the pictures or by the number of the frame.

    Returns:
        Frames with the joints that the file names.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if a column is missing or a value is no number.
    """
    frames = []
    for file in _files(folder, "*.csv"):
        points = _plain_points(file)
        video = _video(folder, file.stem)
        pictures = [] if video else pictures_in(folder / file.stem)
        for number, joints in points.items():
            if not video and not 0 <= number < len(pictures):
                raise ValueError(f"{file}: frame {number} is not among the {len(pictures)} pictures.")
            image = video or pictures[number]
            masks = [folder / f"{file.stem}_masks" / f"{name}.png" for name in (image.stem, number)]
            mask = next((mask for mask in masks if mask.exists()), None)
            frames.append(Frame(file.stem, file.stem, number, image, joints, mask=mask))
    return frames


def _plain_points(file: Path) -> dict[int, dict[str, Point]]:
    points: dict[int, dict[str, Point]] = {}
    with file.open(newline="") as rows:
        for line, row in enumerate(csv.DictReader(rows), start=2):
            try:
                place = tuple(float(row[axis]) if row[axis] else math.nan for axis in ("x", "y"))
                points.setdefault(int(row["frame"]), {})[row["joint"]] = place
            except (KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{file}, line {line}: must have frame, joint, x and y ({error!r}).") from error
    return points


LAYOUTS = {
    "retinal": retinal,
    "laparoscopy": laparoscopy,
    "endovis": endovis,
    "plain": lambda folder, widths: plain(folder),
}


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder}: must hold files {pattern}. Check the path and the layout.")
    return found


def _video(folder: Path, name: str) -> Path | None:
    return next((path for suffix in VIDEOS if (path := folder / f"{name}{suffix}").exists()), None)
