"""Asks a trained network about one image: prints the answer and draws it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmedcai.cli import SettingsOptions, main
from tfmedcai.runs import open_run, write_whole


@dataclass(frozen=True)
class PredictOptions(SettingsOptions):
    """Refine the rough pose of an instrument in an X-ray image with the best trained network of a run."""

    run: Path = Path("runs")
    """run folder with trained networks"""
    image: Path = Path("image.png")
    """radiograph: PNG, 16-bit PNG, NumPy array or DICOM file"""
    pose: tuple[float, ...] = ()
    """rough pose: x [px], y [px], forward angle [deg], and, where known, tilt [deg] and resolution [mm/px]"""
    iterations: int = 3
    """iterations of crop, network and pose"""
    picture: Path | None = None
    """where to draw the answer; beside the run's other predictions by default"""


def predict(options: PredictOptions) -> dict[str, Any]:
    """Answers for one image file and prints the answer as one JSON line.

    Returns:
        The refined pose (px, deg, mm/px), the landmarks (px) and the path of the picture.

    Raises:
        ValueError: if image, pose or model are not what is expected; the message says what is.
    """
    run, _ = open_run(options.run)
    models = run.trained()
    if not models:
        raise ValueError(f"{run.folder}: no trained network. Run `python -m tfmedcai.train --run {run.folder}` first.")
    from tfmedcai.data.images import read_image
    from tfmedcai.tasks.fitting import load_model
    from tfmedcai.tasks.task import make_task

    task = make_task(options.settings)
    image = read_image(options.image)
    answer = task.predict(load_model(models[0].model), image, options.pose, options.iterations)
    picture = options.picture or run.predictions / f"{options.image.stem}.png"
    figure = task.picture(image, answer)
    write_whole(picture, lambda path: figure.savefig(path, dpi=150))
    answer |= {"picture": str(picture)}
    print(json.dumps(answer))
    return answer


if __name__ == "__main__":
    main(PredictOptions, predict)
