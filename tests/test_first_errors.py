"""What a person meets in the first ten minutes: each mistake is one line that says what to do, and an exit code.

A server that is asked for what it has not is in serving/test_main, cases that cannot be registered in test_register,
damaged volumes and videos in test_volume_commands.
"""

import json
import shlex
import socket

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tfmedcai import cli
from tfmedcai.__main__ import main
from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.runs import new_run, run_of

SMOKE = "search --smoke --quiet"
VOLUMES = f"{SMOKE} --task segmentation --segmentation.dataset"
VIDEO = f"{SMOKE} --task tracking --space csl_decoder --oracle random --tracking.dataset"
TAKEN, NOBODY = "TAKEN", "NOBODY"  # ports

MISTAKES = {
    # The command line.
    "serch": "`serch` is not one of the verbs: search, train.* Did you mean `search`?",
    "search --ouput runs": "Unrecognized options: --ouput, runs. Did you mean `--output PATH`?",
    "search --training.epoch 3": "Did you mean `--training.epochs INT`?",
    "search --seeds many": "--seeds: .*'many'. It is `--seeds INT`.",
    "search --seeds 0": "setting `seeds`: Input should be greater than 0. Received 0.",
    "search --training.epochs 0": "setting `training.epochs`: Input should be greater than 0. Received 0.",
    "search --pose.dataset mine": "'mine' for argument '--pose.dataset'. Expected one of.*simulated.*--help",
    "predict --pose here 1": "--pose: .*'here'.* It is `--pose [FLOAT [FLOAT ...]]`.",
    "search --executor slurm": "Expected one of .*'in_process', 'processes', 'ray'",
    "search --help posee": "`posee` is no group of settings: .* Did you mean `pose`?",
    "serving": "Expected one of {export, serve, ask}.",
    "report": "Missing from tfmedcai report: --run [PATH [PATH ...]]",
    # Settings and names.
    "search --settings nowhere.toml": "nowhere.toml: cannot read this settings file .* Check the path.",
    "search --settings text.png": "text.png: not a TOML file",
    "search --settings key.toml": "key.toml: unknown setting `training.epoch`. Did you mean `epochs`?",
    "search --settings value.toml": "value.toml: setting `training.epochs`: .* Received -3.",
    "search --task poze": "`poze` is not one of the tasks: .* Did you mean `pose`?",
    "search --space snapp": "`snapp` is not one of the spaces: .* Did you mean `snap`?",
    "search --oracle latnet": "`latnet` is not one of the oracles: .* Did you mean `latent`?",
    "search --oracle supernet": "needs a space that has a supernet: darts_cell, volumetric. Received `snap`.",
    "search --training.baselines unett": "`unett` is not one of the networks.* Did you mean `unet`?",
    "train --architecture snapnet_c --smoke": "`--architecture`: .*`snapnet_c`.* Did you mean `snapnet_b`?",
    "train --architecture conv3x4 --smoke": "Received `conv3x4` at place 1. Did you mean `conv3x3`?",
    # Data.
    f"{VOLUMES} plain_folder": "`segmentation.folder` must name the folder of the plain_folder data set.",
    f"{VOLUMES} plain_folder --segmentation.folder nowhere": "nowhere: there is no such folder. Check the path.",
    f"{VOLUMES} plain_folder --segmentation.folder empty": "empty: no .nii.gz or .nii file here. Check the path",
    f"{VOLUMES} decathlon --segmentation.folder wrong": "wrong/dataset.json: .* Give the folder that holds",
    f"{VOLUMES} patient_folders --segmentation.folder wrong": "wrong: no folder with files label.nii.gz here.",
    f"{VOLUMES} plain_folder --segmentation.folder unlabelled": "1 images and no labels to learn from. Check",
    f"{VIDEO} retinal --tracking.folder empty": "empty: must hold files *_joints.txt. Check the path and the layout.",
    f"{VIDEO} plain --tracking.folder nowhere": "nowhere: must hold files *.csv. Check the path and the layout.",
    f"{SMOKE} --pose.dataset i3posnet": "`pose.folder` must name the folder of the i3PosNet data set. Received none.",
    f"{SMOKE} --pose.dataset i3posnet --pose.folder empty": "empty must hold the folders .* Unpack the data set",
    # Runs.
    f"{SMOKE} --output text.png": "cannot write here .* Choose another folder.",
    f"{SMOKE} --output begun": "1 of 8 trials found; `--resume` continues, `--fresh` starts anew.",
    f"{SMOKE} --output edited --resume": "these are other settings than the run's. `--fresh` starts anew.",
    f"{SMOKE} --search.time_limit_min 3": "`search.time_limit_min` needs `--executor processes` or `ray`.",
    f"{SMOKE} --output free --executor processes --gpus 1": "finds no GPU .* Leave it out, or .*tfmedcai[gpu]",
    f"{SMOKE} --output free --workers 0": "`--workers` must be 1 or more. Received 0.",
    "train": "nothing to train: give `--run FOLDER` of a search or `--architecture TEXT`.",
    "train --run nowhere": "nowhere: not a run folder .* Name a folder that a command wrote.",
    "evaluate --run begun": "begun: not a run folder .* Name one that is in it: begun/pose-snap-latent-",
    "train --run RUN": "no finished trial of `latent` to train. Search first, or give `--architecture`.",
    "evaluate --run RUN": "no trained network. Run `python -m tfmedcai.train --run ",
    "predict --run RUN --image text.png": "no trained network. Run `python -m tfmedcai.train --run ",
    "serving export --run RUN": "no trained network. Run `python -m tfmedcai.train --run ",
    # Serving.
    "serving serve": "Give either --model_base_path (with --model_name) or --model_config_file.",
    "serving serve --model_base_path nowhere": "nowhere` must be the folder of model default.",
    "serving serve --model_base_path empty": "must hold a version of model default.* Found none.*export --run RUN",
    "serving serve --model_base_path empty --port 80000": "`port` must be 0 to 65535. Received 80000.",
    # Registration.
    "register --quiet": "needs a CT and an X-ray image: give `--ct` and `--xray`, or `--batch`.",
    "register --ct nowhere.nii.gz --xray gray.png": "nowhere.nii.gz: there is no such file. Check the path.",
    "register --batch nowhere.csv": "nowhere.csv: cannot read this batch .* Check the path.",
    "register --quiet --batch cases.csv": "must have a header with some of name, ct, .* Received 1 rows and ctt.",
    "register --quiet --method similarity": "needs a trained network: give `--run`",
    "register --starts 0": "`--starts` must be 1 or more. Received 0.",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what people have lying about."""
    place = tmp_path_factory.mktemp("place")
    for folder in ("empty", "wrong", "unlabelled/images"):
        (place / folder).mkdir(parents=True)
    for name in ("text.png", "wrong/readme.txt"):
        (place / name).write_text("this is = no picture")
    (place / "key.toml").write_text("[training]\nepoch = 3\n")
    (place / "value.toml").write_text("[training]\nepochs = -3\n")
    (place / "cases.csv").write_text("ctt\na.nii.gz\n")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), place / "unlabelled/images/a.nii.gz")
    Image.new("L", (32, 32)).save(place / "gray.png")
    smoke = Settings().smoke()
    for name in ("begun", "edited"):
        Journal(new_run(place / name, smoke).trials).append({"oracle": "latent", "state": "FAILED", "seed": 0})
    edited = run_of(place / "edited", smoke).settings
    edited.write_text(edited.read_text().replace("max_failures = 5", "max_failures = 6"))
    return place


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(place, monkeypatch, capsys, command):
    monkeypatch.chdir(place)
    run = run_of(place / "begun", Settings().smoke()).folder.relative_to(place)
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command.replace("RUN", str(run))))
    said = capsys.readouterr()
    assert (end.value.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert_says(said.err, MISTAKES[command])


def assert_says(line: str, expected: str) -> None:
    """Checks that the parts of `expected` stand in the line, in this order."""
    assert line.startswith("error: ")
    place = 0
    for part in expected.split(".*"):
        place = line.find(part.strip(), place)
        assert place >= 0, f"{line!r} has no {part!r}"


def test_a_port_in_use_is_said(place, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        version = tmp_path / "model" / "1"
        version.mkdir(parents=True)
        with pytest.raises(SystemExit) as end:
            main(["serving", "serve", "--model_base_path", str(version.parent), "--port", str(port), "--workers", "2"])
    assert end.value.code == 2
    assert_says(capsys.readouterr().err, f"`port` must be free on 127.0.0.1. Received {port}")


def test_a_server_that_is_not_there_is_a_failure(capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SystemExit) as end:
        main(["serving", "ask", "--model", "pose", "--address", address, "--timeout", "5"])
    assert end.value.code == 1
    assert_says(capsys.readouterr().err, f"no server answers at {address} .* Start one, or give `--address`.")


def test_an_error_is_json_where_that_is_asked_for(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as end:
        main(["search", "--task", "poze", "--json"])
    said = capsys.readouterr()
    assert (end.value.code, said.err.count("\n")) == (2, 1)
    assert json.loads(said.out)["error"] == said.err.removeprefix("error: ").strip()


def test_ctrl_c_is_told_from_failure(capsys):
    def act(options):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        cli.main(cli.ScriptOptions, act, [])
    assert end.value.code == 130
    assert capsys.readouterr().err.strip() == "stopped"
