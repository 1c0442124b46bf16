"""Asks a trained network about files: prints each answer and writes what belongs to it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmedcai.cli import SettingsOptions, main
from tfmedcai.runs import open_run


@dataclass(frozen=True)
class PredictOptions(SettingsOptions):
    """Ask the best trained network of a run about one or several images, volumes or videos."""

    run: Path = Path("runs")
    """run folder with trained networks"""
    image: tuple[Path, ...] = ()
    """radiographs (PNG, 16-bit PNG, NumPy array, DICOM); volumes (NIfTI, or a folder of files or patients); videos,
    folders of pictures or one picture"""
    output: Path | None = None
    """folder for pictures, volumes and videos; that of the run's predictions by default"""
    pose: tuple[float, ...] = ()
    """task pose: rough pose: x [px], y [px], forward angle [deg], and, where known, tilt [deg], resolution [mm/px]"""
    iterations: int = 3
    """task pose: iterations of crop, network and pose"""


def predict(options: PredictOptions) -> list[dict[str, Any]]:
    """Answers for each file, one JSON line each; a file that cannot be read does not stop the others.

    Returns:
        The answers, JSON types, with the paths of what was written.

    Raises:
        ValueError: if an image, the pose or the model is not what is expected; the message says what is.
    """
    run, _ = open_run(options.run)
    models = run.must_be_trained()
    if not options.image:
        raise ValueError("nothing to ask about: give `--image FILE`.")
    from tfmedcai.tasks.fitting import load_model
    from tfmedcai.tasks.task import make_task

    task, model = make_task(options.settings), load_model(models[0].model)
    asked = {"pose": options.pose, "iterations": options.iterations}
    answers, failed = [], []
    paths = [path for given in options.image for path in task.inputs_in(given)]
    for path in paths:
        try:
            answers.append(task.predict_file(model, path, options.output or run.predictions, asked))
        except (ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            failed.append(path)
            print(f"error: {error}", file=sys.stderr)
        else:
            print(json.dumps(answers[-1]), flush=True)
    if failed:
        raise ValueError(f"{len(failed)} of {len(paths)} files have no answer: {', '.join(map(str, failed))}.")
    return answers


if __name__ == "__main__":
    main(PredictOptions, predict)
