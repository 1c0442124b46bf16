"""Evaluates registration networks beside methods that learn nothing: cases, stages, errors and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfmedcai.config import RegistrationSettings
from tfmedcai.config.registration import CaseFiles, RegisterSettings
from tfmedcai.data.anatomy import Anatomy
from tfmedcai.data.radiographs import Radiograph
from tfmedcai.geometry.pose_samples import sample_moving, sample_starts, sample_targets, starts_at
from tfmedcai.geometry.rigid import compose
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.metrics.registration import registration_errors, success_rate
from tfmedcai.metrics.statistics import fingerprint, summary_of
from tfmedcai.reports.document import Picture
from tfmedcai.reports.registration_figures import success_figure
from tfmedcai.reports.registration_overlay import overlay_edges
from tfmedcai.tasks.registration_data import attenuations, camera_of
from tfmedcai.tasks.registration_problem import Cost, Problem, View
from tfmedcai.tasks.registration_stages import Stage, descent_stage, evolution_stage
from tfmedcai.tasks.registration_study import POSES, studied, study_pictures
from tfmedcai.tasks.task import MEASURED_ON, OF_ALL, Follow, unseen

NETWORK, ALONE = "network", {"cma_es": "patch_gradient_ncc", "descent": "gradient_ncc"}
METRICS = ("mean_tre_mm", "rotation_deg", "in_plane_mm", "depth_mm")
ANYWHERE = "anywhere"  # starts of the paper's full range, about zero and not about the target
AXES = tuple(f"{kind}_{axis}_{unit}" for kind, unit in (("rotation", "deg"), ("translation", "mm")) for axis in "xyz")


class Trials:
    """Cases of the evaluation, the same for every network, and what other methods make of them.

    Args:
        subjects: patients that nothing was learnt from.
        registration: the settings of the task.
        registering: those of the stages.
        seed: of poses.
    """

    def __init__(
        self, subjects: Sequence[Anatomy], registration: RegistrationSettings, registering: RegisterSettings, seed: int
    ):
        self.registration, self.registering, self.camera = registration, registering, camera_of(registration)
        self.followed: Follow = unseen
        cases, magnitudes = registration.evaluation_cases, registration.magnitudes
        self.groups = (*(f"{magnitude:g}" for magnitude in magnitudes), ANYWHERE)
        self.group = np.repeat(self.groups, cases)
        numbers = np.arange(len(self.group)) % cases % len(subjects)
        reach = [*np.radians([registration.target_deg] * 3), *[registration.target_mm] * 3]
        targets = sample_targets(cases, (seed, 1), reach)
        far = tf.repeat(tf.constant(magnitudes, tf.float32), cases)
        near = starts_at(tf.tile(targets, [len(magnitudes), 1]), (seed, 2), far * np.pi / 180, far)
        self.starts = tf.concat([near, sample_starts(cases, (seed, 3))], axis=0).numpy()
        self.truth = np.tile(targets, (len(self.groups), 1))
        self.subjects = [subjects[int(number)] for number in numbers]
        self.points = np.stack([subject.points(count=registration.points) for subject in self.subjects])

    @cached_property
    def problems(self) -> list[Problem]:
        """One for each case."""
        registration, camera = self.registration, self.camera
        project = ProjectiveSpatialTransformer(camera, (registration.spacing_mm,) * 3, differentiable=False)
        made = {}
        for subject, pose in zip(self.subjects, self.truth, strict=True):
            key = (subject.name, *pose)
            if key not in made:
                image = project([attenuations([subject], registration.target), pose[np.newaxis]])[0, ..., 0].numpy()
                shown = subject if registration.moving == "full" else _masked(subject)
                made[key] = Problem(shown, (View(Radiograph(image, camera, None, subject.name)),))
        return [made[subject.name, *pose] for subject, pose in zip(self.subjects, self.truth, strict=True)]

    @cached_property
    def alone(self) -> dict[str, np.ndarray]:
        """What methods without a network come to: name -> poses `(cases, 6)`."""
        makers = {"cma_es": evolution_stage, "descent": descent_stage}
        return {
            name: self.solved(makers[name](self.registering, ALONE[name]), self.starts, name)
            for name in self.registration.beside
        }

    def solved(self, stage: Stage, starts: np.ndarray, method: str) -> np.ndarray:
        """Registers all cases by a stage.

        Args:
            stage: what each case goes through.
            starts: `(cases, 6)`, rotation vector in rad, translation in mm.
            method: its name, for whoever follows.

        Returns:
            Poses `(cases, 6)`.
        """
        cases = self.followed([*zip(self.problems, starts, strict=True)], f"registrations by {method}")
        return np.stack([stage(problem, start).pose for problem, start in cases])

    def errors(self, found: np.ndarray) -> dict[str, np.ndarray]:
        """Measures poses `(cases, 6)`."""
        return registration_errors(found, self.truth, self.points, self.camera, self.registration.normaliser_mm)


def evaluated(
    trials: Trials, stage: Stage, learned: Callable[[Problem], Cost] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Registers the cases by a network, alone and before CMA-ES, and measures it and the methods beside it.

    Args:
        trials: the cases.
        stage: of the network.
        learned: what the network says of poses of a case; None if it regresses.

    Returns:
        Summary and arrays of an `Evaluation`; groups are start magnitudes, in deg and mm at once, and methods. A
        success is a mean target registration error below 10 mm.
    """
    registration, registering = trials.registration, trials.registering
    found = {NETWORK: trials.solved(stage, trials.starts, NETWORK)}
    if "cma_es" in registration.beside:
        after = evolution_stage(registering, ALONE["cma_es"])
        found[f"{NETWORK}, cma_es"] = trials.solved(after, found[NETWORK], f"{NETWORK}, then cma_es")
    found |= trials.alone
    errors = {method: trials.errors(poses) for method, poses in found.items()}
    groups, success = {}, {}
    for method, values in errors.items():
        for start in trials.groups:
            chosen, group = trials.group == start, start + (method != NETWORK) * f", {method}"
            groups[group] = {name: summary_of(values[name][chosen]) for name in METRICS}
            groups[group] |= {name: summary_of(np.abs(values[name][chosen])) for name in AXES}
            success[group] = success_rate(values["mean_tre_mm"][chosen])
    study = _studied(trials, errors[NETWORK]["mean_tre_mm"], learned)
    correlation = dict(zip(study["study"].tolist(), study["correlations"].tolist(), strict=True))
    summary = {"cases": len(trials.truth), "groups": groups, "success": success, "correlation": correlation}
    summary[MEASURED_ON] = fingerprint(trials.truth, trials.starts, trials.points)
    arrays = {OF_ALL + name: errors[NETWORK][name] for name in METRICS} | study
    arrays |= {"methods": np.array(list(errors)), "starts_at": trials.group}
    arrays["tre_mm"] = np.stack([values["mean_tre_mm"] for values in errors.values()])
    return summary, _pictured(trials, found[NETWORK], errors[NETWORK]["mean_tre_mm"]) | arrays


def _studied(trials: Trials, errors: np.ndarray, learned: Callable[[Problem], Cost] | None) -> dict[str, np.ndarray]:
    """Studies costs at the median case, as far around the truth as training moves."""
    registration, table = trials.registration, trials.registering.descent
    case = int(np.argsort(errors)[len(errors) // 2])
    problem, truth = trials.problems[case], trials.truth[case]
    level = problem.level(table.size, table.voxel_mm)
    costs = {} if learned is None else {NETWORK: learned(problem)}
    costs |= {name: level.cost(name, table.patch_px) for name in ALONE.values()}
    reach = np.array([*np.radians([registration.moving_deg] * 3), *registration.moving_mm])
    poses = compose(truth, sample_moving(POSES, (0, 0), reach)).numpy()
    return studied(costs, truth, reach, poses, registration.normaliser_mm)


def pictures(cases: Mapping[str, np.ndarray]) -> list[Picture]:
    """Draws the chosen cases of an evaluation."""
    drawn = []
    for place, label in enumerate(cases["label"]):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained", facecolor="white")
        for axes, name in zip(figure.subplots(1, 2), ("start", "found"), strict=True):
            axes.imshow(overlay_edges(cases["image"][place], cases[name][place]))
            axes.set(xticks=[], yticks=[], title=name)
        title = f"{label}: mean target registration error {cases['mean_tre_mm'][place]:.1f} mm"
        alt = f"X-ray image of the {label} case with edges of the rendering, at the start and as found."
        drawn.append(Picture(figure, f"{title}. Edges of the rendering over the X-ray image.", alt, bitmap=True))
    return [*drawn, _success(cases), *study_pictures(cases)]


def _success(cases: Mapping[str, np.ndarray]) -> Picture:
    """Draws how many registrations succeed over how far off they start."""
    rates = {
        str(method): {
            float(start): success_rate(values[cases["starts_at"] == start])
            for start in np.unique(cases["starts_at"])
            if start != ANYWHERE
        }
        for method, values in zip(cases["methods"], cases["tre_mm"], strict=True)
    }
    caption = "Registrations that ended with a mean target registration error below 10 mm, with 95 % intervals."
    return Picture(success_figure(rates), caption, "Success rate of each method over the distance of the start.")


def case_in(folder: Path) -> CaseFiles:
    """Finds the files of a case in a folder: ct.nii.gz or the folder ct of a DICOM series, and xray.png, .tif, .npy or
    .dcm; and where they are there, labels.nii.gz, camera.json and start.json.

    Returns:
        The files.

    Raises:
        FileNotFoundError: if there is no CT or X-ray image.
    """
    found = {}
    for name, options in {
        "ct": ("ct.nii.gz", "ct.nii", "ct"),
        "xray": tuple(f"xray.{kind}" for kind in ("png", "tif", "tiff", "npy", "nii.gz", "dcm")),
        "labels": ("labels.nii.gz", "labels.nii"),
        "camera": ("camera.json",),
        "start": ("start.json", "start.csv"),
    }.items():
        found[name] = next((folder / option for option in options if (folder / option).exists()), None)
        if found[name] is None and name in ("ct", "xray"):
            raise FileNotFoundError(f"{folder}: a case must have one of {', '.join(options)}.")
    several = {name: (found[name],) for name in ("xray", "camera") if found[name] is not None}
    start = {} if found["start"] is None else {"start": str(found["start"])}
    return CaseFiles(ct=found["ct"], labels=found["labels"], **several, **start)


def _masked(subject: Anatomy) -> Anatomy:
    assert subject.labels is not None  # noqa: S101 (subjects have labels)
    return subject.masked(range(1, 1 + int(subject.labels.max())))


def _pictured(trials: Trials, found: np.ndarray, errors: np.ndarray) -> dict[str, np.ndarray]:
    """Returns images of the best, median and worst case, with renderings at start and end."""
    order = np.argsort(errors)
    chosen = order[[0, len(order) // 2, -1]]
    camera, voxel_mm = trials.camera, trials.registration.spacing_mm
    levels = [trials.problems[case].level(max(camera.image_size), voxel_mm) for case in chosen]

    def rendered(poses: np.ndarray) -> np.ndarray:
        return np.stack([level.images(poses[[case]])[0][0] for level, case in zip(levels, chosen, strict=True)])

    return {
        "label": np.array(["best", "median", "worst"]),
        "image": np.stack([trials.problems[case].views[0].radiograph.image for case in chosen]),
        "start": rendered(trials.starts),
        "found": rendered(found),
        "mean_tre_mm": errors[chosen],
    }
