"""The baseline oracles: seeds are real and apart, no architecture twice, an end when none is left."""

import keras_tuner
import numpy as np
import pytest

from tests.conformance_oracle import OBJECTIVE, WordSpace, run_search
from tfmedcai.config import BayesianSettings, HyperbandSettings
from tfmedcai.search.oracles import baseline
from tfmedcai.search.oracles.baseline import RandomOracle, draw_unknown

KERAS_TUNERS = [(baseline.bayesian_oracle, BayesianSettings()), (baseline.hyperband_oracle, HyperbandSettings())]


def letters(factory, settings, seed):
    """All letters that an oracle draws for its first words, in the order of drawing."""
    oracle = factory(WordSpace(30), settings, seed, OBJECTIVE)
    drawn = [oracle._random_values() for _ in range(3)]
    return "".join(values[f"letter_{place}"] for values in drawn for place in range(30))


@pytest.mark.parametrize(("factory", "settings"), KERAS_TUNERS)
def test_zero_is_a_seed(factory, settings):
    assert letters(factory, settings, 0) == letters(factory, settings, 0)


@pytest.mark.parametrize(("factory", "settings"), KERAS_TUNERS)
def test_neighbouring_seeds_share_nothing(factory, settings):
    first, second = letters(factory, settings, 0), letters(factory, settings, 1)
    for shift in range(10):
        same = np.mean([a == b for a, b in zip(first[shift:], second, strict=False)])
        assert same < 0.6, f"seed 1 draws what seed 0 draws, {shift} letters later"


def test_random_search_draws_each_graph_once_and_then_stops(tmp_path):
    rows = run_search(RandomOracle(WordSpace(2), OBJECTIVE, 0), tmp_path / "j", trials=100)
    keys = [row["key"] for row in rows]
    assert sorted(keys) == ["a", "ab", "ac", "b", "ba", "bc", "c", "ca", "cb"]


def test_draw_unknown_passes_over_what_is_known():
    known = {"a", "b", "ab", "ac", "ba", "bc", "ca", "cb"}
    assert draw_unknown(WordSpace(2).sample, np.random.default_rng(0), known).key == "c"
    assert draw_unknown(WordSpace(2).sample, np.random.default_rng(0), known | {"c"}) is None


def test_the_objective_is_the_one_asked_for():
    objective = keras_tuner.Objective("error", "min")
    for factory, settings in KERAS_TUNERS:
        assert factory(WordSpace(), settings, 0, objective).objective == objective
