"""A folder of cases in, a volume and a row of a table for each out; a case that fails is a row that says why.

Without a run, a small network is trained on simulated CT, and the cases are simulated too: one file is cut off, and one
volume has values that are no numbers.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from own_volumes import SETTINGS, simulate_folder  # the example beside this one

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.runs import Run, open_run, write_whole
from tfmedcai.train import TrainOptions, train

COLUMNS = ("case", "state", "seconds", "millilitres", "file", "reason")


def answer_all(run: Run, settings: Settings, cases: Path, output: Path) -> list[dict[str, Any]]:
    """Answers for every case of a folder; whatever a case does, the others are answered.

    Args:
        run: a run with trained networks.
        settings: of the run.
        cases: folder of NIfTI files, or of folders with a file a modality.
        output: gets a volume of classes for each case.

    Returns:
        A row for each case.
    """
    from tfmedcai.tasks.fitting import load_model
    from tfmedcai.tasks.task import make_task

    task, model = make_task(settings), load_model(run.best(settings.seed).model)
    rows = []
    for path in task.inputs_in(cases):
        row, start = {"case": path.name, "state": "done"}, time.monotonic()
        try:
            answer = task.predict_file(model, path, output, {})
            row |= {"file": answer["classes"], "millilitres": answer["millilitres"]}
        except Exception as error:  # a batch of the night ends in the morning, whatever a file holds
            row |= {"state": "failed", "reason": f"{error or type(error).__name__}"}
        rows.append(row | {"seconds": round(time.monotonic() - start, 2)})
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    return rows


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes the rows as CSV, whole or not at all."""

    def write(place: Path) -> None:
        with place.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    write_whole(path, write)


def simulate_cases(folder: Path) -> None:
    """Writes two good cases and two bad ones."""
    from tfmedcai.data.volumes import read_volume, write_volume

    simulate_folder(folder, range(10, 14))
    broken, odd = (folder / "images" / f"patient_{patient}.nii.gz" for patient in (11, 12))
    broken.write_bytes(broken.read_bytes()[:-600])
    volume = read_volume(odd)
    write_volume(odd, volume.holding(np.where(volume.array > 100, np.nan, volume.array)))


def main(argv: list[str] | None = None) -> None:
    """Answers, writes `results.csv` and says how many cases failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder of a segmentation with trained networks")
    parser.add_argument("--cases", type=Path, help="folder of cases")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of the network that is trained without a run")
    parser.add_argument(
        "--output", type=Path, default=Path("build/examples/batch"), help="folder for volumes and table"
    )
    given = parser.parse_args(argv)
    if given.run is None:
        data = given.output / "training"
        simulate_folder(data, range(6))
        changes = {"segmentation": {"folder": data}, "training": {"epochs": given.epochs, "baselines": ()}}
        options = TrainOptions(settings=SETTINGS.updated(changes), architecture="unet", output=given.output, fresh=True)
        run, settings = train(options), options.settings
    else:
        run, settings = open_run(given.run)
    cases = given.cases or given.output / "cases" / "images"
    if given.cases is None:
        simulate_cases(cases.parent)
    rows = answer_all(run, settings, cases, given.output / "answers")
    write_table(given.output / "results.csv", rows)
    failed = sum(row["state"] == "failed" for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} cases answered: {given.output / 'results.csv'}")


if __name__ == "__main__":
    prepare_tensorflow()
    main()
