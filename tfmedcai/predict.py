"""Asks a trained network about files: prints each answer and writes what belongs to it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmedcai.cli import Plan, SettingsOptions, Unfinished, followed, main
from tfmedcai.runs import open_run


@dataclass(frozen=True, kw_only=True)
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
    quiet: bool = False
    """print answers only"""


def predict(options: PredictOptions) -> list[dict[str, Any]] | Plan:
    """Answers for each file, one JSON line each; a file that cannot be read does not stop the others.

    Returns:
        The answers, JSON types, with the paths of what was written; for a dry run which files would be asked about.

    Raises:
        ValueError: if an image, the pose or the model is not what is expected; the message says what is.
        Unfinished: if some of several files have no answer.
    """
    run, _ = open_run(options.run)
    model_file = run.must_be_trained()[0].model
    if not options.image:
        raise ValueError("nothing to ask about: give `--image FILE`.")
    for path in options.image:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder. `--image` names what is asked about.")
    from tfmedcai.tasks.fitting import load_model
    from tfmedcai.tasks.task import make_task

    task, output = make_task(options.settings), options.output or run.predictions
    paths = [path for given in options.image for path in task.inputs_in(given)]
    if options.dry_run:
        return Plan(network=str(model_file), images=[str(path) for path in paths], output=str(output))
    model, asked = load_model(model_file), {"pose": options.pose, "iterations": options.iterations}
    answers, failed = [], []
    for path in followed(paths, "files", quiet=options.quiet or len(paths) == 1):
        try:
            answers.append(task.predict_file(model, path, output, asked))
        except (ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            failed.append(path)
            print(f"error: {error}", file=sys.stderr)
        else:
            print(json.dumps(answers[-1]), flush=True)
    if failed:
        message = f"{len(failed)} of {len(paths)} files have no answer: {', '.join(map(str, failed))}."
        raise Unfinished(message, answers)
    return answers


def command(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    main(PredictOptions, predict, argv, outcome=lambda answers: {"answers": answers})


if __name__ == "__main__":
    command()
