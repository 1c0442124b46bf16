import pytest

from tfmedcai.reports import summary
from tfmedcai.reports.series import Objective


def row(oracle, score, seed=0):
    return {"oracle": oracle, "seed": seed, "state": "COMPLETED", "score": score, "key": f"{oracle}{score}{seed}"}


def test_searches_are_compared_at_the_same_number_of_architectures():
    trials = [row("latent", 1.0), row("latent", 2.0), row("latent", 9.0), row("random", 1.0), row("random", 1.5)]
    text = summary.compare_searches(trials, Objective("value"))
    assert text == (
        "After 2 scored architectures, latent reached 2 (one seed) in value and random search 1.5 (one seed): "
        "a difference of +0.5, where higher is better."
    )


def test_the_comparison_names_mean_and_range_of_seeds():
    trials = [row("local", 1.0), row("local", 3.0, seed=1), row("random", 4.0)]
    text = summary.compare_searches(trials, Objective("loss", direction="min"))
    assert "local reached 2 (mean of 2 seeds, 1 to 3)" in text
    assert "difference of -2, where lower is better" in text


def test_without_random_search_there_is_no_comparison():
    assert summary.compare_searches([row("latent", 1.0)], Objective()) == ""
    assert summary.compare_searches([], Objective()) == ""


def test_networks_are_compared_in_the_first_group(run):
    text = summary.compare_networks(run().evaluations, "i3posnet")
    assert text == (
        "Means, 3 iterations: snapnet position error 0.022 mm and angle error 0.63 deg with 173,796 parameters; "
        "i3posnet position error 0.033 mm and angle error 0.94 deg with 2,894,508 parameters."
    )


def test_best_trial_of_an_oracle_and_of_all():
    trials = [row("latent", 1.0), row("random", 2.0), {"oracle": "latent", "state": "FAILED", "score": None}]
    assert summary.best_trial(trials, Objective())["oracle"] == "random"
    assert summary.best_trial(trials, Objective(), "latent")["score"] == 1.0
    assert summary.best_trial(trials, Objective(direction="min"))["score"] == 1.0
    assert summary.best_trial([], Objective()) is None


def test_counts_and_seconds(trials, run):
    found = summary.counts(trials)
    assert sum(found.values()) == len(trials)
    assert found["failed"] == 18
    in_trials, in_fits = summary.seconds([*trials, {"time": None}, {}], run().rounds)
    assert in_trials == pytest.approx(sum(one["time"]["seconds"] for one in trials))
    assert in_fits == pytest.approx(18 * 4.0)


def test_failures_name_the_commonest_reasons():
    trials = [{"state": "FAILED", "reason": f"reason {i % 7}"} for i in range(8)]
    text = summary.failures(trials)
    assert text.startswith("8 of 8 trials failed: reason 0 (2);")
    assert text.endswith("2 other reasons.")
    assert summary.failures([row("latent", 1.0)]) == ""
