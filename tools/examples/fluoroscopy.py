"""Asks a served model about real fluoroscopy frames of a guide wire and compares with the annotated centre line."""

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tfmedcai.data.images import read_image
from tfmedcai.geometry.crop import disturb, sample_disturbance
from tfmedcai.metrics.pose import axis_errors
from tfmedcai.metrics.statistics import summary_of
from tfmedcai.reports.overlay import Marks, overlay
from tfmedcai.serving.client import Client
from tfmedcai.serving.server import Server

DATA = Path(os.environ.get("TFMEDCAI_DATA", "../shared/data")) / "xray" / "hip_dhs_fluoroscopy"
ANNOTATED, UNANNOTATED = "IM-0001-0022", "IM-0001-0020"
RESOLUTION = 0.15  # mm/px handed in with the start pose, as for any C-arm image


def annotated_pose(wire: np.ndarray, resolution: float) -> np.ndarray:
    """Returns the image pose (1, 5) of an annotated wire (m, 2): its last point, the direction of the fitted line."""
    direction = np.linalg.svd(wire - wire.mean(axis=0), full_matrices=False)[2][0]
    direction *= np.sign(direction @ (wire[-1] - wire[0]))
    return np.array([[*wire[-1], math.atan2(-direction[1], direction[0]), 0.0, resolution]], np.float32)


def ask(client: Client, image: np.ndarray, start: np.ndarray, signature: str) -> np.ndarray:
    """Returns refined image poses (n, 5), rad, for start poses (n, 5), rad."""
    degrees = np.array([1, 1, 180 / math.pi, 180 / math.pi, 1], np.float32)
    answer = client.predict("pose", {"image": image[np.newaxis], "pose": start * degrees}, signature)
    return answer["pose"] / degrees


def main() -> None:
    """Serves the export on loopback, asks about both frames, prints errors as JSON lines, draws the median case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="run folder with an export")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the frames and annotations.json")
    parser.add_argument("--draws", type=int, default=20, help="disturbed start poses")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    frames = json.loads((given.data / "annotations.json").read_text())["frames"]
    note = frames[ANNOTATED]["Result"]["Wire"]
    wire, resolution = np.array(note["XY"], float), note["MM_Width"] / note["PX_Width"]
    truth = np.repeat(annotated_pose(wire, resolution), given.draws, axis=0)
    rotation, displacement = sample_disturbance((given.seed, 22), given.draws)
    start = disturb(truth, rotation, displacement).numpy()
    start[:, 4] = RESOLUTION
    with Server({"pose": given.run / "export"}) as server, Client(server.address) as client:
        for frame in (ANNOTATED, UNANNOTATED):
            image = read_image(given.data / f"{frame}.png")
            for name, signature in (("1", "one_iteration"), ("3", "serving_default")):
                found = ask(client, image, start, signature)
                print(json.dumps(described(frame, name, found, start, wire, resolution)), flush=True)
            annotation = wire if frame == ANNOTATED else None
            draw(given.run / f"fluoroscopy-{frame}.png", image, found, start, annotation, resolution)


def described(
    frame: str, iterations: str, found: np.ndarray, start: np.ndarray, wire: np.ndarray, resolution: float
) -> dict[str, Any]:
    """Returns errors against the annotation where there is one, else the spread over the start poses."""
    line: dict[str, Any] = {"frame": frame, "iterations": int(iterations), "draws": len(found)}
    if frame != ANNOTATED:
        angles = np.degrees(found[:, 2])
        line |= {"angle_deg": round(float(np.median(angles)), 2), "angle_std_deg": round(float(angles.std()), 2)}
        return line | {"position_std_mm": round(float(np.hypot(*found[:, :2].std(axis=0)) * resolution), 3)}
    for name, poses in (("start", start), ("found", found)):
        errors = [axis_errors(pose, wire, resolution) for pose in poses]
        line[name] = {key: summary_of([error[key] for error in errors]) for key in errors[0]}
    return line


def draw(
    path: Path, image: np.ndarray, found: np.ndarray, start: np.ndarray, wire: np.ndarray | None, resolution: float
) -> None:
    """Draws the case whose angle is the median of all."""
    chosen = np.argsort(found[:, 2])[len(found) // 2]
    marks = Marks(wire=wire, window_mm=24.0, axis_mm=(-10.0, 4.0))
    overlay(image, None, found[chosen], start[chosen], marks, path.stem).savefig(path, dpi=150)
    print(json.dumps({"picture": str(path)}))


if __name__ == "__main__":
    main()
