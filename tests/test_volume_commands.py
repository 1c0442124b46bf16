"""The commands on folders of NIfTI: train, evaluate, predict a folder, and what they say to bad volumes."""

import gzip
import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tfmedcai import cli
from tfmedcai.config import Settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.models.unet3d import unet3d
from tfmedcai.predict import PredictOptions, predict
from tfmedcai.runs import new_run, write_json
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

SHAPE, AFFINE = (16, 18, 5), np.diag([1.0, 1.0, 2.0, 1.0])


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """images/ and labels/ of three patients."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(3):
        label = (np.linalg.norm(np.indices(SHAPE) - np.array([[[[8]]], [[[9]]], [[[2]]]]), axis=0) < 4).astype(np.uint8)
        image = (100 * label + rng.normal(0, 10, SHAPE)).astype(np.float32)
        save(root / "images" / f"patient{number}.nii.gz", image)
        save(root / "labels" / f"patient{number}.nii.gz", label)
    return root


def settings(folder, **changes):
    data = {"dataset": "plain_folder", "folder": folder, "structures": {"ball": (1,)}, "patch": (16, 16)}
    small = Settings().smoke().updated({"task": "segmentation", "space": "mixed_block", "oracle": "random"})
    return small.updated({"segmentation": {"folds": 3} | data | changes, "training": {"baselines": ["unet"]}})


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    chosen = settings(folder)
    made = new_run(tmp_path_factory.mktemp("runs"), chosen)
    train(
        TrainOptions(settings=chosen, run=made.folder, architecture="keep-vgg3 down-vgg3 up-vgg3 keep-vgg3", quiet=True)
    )
    return made


def failure(capsys, options, act, *arguments, code: int = 2) -> list[str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(options, act, [str(argument) for argument in arguments])
    assert caught.value.code == code
    return capsys.readouterr().err.strip().splitlines()


def test_networks_stand_side_by_side(run, capsys):
    found = evaluate(EvaluateOptions(settings=cli.read_settings(run.settings), run=run.folder))
    assert [evaluation["model"] for evaluation in found] == ["mixed_block_net", "unet"]
    assert all(evaluation["cases"] == found[0]["cases"] for evaluation in found)
    assert all(evaluation["multiply_accumulates"] > 0 for evaluation in found)
    printed = capsys.readouterr().out
    assert json.loads(run.split.read_text())["folds"][0]["validation"] == found[0]["cases"]
    assert "hd95 [mm]" in printed and "surface dice" in printed


def test_a_folder_of_volumes_is_answered_case_by_case_and_bad_ones_are_named(run, folder, tmp_path, capsys):
    asked = tmp_path / "asked"
    shutil.copytree(folder / "images", asked)
    good = nib.load(asked / "patient0.nii.gz").get_fdata(dtype=np.float32)
    (asked / "truncated.nii.gz").write_bytes((asked / "patient0.nii.gz").read_bytes()[:-600])
    save(asked / "nan.nii.gz", np.where(good > 90, np.nan, good))
    save(asked / "series.nii.gz", np.stack([good, good], -1))
    header = bytearray(gzip.decompress((asked / "patient1.nii.gz").read_bytes()))
    header[80:84] = np.float32(0).tobytes()  # pixdim[1]
    (asked / "flat.nii.gz").write_bytes(gzip.compress(bytes(header)))
    (asked / "text.nii.gz").write_text("no volume")
    arguments = ("--run", run.folder, "--image", asked, "--output", tmp_path / "out", "--quiet")
    said = failure(capsys, PredictOptions, predict, *arguments, code=1)
    bad = ("flat", "nan", "series", "text", "truncated")
    assert len(said) == len(bad) + 1
    for name, words in zip(bad, ("spacing", "finite", "3D", "NIfTI", "NIfTI"), strict=True):
        (line,) = [line for line in said[:-1] if f"{name}.nii.gz" in line]
        assert words in line
    assert "5 of 8 files have no answer" in said[-1]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"patient{number}_classes.nii.gz" for number in range(3)]
    answer, source = (nib.load(path) for path in (tmp_path / "out" / written[0], asked / "patient0.nii.gz"))
    assert answer.shape == source.shape
    np.testing.assert_array_equal(answer.affine, source.affine)


def test_an_empty_folder_is_said(run, tmp_path, capsys):
    (line,) = failure(capsys, PredictOptions, predict, "--run", run.folder, "--image", tmp_path)
    assert f"{tmp_path}: nothing to ask about here" in line


@pytest.mark.parametrize(
    ("label", "affine", "words"),
    [
        (np.zeros((16, 18, 6), np.uint8), AFFINE, "must have the shape (16, 18, 5)"),
        (np.zeros(SHAPE, np.uint8), np.diag([1.0, 1.0, 3.0, 1.0]), "must have the affine"),
        (np.full(SHAPE, 0.5, np.float32), AFFINE, "labels must be whole numbers"),
        (np.full(SHAPE, -1, np.int16), AFFINE, "labels must be 0 or more"),
    ],
)
def test_a_label_that_does_not_fit_stops_the_search_before_it_begins(folder, tmp_path, capsys, label, affine, words):
    shutil.copytree(folder, tmp_path / "data")
    save(tmp_path / "data" / "labels" / "patient1.nii.gz", label, affine)
    said = refused(tmp_path / "data", tmp_path, capsys)
    assert "labels/patient1.nii.gz" in said and words in said


def refused(folder, tmp_path, capsys, *more) -> str:
    """Searches on a folder that is not right; returns the one line of the error."""
    arguments = (
        "--task",
        "segmentation",
        "--space",
        "mixed_block",
        "--smoke",
        "--quiet",
        "--output",
        tmp_path / "runs",
    )
    arguments += ("--segmentation.dataset", "plain_folder", "--segmentation.folder", folder, *more)
    (line,) = failure(capsys, SearchOptions, search, *arguments)
    return line


def test_folders_that_do_not_fit(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "empty: no .nii.gz or .nii file here" in refused(tmp_path / "empty", tmp_path, capsys)
    assert "there is no such folder" in refused(tmp_path / "nowhere", tmp_path, capsys)
    assert "no case has the structure liver, labels 2" in refused(folder, tmp_path, capsys)


def test_a_decathlon_folder_with_missing_files_or_undeclared_labels(folder, tmp_path, capsys):
    root = tmp_path / "decathlon"
    shutil.copytree(folder, root)
    entries = [
        {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"} for name in ("patient0", "patient1")
    ]
    text = {"modality": {"0": "CT"}, "labels": {"0": "background", "2": "liver"}, "training": entries}
    (root / "dataset.json").write_text(json.dumps(text))
    more = ("--segmentation.dataset", "decathlon")
    said = refused(root, tmp_path, capsys, *more)
    assert "labels/patient0.nii.gz: labels must be among 0, 2. Received 1" in said
    (root / "images" / "patient1.nii.gz").unlink()
    assert "1 of 4 files are missing, the first is" in refused(root, tmp_path, capsys, *more)


def test_a_network_with_layers_of_this_package_is_exported_in_a_process_that_never_built_one(folder, tmp_path):
    chosen = settings(folder, patch=(16, 16, 8))
    made = new_run(tmp_path / "runs", chosen)
    made.best(0).folder.mkdir(parents=True)
    unet3d(input_shape=(16, 16, 8, 1), outputs=1, per_pixel=True, filters=2, depth=1).save(made.best(0).model)
    write_json(made.best(0).card, {"network": "unet3d", "architecture": None})
    command = [sys.executable, "-m", "tfmedcai.serving", "export", "--run", str(made.folder)]
    subprocess.run(command, check=True, capture_output=True)
    assert (made.exported / "1" / "saved_model.pb").exists()
