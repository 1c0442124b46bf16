"""Writes what a registration came to: the pose, its way there, and pictures of both."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfmedcai.config.registration import RegisterSettings
from tfmedcai.data.files import write_whole
from tfmedcai.data.poses import write_pose
from tfmedcai.data.radiographs import write_radiograph
from tfmedcai.metrics.registration import SUCCESS_MM, registration_errors
from tfmedcai.reports.registration_figures import convergence
from tfmedcai.reports.registration_overlay import course_frames, overlay_edges
from tfmedcai.tasks.registration_case import Case
from tfmedcai.tasks.registration_stages import Found, Trace

FRAME_MS = 120  # that a picture of the animation is shown
POSE = tuple(f"rotation_{axis}_deg" for axis in "xyz") + tuple(f"translation_{axis}_mm" for axis in "xyz")


def errors_of(case: Case, poses: np.ndarray, settings: RegisterSettings) -> dict[str, np.ndarray]:
    """Measures poses against the true one of a case.

    Args:
        case: with its truth, else there are none.
        poses: `(n, 6)`.
        settings: how many places of the structures count.

    Returns:
        See `metrics.registration.registration_errors`; nothing without a truth.
    """
    if case.truth is None:
        return {}
    points, camera = case.problem.anatomy.points(count=settings.points), case.problem.views[0].radiograph.camera
    return registration_errors(poses, np.tile(case.truth, (len(poses), 1)), points, camera)


def summary_of(
    case: Case, found: Sequence[Found], settings: RegisterSettings, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Puts into plain values what a registration came to.

    Args:
        case: the case.
        found: of all starts, the best first.
        settings: see `errors_of`.
        warnings: that came up.

    Returns:
        JSON types.
    """
    best = found[0]
    errors = errors_of(case, np.stack([best.start, best.pose]), settings)
    return {
        "pose": dict(zip(POSE, _degrees(best.pose), strict=True)),
        "cost": best.cost,
        "stages": [
            {"stage": trace.stage, "cost": trace.cost, "steps": len(trace.costs), "seconds": round(trace.seconds, 3)}
            for trace in best.traces
        ],
        "seconds": round(sum(trace.seconds for one in found for trace in one.traces), 3),
        "costs_of_starts": [one.cost for one in found],
        "errors": {name: _plain(values[1]) for name, values in errors.items()},
        "errors_at_start": {name: _plain(values[0]) for name, values in errors.items()},
        "warnings": list(warnings),
    }


def write_output(
    folder: Path, case: Case, found: Sequence[Found], settings: RegisterSettings, summary: dict[str, Any]
) -> None:
    """Writes a registration into a folder, each file whole or not at all.

    pose.json, result.json, trajectory.csv, drr.png, overlay.png, convergence.png, course.gif, and errors.png with a
    truth; of several views drr_1.png, overlay_1.png, course_1.gif and so on.

    Args:
        folder: is made.
        case: the case.
        found: of all starts, the best first.
        settings: how many pictures the animation has, and the resolution.
        summary: from `summary_of`.

    Raises:
        ValueError: if the folder cannot be written to.
    """
    best, problem = found[0], case.problem
    way = np.concatenate([best.start[np.newaxis], *(trace.poses for trace in best.traces)])
    names = ["start", *(trace.stage for trace in best.traces for _ in trace.poses)]
    errors = errors_of(case, way, settings).get("mean_tre_mm")
    _text(folder / "result.json", json.dumps(summary, indent=1) + "\n")
    _write_trajectory(folder / "trajectory.csv", names, way, best.traces, errors)
    _figure(folder / "convergence.png", convergence({t.stage: t.costs for t in best.traces}, "cost"))
    if errors is not None:
        places = {name: [i for i, other in enumerate(names) if other == name] for name in names[1:]}
        courses = {name: errors[rows] for name, rows in places.items()}
        label = "mean target registration error [mm]"
        _figure(folder / "errors.png", convergence(courses, label, limit=SUCCESS_MM))
    level = problem.level(settings.polish.size, settings.polish.voxel_mm)
    shown = np.unique(np.linspace(0, len(way) - 1, max(settings.frames, 1)).astype(int))
    rendered = level.images(np.concatenate([best.pose[np.newaxis], way[shown] if settings.frames else way[:0]]))
    for number, (view, drrs) in enumerate(zip(level.views, rendered, strict=True), start=1):
        mark = f"_{number}" if len(rendered) > 1 else ""
        write_radiograph(folder / f"drr{mark}.png", drrs[0])
        picture = Image.fromarray(overlay_edges(view.radiograph.image, drrs[0]))
        write_whole(folder / f"overlay{mark}.png", picture.save)
        if settings.frames:
            labels = [f"{names[step]} {step}" for step in shown]
            _animate(folder / f"course{mark}.gif", course_frames(view.radiograph.image, drrs[1:], labels))
    write_pose(folder / "pose.json", best.pose, problem.anatomy.patient_from_volume)


def _write_trajectory(
    path: Path, names: Sequence[str], way: np.ndarray, traces: Sequence[Trace], errors: np.ndarray | None
) -> None:
    costs = ["", *(float(cost) for trace in traces for cost in trace.costs)]
    rows = [
        [step, name, cost, *_degrees(pose)]
        for step, (name, cost, pose) in enumerate(zip(names, costs, way, strict=True))
    ]
    header = ["step", "stage", "cost", *POSE]
    if errors is not None:
        header.append("mean_tre_mm")
        rows = [[*row, _plain(error)] for row, error in zip(rows, errors, strict=True)]
    write_table(path, header, rows)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a CSV file, whole or not at all.

    Args:
        path: the file.
        header: names of the columns.
        rows: a value for each column.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])

    write_whole(path, write)


def write_batch(path: Path, summaries: Sequence[dict[str, Any]]) -> None:
    """Writes a table of registrations: name, error, pose, cost, seconds, errors where a truth was given.

    Args:
        path: CSV file.
        summaries: from `summary_of`, with "name", and of failures "name" and "error".

    Raises:
        ValueError: if the place cannot be written to.
    """
    measured = list(dict.fromkeys(name for one in summaries for name in one.get("errors", {})))
    header = ["name", "error", *POSE, "cost", "seconds", "warnings", *(f"error_{name}" for name in measured)]
    rows = []
    for one in summaries:
        pose, errors = one.get("pose", {}), one.get("errors", {})
        rows.append([one["name"], one.get("error", ""), *(pose.get(name) for name in POSE)])
        rows[-1] += [one.get("cost"), one.get("seconds"), " ".join(one.get("warnings", ()))]
        rows[-1] += [errors.get(name) for name in measured]
    write_table(path, header, rows)


def _animate(path: Path, frames: Any) -> None:
    first, *others = (Image.fromarray(frame).quantize(64) for frame in frames)
    # The last picture stays, since that is the answer.
    times = [*itertools.repeat(FRAME_MS, len(others)), 10 * FRAME_MS]
    write_whole(
        path, lambda temporary: first.save(temporary, save_all=True, append_images=others, duration=times, loop=0)
    )


def _figure(path: Path, figure: Any) -> None:
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=150))


def _text(path: Path, text: str) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _degrees(pose: np.ndarray) -> list[float]:
    return [*np.degrees(pose[:3]).tolist(), *np.asarray(pose[3:], float).tolist()]


def _plain(value: float) -> float | None:
    """JSON knows no infinity: None."""
    return float(value) if np.isfinite(value) else None
