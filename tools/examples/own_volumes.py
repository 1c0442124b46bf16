"""Searches a segmentation network on your own folder of NIfTI volumes; without one, on a folder that it simulates.

A folder has `images/NAME.nii.gz` and `labels/NAME.nii.gz`, the latter with a number for each structure.
"""

import argparse
from pathlib import Path

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.predict import PredictOptions, predict
from tfmedcai.report import ReportOptions, report
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

# Small enough for two cores: slices of 32 x 32, a third of the patients held out. A whole search: search/*.toml.
SETTINGS = Settings().updated(
    {
        "task": "segmentation",
        "space": "mixed_block",
        "oracle": "local",
        "segmentation": {
            "dataset": "plain_folder",
            "structures": {"liver": (2,)},
            "resized": (32, 32, 0),
            "patch": (32, 32),
            "window": (-150, 250),
            "foreground": 0.5,
            "folds": 3,
            "search_folds": 1,
            "initialisations": 1,
        },
        "mixed_block": {"nodes": 4, "deepest": 2, "kernel_sizes": (3, 5)},
        "mixed_block_net": {"filters": 16, "search_filters": 8},
        "unet": {"filters": 16, "depth": 2},
        "search": {"baseline": "none", "fit": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2}},
        "training": {"epochs": 6, "batch_size": 8, "learning_rate": 1e-2, "baselines": ("unet",)},
        "baseline": {"batch_size": 8, "learning_rate": 1e-2},
    }
)


def simulate_folder(folder: Path, patients: range, slices: int = 12) -> None:
    """Writes CT volumes of the abdomen with labelled organs, as a hospital would deliver them.

    Args:
        folder: gets `images/` and `labels/`.
        patients: numbers; the same number is the same patient.
        slices: of a volume.
    """
    from tfmedcai.data.volumes import Volume, write_volume
    from tfmedcai.simulators.organs import OrganScene, simulate

    scene = OrganScene("ct", size=(48, 40, slices), spacing=(7.0, 6.4, 144 / slices))
    for patient in patients:
        made = simulate(scene, patient)
        for kind, array in (("images", made.image), ("labels", made.label)):
            write_volume(folder / kind / f"patient_{patient}.nii.gz", Volume(array, made.affine))


def main(argv: list[str] | None = None) -> None:
    """Searches, trains beside U-Net, evaluates on patients that nobody saw, answers for the whole folder, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--structure", default="liver=2", help="what is looked for: NAME=LABEL")
    parser.add_argument("--trials", type=int, default=4, help="networks to try")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of the network found and of U-Net")
    parser.add_argument("--output", type=Path, default=Path("build/examples"), help="folder for data and run")
    given = parser.parse_args(argv)
    folder = given.folder or given.output / "volumes"
    if given.folder is None:
        simulate_folder(folder, range(6))
    name, label = given.structure.split("=")
    data = {"folder": folder, "structures": {name: (int(label),)}}
    budget = {"search": {"trials": given.trials}, "training": {"epochs": given.epochs}}
    settings = SETTINGS.updated({"segmentation": data} | budget)
    run = search(SearchOptions(settings=settings, output=given.output, fresh=True))
    train(TrainOptions(settings=settings, run=run.folder))
    evaluate(EvaluateOptions(settings=settings, run=run.folder))
    predict(PredictOptions(settings=settings, run=run.folder, image=(folder / "images",)))
    report(ReportOptions(run=(run.folder,)))


if __name__ == "__main__":
    prepare_tensorflow()
    main()
