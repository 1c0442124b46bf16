"""The oracle of relaxed searches: proposes once, from the mean of the parts; the search as a user runs it."""

import json

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from tfmedcai import cli
from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.runs import open_run
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.search.oracles.supernet import SupernetOracle
from tfmedcai.search_spaces.darts_cell import DartsCellSpace
from tfmedcai.search_spaces.genotype import CANDIDATES, OPERATIONS

OBJECTIVE = keras_tuner.Objective("value", "max")
SETTINGS = (
    Settings()
    .smoke()
    .updated(
        {
            "space": "darts_cell",
            "oracle": "supernet",
            "pose": {"image_size": (128, 160)},
            "darts_net": {"search_cells": 1, "search_filters": 2},
            "search": {"trials": 1},
        }
    )
)


def mixtures(operation, share=0.5):
    weights = np.full((14, 8), (1 - share) / 7)
    weights[:, CANDIDATES.index(operation)] = share
    return {"normal": weights, "reduction": weights}


def proposals(oracle, folder):
    oracle._set_project_dir(folder, "checked")
    oracle.verbose = 0
    trials = [oracle.create_trial(f"worker {number}") for number in range(2)]
    return [trial for trial in trials if trial.status == TrialStatus.RUNNING]


def test_proposes_the_mean_of_the_parts_once(tmp_path):
    space = DartsCellSpace()
    oracle = SupernetOracle(space, OBJECTIVE, 0)
    for operation, share in (("sep3", 0.9), ("skip", 0.6), ("skip", 0.6)):
        oracle.learn(mixtures(operation, share), [{"epoch": 1, "loss": 0.5}])
    (trial,) = proposals(oracle, tmp_path)
    genotype = space.declare(trial.hyperparameters)
    # The sum of probabilities decides, 1.2 + 0.014 against 0.9 + 0.114, not the most certain part.
    assert {edge.operation for cell in (genotype.normal, genotype.reduction) for node in cell for edge in node} == {
        "skip"
    }
    assert [(row["round"], row["part"]) for row in oracle.rounds] == [(0, 0), (1, 1), (2, 2)]


def test_must_be_taught(tmp_path):
    oracle = SupernetOracle(DartsCellSpace(), OBJECTIVE, 0)
    with pytest.raises(ValueError, match="by `learn` before it proposes"):
        oracle.populate_space("0000")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return search(SearchOptions(settings=SETTINGS, output=tmp_path_factory.mktemp("runs"), quiet=True))


def test_a_search_is_one_trial_beside_random_search(run):
    rows = Journal(run.trials).read()
    assert [row["oracle"] for row in rows] == ["supernet", "random"]
    assert all(row["state"] == "COMPLETED" and np.isfinite(row["score"]) for row in rows)
    found = DartsCellSpace().parse(rows[0]["architecture"])
    assert {edge.operation for node in found.normal for edge in node} <= set(OPERATIONS)
    epochs = Journal(run.rounds).read()
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert epochs[0]["architecture_loss"] == 0 < epochs[1]["architecture_loss"]
    assert rows[0]["architecture"].split()[0] in run.report.read_text()


def test_resuming_an_ended_search_changes_nothing(run):
    before = run.trials.read_text(), run.rounds.read_text(), run.relaxed(0, 0).read_bytes()
    search(SearchOptions(settings=open_run(run.folder)[1], output=run.folder.parent, resume=True, quiet=True))
    assert (run.trials.read_text(), run.rounds.read_text(), run.relaxed(0, 0).read_bytes()) == before


def test_a_dry_run_tells_the_size_of_the_supernet(capsys):
    arguments = ["--dry_run", "--smoke", "--space", "darts_cell", "--oracle", "supernet"]
    cli.main(SearchOptions, search, arguments)
    facts = json.loads(capsys.readouterr().out)
    assert facts["supernet"]["parameters"] > facts["candidate"]["parameters"]
    assert facts["supernet"]["multiply_accumulates"] > facts["candidate"]["multiply_accumulates"]


def test_a_space_without_a_supernet_is_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit):
        cli.main(SearchOptions, search, ["--oracle", "supernet", "--output", str(tmp_path)])
    line = capsys.readouterr().err.strip()
    assert "needs a space that has a supernet: darts_cell" in line
    assert "Received `snap`" in line
    assert "\n" not in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"oracle": "random"}, {"strategy": "mirrored"}, "is for supernets. Received the oracle `random`"),
        ({}, {"strategy": "multiworker", "fresh": True}, "would delete the run of another"),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused_before_anything_is_written(tmp_path, changes, options, says):
    with pytest.raises(ValueError, match=says):
        search(SearchOptions(settings=SETTINGS.updated(changes), output=tmp_path, **options))
    assert not list(tmp_path.iterdir())
