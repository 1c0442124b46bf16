"""The commands, one after the other on a shrunken run, and what they say to bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tfmedcai import cli, presets
from tfmedcai.__main__ import main
from tfmedcai.config import Settings
from tfmedcai.evaluate import EvaluateOptions, evaluate
from tfmedcai.journal import Journal
from tfmedcai.predict import PredictOptions, predict
from tfmedcai.report import ReportOptions, report
from tfmedcai.runs import Run, open_run
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.train import TrainOptions, train

TINY = Settings().smoke().updated({"search": {"baseline": "none", "trials": 2}, "pose": {"image_size": (128, 160)}})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A searched, trained and evaluated run."""
    run = search(
        SearchOptions(settings=TINY.updated({"oracle": "random"}), output=tmp_path_factory.mktemp("runs"), quiet=True)
    )
    settings = open_run(run.folder)[1]
    train(TrainOptions(settings=settings, run=run.folder, quiet=True))
    evaluate(EvaluateOptions(settings=settings, run=run.folder))
    return run


def says(capsys, options, act, *arguments) -> str:
    """Runs a command that must fail; returns its one line."""
    with pytest.raises(SystemExit) as caught:
        cli.main(options, act, [str(argument) for argument in arguments])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_run_holds_everything(run):
    for path in (run.settings, run.environment, run.trials, run.progress, run.report):
        assert path.stat().st_size > 0
    assert len(Journal(run.trials).read()) == 2
    best, baseline = run.best(0), run.baseline("i3posnet", 0)
    for folder in (best, baseline):
        assert folder.model.exists() and folder.history.exists() and not folder.checkpoint.exists()
    evaluation = json.loads(best.evaluation.read_text())
    assert evaluation["images"] == 2
    assert list(evaluation["groups"]) == ["2 iterations", "1 iteration"]
    assert evaluation["groups"]["1 iteration"]["position_error_mm"]["n"] == 4
    assert json.loads(baseline.evaluation.read_text())["model"] == "i3posnet"


def test_a_second_search_says_what_is_there(run, capsys):
    arguments = ("--settings", run.settings, "--output", run.folder.parent)
    assert "2 of 2 trials found; `--resume` continues, `--fresh` starts anew" in says(
        capsys, SearchOptions, search, *arguments
    )


def test_resume_trains_nothing_twice(run):
    before = run.trials.read_text()
    search(SearchOptions(settings=open_run(run.folder)[1], output=run.folder.parent, resume=True, quiet=True))
    assert run.trials.read_text() == before


def test_a_trained_network_is_not_trained_again_unasked(run, capsys):
    assert "already trained" in says(capsys, TrainOptions, train, "--run", run.folder)


def test_a_preset_is_trained_at_its_own_size(tmp_path):
    settings = TINY.updated({"training": {"baselines": []}, "pose": {"augmentation": 1}})
    run = train(TrainOptions(settings=settings, architecture="snapnet_a", output=tmp_path, quiet=True))
    card = json.loads(run.best(0).card.read_text())
    assert (card["architecture"], card["parameters"]) == (presets.read("snapnet_a")["architecture"], 184_356)


def test_a_run_with_edited_settings_is_refused(run, tmp_path, capsys):
    copy = tmp_path / run.folder.name
    shutil.copytree(run.folder, copy)
    text = (copy / "settings.toml").read_text()
    (copy / "settings.toml").write_text(text.replace("max_failures = 5", "max_failures = 6"))
    message = says(capsys, SearchOptions, search, "--settings", run.settings, "--output", tmp_path, "--resume")
    assert "these are other settings than the run's" in message


def test_a_damaged_journal_line_is_named(run, tmp_path, capsys):
    copy = tmp_path / run.folder.name
    shutil.copytree(run.folder, copy)
    journal = copy / "trials.jsonl"
    journal.write_text(journal.read_text().replace('"score": ', '"score": 9', 1))
    message = says(capsys, SearchOptions, search, "--settings", run.settings, "--output", tmp_path, "--resume")
    assert f"{journal}, line 1: this row is damaged" in message


def test_predict_answers_and_draws(run, tmp_path, capsys):
    np.save(tmp_path / "image.npy", np.random.default_rng(0).uniform(size=(128, 160)).astype(np.float32))
    picture = tmp_path / "answers" / "image.png"
    arguments = ["--run", run.folder, "--image", tmp_path / "image.npy", "--pose", 80, 60, 20]
    arguments += ["--output", picture.parent]
    cli.main(PredictOptions, predict, [str(argument) for argument in arguments])
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["pose"]) == 5
    assert answer["start"] == pytest.approx([80, 60, 20, 0, 0.15])
    assert np.shape(answer["landmarks"]) == (6, 2)
    assert answer["picture"] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("pixels", "pose", "expected"),
    [
        (np.ones((2, 64, 64, 3), np.float32), (20, 20, 0), "image"),
        (np.full((64, 64), np.nan, np.float32), (20, 20, 0), "NaN"),
        (np.array([["a", "b"]]), (0, 0, 0), "image"),
        (np.ones((64, 80), np.float32), (81, 20, 0), "must lie in the image of 80 x 64 px. Received x 81.0, y 20.0"),
        (np.ones((64, 80), np.float32), (20, 20), "must be 3 to 5 numbers"),
    ],
)
def test_predict_says_what_is_wrong_with_its_input(run, tmp_path, capsys, pixels, pose, expected):
    np.save(tmp_path / "image.npy", pixels)
    assert expected in says(
        capsys, PredictOptions, predict, "--run", run.folder, "--image", tmp_path / "image.npy", "--pose", *pose
    )


def test_a_missing_data_set_is_named(tmp_path, capsys):
    arguments = ("--pose.dataset", "i3posnet", "--pose.folder", tmp_path / "nowhere", "--output", tmp_path, "--smoke")
    assert str(tmp_path / "nowhere") in says(capsys, SearchOptions, search, *arguments, "--quiet")


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "cannot write here" in says(capsys, SearchOptions, search, "--output", tmp_path / "file", "--smoke")


def test_no_run_folder_is_said(tmp_path, capsys):
    for options, act in ((TrainOptions, train), (EvaluateOptions, evaluate), (PredictOptions, predict)):
        assert "not a run folder" in says(capsys, options, act, "--run", tmp_path)
    assert "not a run folder" in says(capsys, ReportOptions, report, "--run", tmp_path)
    assert "nothing to train" in says(capsys, TrainOptions, train)


def test_tensorboard_shows_trials_and_trainings(run):
    trials = [path.name for path in (run.tensorboard / "trials").iterdir()]
    assert sorted(trials) == ["random-0-0", "random-0-1"]
    for folder in (
        run.trial_events("random-0-0"),
        run.model_events(run.best(0)),
        run.model_events(run.baseline("i3posnet", 0)),
    ):
        assert list(folder.glob("events.out.tfevents.*"))
    before = sorted(run.tensorboard.rglob("*"))
    search(SearchOptions(settings=open_run(run.folder)[1], output=run.folder.parent, resume=True, quiet=True))
    assert sorted(run.tensorboard.rglob("*")) == before, "what is replayed is not shown twice"


def test_a_report_is_written_where_it_is_asked_for_and_names_tensorboard(run, tmp_path):
    path = report(ReportOptions(run=(run.folder,), output=tmp_path / "mine.html"))
    assert f"tensorboard --logdir {run.tensorboard}" in path.read_text()


def test_several_runs_are_compared_beside_the_first(run, tmp_path, capsys):
    copy = shutil.copytree(run.folder, tmp_path / run.folder.name)
    arguments = ("--run", run.folder, copy)
    cli.main(ReportOptions, report, [str(argument) for argument in arguments])
    path = run.folder.parent / "comparison.html"
    assert capsys.readouterr().out == f"{path}\n"
    text = path.read_text()
    assert "A snapnet (random) − B i3posnet" in text, "both were measured on the same cases"
    assert "All settings are the same." in text
    assert "each run is to be named once" in says(capsys, ReportOptions, report, "--run", copy, copy)


def test_an_evaluation_of_another_version_is_said(run, tmp_path, capsys):
    copy = Run(shutil.copytree(run.folder, tmp_path / run.folder.name))
    cases = copy.best(0).cases
    with np.load(cases) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "label"}
    np.savez(cases, **kept)
    said = says(capsys, ReportOptions, report, "--run", copy.folder)
    assert "cases.npz: there is no 'label" in said and "tfmedcai.evaluate" in said


def test_an_evaluation_says_how_far_it_is(run, capsys):
    evaluate(EvaluateOptions(settings=open_run(run.folder)[1], run=run.folder))
    assert "evaluating i3posnet, seed 0: images: 2/2\n" in capsys.readouterr().err


def files_in(folder) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("search --smoke --output OUT", {"run", "settings", "data", "candidate", "full size"}),
        ("train --architecture snapnet_a --smoke --output OUT", {"run", "data", "epochs", "networks"}),
        ("train --run RUN", {"run", "data", "epochs", "networks"}),
        ("evaluate --run RUN", {"data", "networks", "writes"}),
        ("predict --run RUN --image IMAGE --pose 80 60 20 --output OUT", {"network", "images", "output"}),
        ("report --run RUN", {"run", "report", "networks"}),
        ("serving export --run RUN --output OUT", {"network", "version", "signatures"}),
    ],
)
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run, tmp_path, capsys, command, expected):
    np.save(tmp_path / "image.npy", np.ones((128, 160), np.float32))
    places = {"RUN": run.folder, "OUT": tmp_path / "out", "IMAGE": tmp_path / "image.npy"}
    words = [str(places.get(word, word)) for word in command.split()]
    before = files_in(run.folder) | files_in(tmp_path)
    main([*words, "--dry_run"])
    plan = json.loads(capsys.readouterr().out)
    assert plan.keys() == expected
    assert files_in(run.folder) | files_in(tmp_path) == before
    if command.startswith("train"):
        assert {job["state"] for job in plan["networks"]} == {"trained" if "RUN" in command else "open"}
        assert all(job["parameters"] > 0 for job in plan["networks"])


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("search --settings SETTINGS --output PARENT --resume --quiet", "best"),
        ("train --run RUN --resume --quiet", "networks"),
        ("predict --run RUN --image IMAGE --pose 80 60 20 --output OUT", "answers"),
        ("report --run RUN", "report"),
    ],
)
def test_json_is_one_object_and_nothing_else(run, tmp_path, capsys, command, key):
    np.save(tmp_path / "image.npy", np.random.default_rng(0).uniform(size=(128, 160)).astype(np.float32))
    places = {"RUN": run.folder, "OUT": tmp_path / "out", "IMAGE": tmp_path / "image.npy"}
    places |= {"SETTINGS": run.settings, "PARENT": run.folder.parent}
    main([str(places.get(word, word)) for word in f"{command} --json".split()])
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert json.loads(said, parse_constant=pytest.fail)[key]


def test_what_was_done_stands_in_the_json_of_what_failed_in_part(run, tmp_path, capsys):
    np.save(tmp_path / "image.npy", np.random.default_rng(0).uniform(size=(128, 160)).astype(np.float32))
    (tmp_path / "text.png").write_text("no image")
    images = ["--image", str(tmp_path / "image.npy"), str(tmp_path / "text.png"), "--pose", "80", "60", "20"]
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--run", str(run.folder), *images, "--output", str(tmp_path / "out"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (caught.value.code, len(answer["answers"])) == (1, 1)
    assert answer["error"] == f"1 of 2 files have no answer: {tmp_path / 'text.png'}."
