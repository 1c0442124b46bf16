"""The command that registers a CT to X-ray images, one case and a batch, and what it says to bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.registration_bones import TRUTH, files_in, problem, write_case
from tfmedcai import cli
from tfmedcai.config import CaseFiles, Settings
from tfmedcai.data.poses import read_pose, write_pose
from tfmedcai.register import RegisterOptions, read_batch, register
from tfmedcai.tasks.registration_case import read_case

SETTINGS = Settings().smoke().updated({"registering": {"cma_es": {"voxel_mm": 8.0}, "frames": 3}})


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with all that a case is made of."""
    folder = tmp_path_factory.mktemp("case")
    write_case(folder, problem().views[0].radiograph.image)
    patient = read_case(files_in(folder), SETTINGS.registering).problem.anatomy.patient_from_volume
    write_pose(folder / "truth.json", TRUTH, patient)
    return folder


def arguments(files: Path, output: Path, **changes: object) -> list[str]:
    given = {"ct": files / "ct.nii.gz", "labels": files / "labels.nii.gz", "xray": files / "xray.png"}
    given |= {"camera": files / "camera.json", "start": files / "truth.json", "truth": files / "truth.json"}
    given |= {"inverted": "no", "output": output} | changes
    pairs = [[f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))] for name, value in given.items()]
    return ["--smoke", "--quiet", *(part for pair in pairs for part in pair)]


def says(capsys, *parts, code: int = 2) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(RegisterOptions, register, [str(part) for part in parts])
    assert caught.value.code == code
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_one_case_is_registered_and_drawn(files, tmp_path, capsys):
    cli.main(RegisterOptions, register, [*arguments(files, tmp_path), "--method", "polish"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["errors"]["mean_tre_mm"] < 12 and answer["errors_at_start"]["mean_tre_mm"] < 1e-3
    assert json.loads((tmp_path / "result.json").read_text()) == answer
    pose = read_pose(tmp_path / "pose.json")
    np.testing.assert_allclose(np.degrees(pose[:3]), list(answer["pose"].values())[:3])
    for name in ("drr.png", "overlay.png", "convergence.png", "errors.png", "course.gif"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
    rows = list(csv.DictReader((tmp_path / "trajectory.csv").read_text().splitlines()))
    assert len(rows) == 1 + answer["stages"][0]["steps"] and rows[0]["stage"] == "start"
    assert float(rows[-1]["mean_tre_mm"]) == pytest.approx(answer["errors"]["mean_tre_mm"])


def test_a_dry_run_reads_the_cases_and_writes_nothing(files, tmp_path, capsys):
    rows = [["name", "ct"], ["good", ""], ["bad", files / "nothing.nii.gz"]]
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    parts = [*arguments(files, tmp_path / "out", batch=tmp_path / "cases.csv"), "--method", "polish", "--dry_run"]
    cli.main(RegisterOptions, register, parts)
    plan = json.loads(capsys.readouterr().out)
    assert (plan["method"], plan["starts"], plan["cases"][0]["views"]) == (["polish"], 1, 1)
    assert "nothing.nii.gz" in plan["cases"][1]["error"]
    assert not (tmp_path / "out").exists()
    parts = [*arguments(files, tmp_path / "out", ct=files / "nothing.nii.gz"), "--dry_run"]
    assert "nothing.nii.gz" in says(capsys, *parts)


def test_a_batch_goes_on_behind_a_bad_case(files, tmp_path, capsys):
    header = ["name", "ct", "start"]
    rows = [("good", "", ""), ("bad", files / "nothing.nii.gz", ""), ("last", "", files / "truth.json")]
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    parts = [*arguments(files, tmp_path / "out", batch=tmp_path / "cases.csv"), "--method", "polish"]
    message = says(capsys, *parts, code=1)
    assert "1 of 3 cases failed: bad" in message
    found = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert [row["name"] for row in found] == ["good", "bad", "last"]
    assert "nothing.nii.gz" in found[1]["error"] and not found[1]["cost"]
    assert float(found[0]["error_mean_tre_mm"]) == pytest.approx(float(found[2]["error_mean_tre_mm"]))
    assert (tmp_path / "out" / "last" / "pose.json").exists() and not (tmp_path / "out" / "bad").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"xray": ("a.png", "b.png")}, "`--view_pose` must name 1 files for 2 X-ray images. Received 0."),
        ({"camera": ("a.json", "b.json")}, "`--camera` must name 0 or 1 files for 1 X-ray images. Received 2."),
        ({"start": "front"}, "`--start` must be ap or pa"),
        ({"ct": "nowhere.nii.gz"}, "nowhere.nii.gz: there is no such file"),
        ({"starts": 0}, "`--starts` must be 1 or more"),
        ({"method": "similarity"}, "the stage similarity needs a trained network: give `--run`"),
        ({"batch": "nowhere.csv"}, "nowhere.csv: cannot read this batch"),
    ],
)
def test_bad_input_is_named_in_one_line(files, tmp_path, capsys, changes, expected):
    assert expected in says(capsys, *arguments(files, tmp_path, **changes))


def test_a_start_from_which_nothing_is_seen_is_named(files, tmp_path, capsys):
    write_pose(tmp_path / "away.json", np.add(TRUTH, [0, 0, 0, 900, 0, 0]))
    assert "cone of rays misses it" in says(capsys, *arguments(files, tmp_path, start=tmp_path / "away.json"))


def test_no_case_is_said(tmp_path, capsys):
    assert "give `--ct` and `--xray`" in says(capsys, "--output", tmp_path)


def test_a_batch_is_read_with_what_stands_beside_it(tmp_path):
    (tmp_path / "cases.csv").write_text("xray,view_pose,start\na.png;b.png, side.json,\nc.png;d.png,,pa\n")
    beside = CaseFiles(ct=Path("ct.nii"), view_pose=(Path("other.json"),), start="ap")
    (first, one), (second, two) = read_batch(tmp_path / "cases.csv", beside)
    assert (first, second) == ("case_001", "case_002")
    assert one == CaseFiles(
        ct=Path("ct.nii"), xray=(Path("a.png"), Path("b.png")), view_pose=(Path("side.json"),), start="ap"
    )
    assert two.view_pose == (Path("other.json"),) and two.start == "pa"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ct,xrays\na,b\n", "Received 1 rows and xrays"),
        ("ct\n", "Received 0 rows"),
        ("name,ct\na,b\na,c\n", "Received 'a'"),
        ("name,ct\n../a,b\n", "Received '../a'"),
    ],
)
def test_a_bad_batch_is_refused(tmp_path, text, expected):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(ValueError, match=r"cases\.csv") as caught:
        read_batch(tmp_path / "cases.csv", CaseFiles())
    assert expected in str(caught.value)
