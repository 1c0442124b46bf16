"""The latent oracle: random first, then near the best known and upwards; exact replay; diagnostics; kept weights."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import keras_tuner
import numpy as np
import pytest

from tests.conformance_oracle import OBJECTIVE, WordSpace, check_oracle, oracle_space, run_search, score_word
from tfmedcai.journal import Journal
from tfmedcai.search.oracles import latent
from tfmedcai.search.oracles.baseline import RandomOracle
from tfmedcai.search.oracles.latent import LatentOracle, latent_oracle
from tfmedcai.search.proposals import Proposals

SETTINGS = SimpleNamespace(
    initial=4,
    per_round=2,
    latent_size=4,
    lstm_units=4,
    fit_steps=5,
    batch_size=16,
    learning_rate=1e-2,
    ascent_steps=10,
    step_size=0.2,
)


def small(space, seed, objective):
    return latent_oracle(space, SETTINGS, seed, objective)


class TableAutoEncoder:
    """Stands in for the auto-encoder: the latent vector is the tokens, so that each proposal can be foretold."""

    def __init__(self, sequence_length, vocabulary_size, settings, seed):
        self.largest, self.fits, self.up = vocabulary_size - 1, [], np.eye(sequence_length)[0]

    def fit(self, random, known, values, seed):
        self.fits.append((random, known, values, seed))
        return {"reconstruction": 0.0, "value": 0.0, "consistency": 0.0}

    def encode(self, tokens):
        return tokens / self.largest * 2 - 1

    def decode(self, latent):
        return np.rint((latent + 1) / 2 * self.largest).astype(np.int32)

    def value(self, latent):
        return latent @ self.up

    def gradient(self):
        return self.up

    def state(self):
        return [np.array(len(self.fits))]

    def load_state(self, state):
        self.fits = [None] * int(state[0])


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(latent, "SequenceAutoEncoder", TableAutoEncoder)


def settings(**changes):
    return SimpleNamespace(**{**vars(SETTINGS), **changes})


@pytest.mark.parametrize("seconds", [0, 0.02])
def test_is_an_oracle_however_long_a_fit_takes(tmp_path, table, monkeypatch, seconds):
    fit = TableAutoEncoder.fit
    monkeypatch.setattr(
        TableAutoEncoder, "fit", lambda *arguments, **named: time.sleep(seconds) or fit(*arguments, **named)
    )
    check_oracle(small, tmp_path)


def test_a_killed_search_is_replayed_exactly_with_the_true_autoencoder(tmp_path):
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from tests.conformance_oracle import OBJECTIVE, WordSpace, run_search, score_word
        from tests.search.test_latent import small
        calls = []
        def evaluate(word, epochs):
            calls.append(word)
            if len(calls) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return score_word(word, epochs)
        run_search(small(WordSpace(3), 0, OBJECTIVE), Path(sys.argv[1]), evaluate)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "journal")], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    before = Journal(tmp_path / "journal").read()
    assert len(before) == 5
    # The tuner refuses proposals that differ from the written ones, and the fifth was found by a fit.
    rows = run_search(small(WordSpace(3), 0, OBJECTIVE), tmp_path / "journal")
    assert [row["key"] for row in rows[:5]] == [row["key"] for row in before]
    assert len(rows) >= 7


def test_begins_with_the_architectures_of_random_search(tmp_path, table):
    space = WordSpace()
    random = run_search(RandomOracle(space, OBJECTIVE, 3), tmp_path / "random", seed=3)
    ours = run_search(latent_oracle(space, settings(initial=5), 3, OBJECTIVE), tmp_path / "latent", seed=3)
    assert [row["key"] for row in ours[:5]] == [row["key"] for row in random[:5]]
    assert [row["key"] for row in ours[5:]] != [row["key"] for row in random[5:]]


def test_proposes_what_lies_up_the_value_from_the_best_known(tmp_path, table):
    space = WordSpace(sequence_length=3)
    texts = iter(["aca", "bab", "aab", "cab"])

    class Fixed(WordSpace):
        def sample(self, rng):
            return self.parse(next(texts, "c"))

    oracle = latent_oracle(Fixed(3), settings(initial=4, per_round=3, latent_size=3), 0, OBJECTIVE)
    scores = {"aca": 3.0, "bab": 2.0, "ab": 1.0, "cab": 0.0}
    rows = run_search(oracle, tmp_path / "j", lambda word, _: {"value": scores.get(word.key, 0.0), "parameters": 1})
    # The first letter grows: aca -> bca; bab -> cab is known, so nothing; aab (read as ab) -> bab, cab: known as well.
    assert rows[4]["key"] == "bca"
    assert len({row["key"] for row in rows}) == len(rows)
    assert space.sequence_length == 3


def test_looks_at_nothing_before_the_first_step(tmp_path, table, monkeypatch):
    looked, decode = [], TableAutoEncoder.decode
    monkeypatch.setattr(TableAutoEncoder, "decode", lambda self, places: looked.append(places) or decode(self, places))
    oracle = latent_oracle(WordSpace(3), settings(initial=5, per_round=2, latent_size=3), 0, OBJECTIVE)
    run_search(oracle, tmp_path / "j", lambda word, _: {"value": len(word.text), "parameters": 1}, trials=6)
    _, known, values, _ = oracle._autoencoder.fits[0]
    starts = oracle._autoencoder.encode(known[np.argsort(-values, kind="stable")][:2])
    places = looked[0].reshape(2, -1, 3)
    step = SETTINGS.step_size * oracle._autoencoder.gradient()
    assert places.shape[1] == SETTINGS.ascent_steps
    np.testing.assert_allclose(places[:, 0], np.clip(starts + step, -1, 1))
    np.testing.assert_allclose(places[:, 1], np.clip(starts + 2 * step, -1, 1))


def test_a_round_works_beside_the_trials(tmp_path, table):
    oracle = latent_oracle(WordSpace(), settings(initial=3, per_round=2), 0, OBJECTIVE)
    proposals = Proposals(oracle, WordSpace())
    for _ in range(6):
        proposals.ask()
    for number in range(2):
        proposals.tell(number, {"score": float(number)})
    assert proposals.ask() is not None, "too little is known: random architectures"
    assert oracle.fitting is None
    proposals.tell(2, {"score": 2.0})
    assert proposals.ask_now() is not None
    assert [row["known"] for row in oracle.rounds] == [3]
    assert 1 + len(oracle._pending) == 4, "as many as run side by side"
    proposals.tell(3, {"score": 3.0})
    assert proposals.ask() is not None
    assert oracle.fitting is not None, "the next round begins before the proposals end"
    assert proposals.ask_now() is not None


def test_behind_the_last_trial_no_round_is_begun(tmp_path, table):
    oracle = latent_oracle(WordSpace(), settings(initial=3), 0, OBJECTIVE)
    run_search(oracle, tmp_path / "j", lambda word, _: {"value": 1.0, "parameters": 1}, trials=3)
    assert oracle._due is not None
    assert oracle.fitting is None
    assert oracle.rounds == []


def test_draws_more_while_all_have_failed(tmp_path, table):
    calls = []

    def evaluate(word, epochs):
        calls.append(word)
        if len(calls) < 4:
            raise MemoryError
        return {"value": len(word.text), "parameters": 1}

    oracle = latent_oracle(WordSpace(), settings(initial=2), 0, OBJECTIVE)
    run_search(oracle, tmp_path / "j", evaluate, trials=3)
    assert [row["known"] for row in oracle.rounds] == [2]


def test_never_proposes_a_known_architecture_and_ends_when_none_is_left(tmp_path, table):
    space = WordSpace(sequence_length=2)
    oracle = latent_oracle(space, settings(initial=2, per_round=4, latent_size=2), 0, OBJECTIVE)
    rows = run_search(oracle, tmp_path / "j", trials=1000)
    keys = [row["key"] for row in rows]
    assert len(set(keys)) == len(keys) == 3 + 6


@pytest.mark.parametrize("direction", ["max", "min"])
def test_best_is_what_the_objective_says(table, tmp_path, direction):
    oracle = latent_oracle(WordSpace(), settings(initial=3), 0, keras_tuner.Objective("value", direction))
    run_search(oracle, tmp_path / "j", lambda word, _: {"value": len(word.key), "parameters": 1}, trials=4)
    _, known, values, _ = oracle._autoencoder.fits[0]
    lengths = [len(oracle.space.decode(tokens).key) for tokens in known]
    assert values.tolist() == [length if direction == "max" else -length for length in lengths]


def test_failed_trials_teach_nothing(table, tmp_path):
    def evaluate(word, epochs):
        if word.key.startswith("a"):
            raise MemoryError
        return {"value": 1.0 * len(word.key), "parameters": 1}

    oracle = latent_oracle(WordSpace(), settings(initial=6, per_round=3), 0, OBJECTIVE)
    rows = run_search(oracle, tmp_path / "j", evaluate, trials=8)
    failed = {row["key"] for row in rows if row["state"] == "FAILED"}
    assert failed
    for _, known, values, _ in oracle._autoencoder.fits:
        assert len(known) == len(values)
        assert not failed & {oracle.space.decode(tokens).key for tokens in known}


def test_rounds_say_how_good_the_estimate_was(table, tmp_path):
    def evaluate(word, epochs):
        return {"value": float(word.text[0] == "c") + 0.5 * (word.text[0] == "b"), "parameters": 1}

    oracle = latent_oracle(WordSpace(), settings(initial=4, per_round=5), 0, OBJECTIVE)
    run_search(oracle, tmp_path / "j", evaluate, trials=15)
    first, second, third = oracle.rounds
    assert [row["round"] for row in oracle.rounds] == [0, 1, 2]
    assert [row["known"] for row in oracle.rounds] == [4, 9, 14]
    assert first["rank_correlation"] is None
    # The stand-in's value is the first letter, and so is the score.
    assert all(row["rank_correlation"] is None or row["rank_correlation"] > 0.99 for row in (second, third))
    assert (second["rank_correlation"], third["rank_correlation"]) != (None, None)
    assert set(first["fit"]) == {"reconstruction", "value", "consistency"}


def test_kept_weights_save_the_fit_and_change_nothing(table, tmp_path):
    def search(journal, space=None):
        oracle = LatentOracle(space or WordSpace(), SETTINGS, 0, OBJECTIVE, tmp_path / "weights")
        return run_search(oracle, tmp_path / journal), oracle

    whole, first = search("first")
    again, second = search("second")
    assert again == whole
    assert all(fit is not None for fit in first._autoencoder.fits)
    assert all(fit is None for fit in second._autoencoder.fits), "all fits must come from the folder"
    assert [row["fit"] for row in second.rounds] == [row["fit"] for row in first.rounds]


def test_weights_of_another_fit_or_damaged_ones_are_not_taken(table, tmp_path):
    def search(journal, **changes):
        oracle = LatentOracle(WordSpace(), settings(**changes), 0, OBJECTIVE, tmp_path / "weights")
        run_search(oracle, tmp_path / journal)
        return oracle._autoencoder.fits

    search("first")
    assert all(fit is not None for fit in search("second", fit_steps=6))
    for file in (tmp_path / "weights").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert all(fit is not None for fit in search("third", fit_steps=6))


def test_scores_without_spread_do_no_harm(tmp_path, table):
    rows = run_search(small(WordSpace(), 0, OBJECTIVE), tmp_path / "j", lambda word, _: {"value": 1.0, "parameters": 1})
    assert len(rows) == 7


@pytest.mark.slow
def test_finds_more_than_random_search(tmp_path):
    ours, random = [], []
    for seed in range(3):
        spaces = [WordSpace(8), WordSpace(8)]
        generous = settings(initial=10, per_round=5, fit_steps=300, latent_size=8, lstm_units=8)
        oracles = [latent_oracle(spaces[0], generous, seed, OBJECTIVE), RandomOracle(spaces[1], OBJECTIVE, seed)]
        for found, oracle in zip((ours, random), oracles, strict=True):
            path = tmp_path / f"{type(oracle).__name__}-{seed}"
            assert oracle_space(oracle).sequence_length == 8
            rows = run_search(oracle, path, score_word, trials=30, seed=seed)
            found.append(np.mean(sorted(row["score"] for row in rows[10:] if row["score"] is not None)))
    assert np.mean(ours) > np.mean(random) + 0.3
