"""Which architecture is trained with which seed: nothing that was chosen with a seed's held-out subjects in view."""

from types import SimpleNamespace

import pytest

from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.reports.series import Objective
from tfmedcai.runs import Run
from tfmedcai.train import _jobs


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    for seed, architecture, score in ((0, "conv3x3", 1.0), (1, "conv1x1", 3.0)):
        for oracle, add in (("latent", 0.0), ("random", -0.5)):
            row = {"oracle": oracle, "seed": seed, "architecture": architecture, "score": score + add}
            Journal(run.trials).append(row | {"state": "COMPLETED"})
    return run


@pytest.mark.parametrize(("seeds_hold_out", "trained"), [(True, ["conv3x3", "conv1x1"]), (False, ["conv1x1"] * 2)])
def test_seeds_that_hold_subjects_out_train_what_their_own_search_found(run, seeds_hold_out, trained):
    settings = Settings(seeds=2).updated({"training": {"baselines": ["i3posnet", "random"]}})
    task = SimpleNamespace(
        settings=settings, objective=Objective(), seeds_hold_out=seeds_hold_out, baselines=("i3posnet",)
    )
    jobs = _jobs(task, run, None)
    of = {oracle: [str(job.candidate) for job in jobs if job.origin == oracle] for oracle in ("latent", "random")}
    assert of == {"latent": trained, "random": trained}
    assert [str(job.candidate) for job in jobs if job.origin is None] == ["i3posnet"] * 2
    assert len({job.folder.folder for job in jobs}) == 6
    given = _jobs(task, run, "dw3x3")
    assert [str(job.candidate) for job in given] == ["dw3x3"] * 2 + ["i3posnet"] * 2


def test_a_preset_stands_beside_the_best_of_another_space(run):
    settings = Settings().updated({"training": {"baselines": ["darts_v2", "vnas_2d_p3d"]}})
    task = SimpleNamespace(settings=settings, objective=Objective(), seeds_hold_out=False)
    beside = [job for job in _jobs(task, run, None) if job.origin != "latent"]
    assert [(job.origin, job.candidate.space) for job in beside] == [
        ("darts_v2", "darts_cell"),
        ("vnas_2d_p3d", "volumetric"),
    ]
    assert [job.folder.folder.parent.name for job in beside] == ["darts_v2", "vnas_2d_p3d"]


def test_a_network_made_by_hand_may_be_what_is_trained_and_stands_not_beside_itself(run):
    settings = Settings(seeds=2).updated({"training": {"baselines": ["i3posnet"]}})
    task = SimpleNamespace(settings=settings, objective=Objective(), seeds_hold_out=False, baselines=())
    jobs = _jobs(task, run, "i3posnet")
    assert [(job.candidate, job.origin, job.seed) for job in jobs] == [("i3posnet", None, 0), ("i3posnet", None, 1)]
