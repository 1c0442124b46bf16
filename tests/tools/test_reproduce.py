"""What the re-test of AutoSNAP's claims says about journals and errors that are known."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tfmedcai.config import Settings
from tfmedcai.journal import Journal
from tfmedcai.runs import Run, write_json

SEEDS = 3


@pytest.fixture(scope="module")
def reproduce():
    path = Path(__file__).parents[2] / "tools" / "reproduce.py"
    spec = importlib.util.spec_from_file_location("reproduce", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    journal = Journal(run.trials)
    for seed in range(SEEDS):
        for oracle, scores in (("latent", (1.0, 3.0 + seed, 2.0)), ("random", (1.0, None, 2.0))):
            for trial, score in enumerate(scores):
                row = {"oracle": oracle, "seed": seed, "trial": trial, "score": score, "key": f"{oracle}{trial}"}
                journal.append(row | {"state": "COMPLETED" if score else "FAILED", "source": "trained"})
    for network, error in (("snapnet (latent)", 0.5), ("i3posnet", 0.8)):
        for seed in range(SEEDS):
            folder = run.best(seed) if network.startswith("snapnet") else run.baseline(network, seed)
            folder.folder.mkdir(parents=True)
            folder.model.touch()
            for path in (folder.card, folder.evaluation):
                write_json(path, {"network": network})
            cases = np.linspace(0, 1, 20) + error + 0.1 * seed
            np.savez(folder.cases, all_position_error_mm=cases, all_angle_error_deg=2 * cases)
    return run


def test_the_better_oracle_comes_first(reproduce, run):
    lines = list(reproduce.search_results("snap", run, Settings(seeds=SEEDS)))
    ends = {
        (line["method"], line["seed"]): line["value"] for line in lines if line.get("metric") == "best value at the end"
    }
    assert ends == {("latent", seed): 3.0 + seed for seed in range(3)} | {("random", seed): 2.0 for seed in range(3)}
    means = [line["value"] for line in lines if line.get("metric") == "best value, mean of the curve"]
    assert means[:2] == [pytest.approx(7 / 3, abs=1e-4), pytest.approx(3.0)]
    assert lines[-1]["order"] == ["latent", "random"]
    assert (lines[-1]["mean"], lines[-1]["std"], lines[-1]["n"]) == (2.0, 1.0, 3)


def test_networks_are_compared_on_each_case(reproduce, run):
    lines = list(reproduce.network_order("snap", run, Settings()))
    assert [line["metric"] for line in lines] == ["position_error_mm", "angle_error_deg"]
    for line, scale in zip(lines, (1, 2), strict=True):
        assert line["means"] == {"snapnet (latent)": pytest.approx(1.1 * scale), "i3posnet": pytest.approx(1.4 * scale)}
        assert line["std_of_seeds"]["i3posnet"] == pytest.approx(0.1 * scale)
        (pair,) = line["pairs"]
        assert line["n"] == 20 and pair["p_holm"] < 1e-3
        assert pair["median_difference"] == pytest.approx(-0.3 * scale)


def test_a_structure_that_was_never_found_has_no_mean_distance(reproduce):
    assert reproduce.mean_of_finite(np.array([1.0, np.inf, 3.0])) == 2.0
    assert np.isnan(reproduce.mean_of_finite(np.array([np.inf])))


@pytest.mark.slow
def test_the_shrunken_claim_runs_and_runs_again_at_once(reproduce, tmp_path):
    from tfmedcai.config import read_settings

    claim = reproduce.CLAIMS["snap"]
    settings = read_settings(reproduce.ROOT / "search" / claim.file).smoke()
    first, second = (list(reproduce.retest("snap", settings, tmp_path)) for _ in range(2))
    assert first == second
    methods = {line["method"] for line in first if "method" in line}
    assert methods == {"latent", "random", "snapnet (latent)", "i3posnet"}
