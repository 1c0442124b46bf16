"""Draws the README's pictures: the frames, and of each system, trained with the shipped commands, the median case."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import read_settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.runs import write_whole
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "tools" / "pictures"
FRAMES = "c_arm"
MEDIAN = 1  # of the best, the median and the worst case
WIDTH_PX = 900


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
    "prost": Shown(
        "prost_small.toml",
        "prost",
        {"registration": {"magnitudes": (20.0,), "evaluation_cases": 5, "beside": ()}, "training": {"epochs": 8}},
    ),
}


def draw(name: str, runs: Path) -> Path:
    """Trains and evaluates one system, or takes what was trained before, and draws its median case.

    Args:
        name: one of `SYSTEMS`.
        runs: folder of run folders.

    Returns:
        The picture, `tools/pictures/NAME.webp`.
    """
    import numpy as np

    from tfmedcai.tasks.task import make_task

    shown = SYSTEMS[name]
    settings = read_settings(ROOT / "search" / shown.settings).updated(shown.changes)
    settings = settings.updated({"seeds": 1, "search": {"baseline": "none"}, "training": {"baselines": ()}})
    if shown.architecture is None:
        found = search(SearchOptions(settings=settings, output=runs, resume=True))
        options = TrainOptions(settings=settings, run=found.folder, resume=True)
    else:
        options = TrainOptions(settings=settings, architecture=shown.architecture, output=runs, resume=True)
    run = train(options)
    evaluate(EvaluateOptions(settings=settings, run=run.folder))
    with np.load(run.best(settings.seed).cases) as cases:
        figure = make_task(settings).case_pictures(cases)[MEDIAN].figure
    path = PICTURES / f"{name}.webp"
    dpi = WIDTH_PX / figure.get_size_inches()[0]
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
