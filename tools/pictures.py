"""Draws the README's pictures: the frames, and of each system, trained with the shipped commands, a case."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings, read_settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.runs import Run, write_whole
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "tools" / "pictures"
FRAMES = "c_arm"
MEDIAN = 1  # of the best, the median and the worst case
WIDTH_PX = 900
PATIENT, SIZE_PX, OFF = 900, 256, 20.0  # of the registration; off in deg and in mm at the start


@dataclass(frozen=True)
class Shown:
    """What a picture shows.

    Attributes:
        settings: file in `search/`.
        architecture: what is trained, as `train --architecture` takes it; None: what a search finds.
        changes: of the settings.
    """

    settings: str
    architecture: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


# The SNAP is the one that a whole search of these settings found (tools/results/snap.txt).
SYSTEMS = {
    "autosnap": Shown("autosnap_pose_small.toml", "conv3x3 maxpool3x3 dw3x3 conv1x1 merge dws3x3 dw3x3 dws3x3"),
    "mb_nas": Shown("mixed_block_small.toml", changes={"search": {"trials": 6}}),
    "csl": Shown("csl_small.toml", "csl"),
    "prost": Shown("prost_small.toml", "prost", {"training": {"epochs": 8}}),
}


def trained(shown: Shown, runs: Path) -> tuple[Settings, Run]:
    """Trains one system, or takes what was trained before.

    Args:
        shown: the system.
        runs: folder of run folders.

    Returns:
        The settings, and the run.
    """
    settings = read_settings(ROOT / "search" / shown.settings).updated(shown.changes)
    settings = settings.updated({"seeds": 1, "search": {"baseline": "none"}, "training": {"baselines": ()}})
    if shown.architecture is None:
        found = search(SearchOptions(settings=settings, output=runs, resume=True))
        options = TrainOptions(settings=settings, run=found.folder, resume=True)
    else:
        options = TrainOptions(settings=settings, architecture=shown.architecture, output=runs, resume=True)
    return settings, train(options)


def median_case(settings: Settings, run: Run) -> Figure:
    """Evaluates what was trained and returns the picture of its median case."""
    from tfmedcai.tasks.task import make_task

    evaluate(EvaluateOptions(settings=settings, run=run.folder))
    with np.load(run.best(settings.seed).cases) as cases:
        return make_task(settings).case_pictures(cases)[MEDIAN].figure


def registered_case(settings: Settings, run: Run) -> Figure:
    """Registers a simulated patient whom nobody has learnt from: the similarity of a run, CMA-ES, gradient descent."""
    from tfmedcai.data.anatomy import Anatomy
    from tfmedcai.data.radiographs import Radiograph
    from tfmedcai.geometry.pose_samples import starts_at
    from tfmedcai.reports.registration_overlay import overlay_edges
    from tfmedcai.simulators.pelvis import PelvisScene, simulate
    from tfmedcai.tasks.registration_data import camera_of
    from tfmedcai.tasks.registration_problem import Problem, View, prepared
    from tfmedcai.tasks.registration_similarity import read_network, similarity_stage
    from tfmedcai.tasks.registration_stages import descent_stage, evolution_stage, register_from

    scene = PelvisScene()
    patient = simulate(scene, PATIENT)
    anatomy = prepared(Anatomy(patient.hu, patient.labels, scene.spacing_mm, np.eye(4)))
    camera = camera_of(settings.registration).resized((SIZE_PX, SIZE_PX))
    truth = np.array([[0.1, -0.2, 0.05, 10.0, -5.0, 15.0]], np.float32)
    start = starts_at(truth, (0, 0), np.radians(OFF), OFF).numpy()

    def seen(image: np.ndarray) -> Problem:
        return Problem(anatomy, (View(Radiograph(image, camera)),))

    def drawn(poses: np.ndarray) -> np.ndarray:
        return seen(np.zeros((SIZE_PX, SIZE_PX), np.float32)).level(SIZE_PX, scene.spacing_mm[0]).images(poses)[0][0]

    image, registering = drawn(truth), settings.registering
    learned = registering.similarity.model_copy(update={"scale_mm": settings.registration.normaliser_mm})
    stages = [
        similarity_stage(learned, read_network(run.folder)),
        evolution_stage(registering, "patch_gradient_ncc"),
        descent_stage(registering, "gradient_ncc"),
    ]
    found = register_from(seen(image), list(start), stages)[0].pose
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    for axes, name, pose in zip(figure.subplots(1, 2), ("start", "found"), (start, found[np.newaxis]), strict=True):
        axes.imshow(overlay_edges(image, drawn(pose.astype(np.float32))))
        axes.set(xticks=[], yticks=[], title=name)
    return figure


def draw(name: str, runs: Path) -> Path:
    """Draws one system.

    Args:
        name: one of `SYSTEMS`.
        runs: folder of run folders.

    Returns:
        The picture, `tools/pictures/NAME.webp`.
    """
    settings, run = trained(SYSTEMS[name], runs)
    figure = (registered_case if settings.task == "registration" else median_case)(settings, run)
    path, dpi = PICTURES / f"{name}.webp", WIDTH_PX / figure.get_size_inches()[0]
    write_whole(path, lambda place: figure.savefig(place, format="webp", dpi=dpi, pil_kwargs={"quality": 80}))
    return path


def draw_frames() -> Path:
    """Draws the frames of C-arm, volume and image, `tools/pictures/c_arm.png`; returns the picture."""
    from tfmedcai.reports.c_arm_figure import c_arm_figure

    figure, path = c_arm_figure(), PICTURES / "c_arm.png"
    write_whole(path, lambda place: figure.savefig(place, format="png"))
    return path


def main() -> None:
    """Draws what is asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = (FRAMES, *SYSTEMS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "pictures", help="folder of run folders")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in given.names or names:
        print(draw_frames() if name == FRAMES else draw(name, given.output))


if __name__ == "__main__":
    prepare_tensorflow()
    main()
