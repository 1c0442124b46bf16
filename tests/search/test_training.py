"""The training of a trial: looking at it changes no score, it ends early, and goes on after its process was killed."""

import os
import signal
import time

import pytest

from tfmedcai.config import Settings
from tfmedcai.runs import Run
from tfmedcai.search.executors.processes import LocalProcesses
from tfmedcai.search.training import TrialTraining
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.tasks import fitting
from tfmedcai.tasks.pose import PoseTask
from tfmedcai.tasks.watch import Bar

EPOCHS, EVERY = 5, 2
SETTINGS = Settings().smoke().updated({"search": {"checkpoint_epochs": EVERY}, "pose": {"image_size": (128, 160)}})
SNAP = Snap.parse("conv3x3")


@pytest.fixture(scope="module")
def task():
    return PoseTask(SETTINGS)


@pytest.fixture(scope="module")
def undisturbed(task):
    return task.score(SNAP, EPOCHS, 0)


def without_course(answer):
    return {name: value for name, value in answer.items() if "@" not in name and name != "epochs"}


def test_looking_changes_no_score_and_the_course_is_told(task, tmp_path, undisturbed):
    bars = tuple(Bar(epoch, -1e9, 5) for epoch in range(1, EPOCHS))
    answer = TrialTraining(task, Run(tmp_path))(SNAP, EPOCHS, 0, 0, bars, "latent-0-3")
    assert without_course(answer) == undisturbed
    assert answer["epochs"] == EPOCHS
    assert {f"value@{epoch}" for epoch in range(1, EPOCHS)} < set(answer)
    assert not list(tmp_path.glob("checkpoints/*")), "a finished trial needs none"
    (events,) = Run(tmp_path).trial_events("latent-0-3").iterdir()
    assert b"loss" in events.read_bytes(), "TensorBoard shows it"


def test_a_training_below_its_bar_ends_there(task, tmp_path):
    answer = TrialTraining(task, Run(tmp_path))(SNAP, EPOCHS, 0, 0, (Bar(1, -1e9, 5), Bar(3, 1e9, 5)), "latent-0-3")
    assert answer["epochs"] == 3
    assert answer["value"] == answer["value@3"]


def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_in_the_same_score(
    task, tmp_path, monkeypatch, undisturbed
):
    saved, save = [], fitting._save

    def killed(model, rows, checkpoint):
        save(model, rows, checkpoint)
        saved.append(len(rows))
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_save", killed)
    training = TrialTraining(task, Run(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        training(SNAP, EPOCHS, 0, 0, (), "latent-0-3")
    assert saved == [EVERY, 2 * EVERY]
    (checkpoint,) = tmp_path.glob("checkpoints/*.keras")
    assert training(SNAP, EPOCHS, 0, 0, (), "latent-0-3") == undisturbed
    assert saved == [EVERY, 2 * EVERY], "it went on behind the last one"
    assert not checkpoint.exists()


def test_a_checkpoint_that_cannot_be_written_or_read_costs_no_trial(task, tmp_path, monkeypatch, undisturbed, capsys):
    training = TrialTraining(task, Run(tmp_path))
    checkpoint = training._checkpoint(SNAP, EPOCHS, 0, 0)
    checkpoint.parent.mkdir()
    checkpoint.write_text("torn")

    def full(model, rows, checkpoint):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fitting, "_save", full)
    assert training(SNAP, EPOCHS, 0, 0, (), "latent-0-3") == undisturbed
    said = capsys.readouterr().out
    assert "this checkpoint is damaged; training from the start" in said
    assert "not written (No space left on device)" in said


def test_a_failed_trial_leaves_no_checkpoint(task, tmp_path, monkeypatch):
    save = fitting._save

    def broken(model, rows, checkpoint):
        save(model, rows, checkpoint)
        raise ZeroDivisionError

    monkeypatch.setattr(fitting, "_save", broken)
    with pytest.raises(ZeroDivisionError):
        TrialTraining(task, Run(tmp_path))(SNAP, EPOCHS, 0, 0, (), "latent-0-3")
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.slow
def test_the_same_where_the_process_is_killed(task, tmp_path):
    """Both in processes of their own, since the number of threads decides the last digits."""
    call, answers = (SNAP, 60, 0, 0, ()), {}
    task.prepare()
    for name in ("calm", "killed"):
        folder = tmp_path / name
        with LocalProcesses(TrialTraining(task, Run(folder)), 1) as executor:
            executor.submit(name, *call, name)
            if name == "killed":
                (process, *_) = executor._processes[name]
                deadline = time.monotonic() + 60
                while not list(folder.glob("checkpoints/[0-9a-f]*")) and time.monotonic() < deadline:
                    time.sleep(0.01)
                os.kill(process.pid, signal.SIGKILL)
            (ended,) = executor.wait()
            answers[name] = ended.answer
    assert answers["killed"] == answers["calm"]
    assert executor.running == 0
