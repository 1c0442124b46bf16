"""Scores that are means of parts."""

from dataclasses import dataclass

import pytest

from tests.conformance_oracle import Disordered
from tfmedcai.config.searches import StoppingSettings
from tfmedcai.journal import Journal
from tfmedcai.reports.series import Objective
from tfmedcai.search.executors.executor import Ended, InProcess
from tfmedcai.search.parts import PartScorer
from tfmedcai.search.stopping import Stopping


@dataclass(frozen=True)
class Named:
    key: str
    space: str = "named"


def stopping(name, **settings):
    return Stopping(StoppingSettings(**settings), Objective(name))


def scorer(path, trained, fail_at=None):
    def score(architecture, epochs, seed, part, bars, name):
        if part == fail_at:
            raise KeyboardInterrupt
        trained.append((architecture.key, epochs, seed, part))
        return {"dice": 0.1 * (part + 1), "parameters": 7.0}

    return PartScorer(InProcess(score), 3, 5, Journal(path), stopping("dice"))


def score_of(scorer, architecture, epochs):
    """The answer for one architecture."""
    scorer.submit("trial", architecture, epochs)
    ended = []
    while scorer.running:
        ended += scorer.wait()
    (only,) = ended
    assert only.name == "trial"
    return only.answer


def test_the_mean_of_the_parts_and_their_deviation(tmp_path):
    trained = []
    metrics = score_of(scorer(tmp_path / "parts.jsonl", trained), Named("a"), 2)
    assert metrics == {"dice": pytest.approx(0.2), "parameters": 7.0, "dice_std": pytest.approx(0.1)}
    assert trained == [("a", 2, 5, part) for part in range(3)]


def test_a_stopped_score_goes_on_with_the_part_that_is_missing(tmp_path):
    path, trained = tmp_path / "parts.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        score_of(scorer(path, trained, fail_at=2), Named("a"), 2)
    with path.open("a") as file:
        file.write('{"half')
    again = []
    assert score_of(scorer(path, again), Named("a"), 2)["dice"] == pytest.approx(0.2)
    assert again == [("a", 2, 5, 2)]
    score_of(scorer(path, again), Named("a"), 3)
    assert again[1:] == [("a", 3, 5, part) for part in range(3)], "other epochs are another score"


def test_a_single_part_writes_nothing(tmp_path):
    journal = Journal(tmp_path / "parts.jsonl")
    one = PartScorer(InProcess(lambda *arguments: {"value": 1.0}), 1, 0, journal, stopping("value"))
    assert score_of(one, Named("a"), 1) == {"value": 1.0}
    assert not journal.path.exists()


def test_parts_of_several_trials_run_side_by_side_and_a_free_worker_never_waits(tmp_path):
    def score(architecture, epochs, seed, part, bars, name):
        return {"dice": float(part + ord(architecture.key)), "parameters": 7.0}

    workers = Disordered(score, workers=4)
    parts = PartScorer(workers, 3, 0, Journal(tmp_path / "parts.jsonl"), stopping("dice"))
    answers = {}
    for key in "abcd":
        while not parts.free:
            answers |= {ended.name: ended.answer["dice"] for ended in parts.wait()}
            assert workers.free == 0 or parts.free > 0
        parts.submit(key, Named(key), 1)
    while parts.running:
        answers |= {ended.name: ended.answer["dice"] for ended in parts.wait()}
    assert answers == {key: 1.0 + ord(key) for key in "abcd"}
    assert len(Journal(tmp_path / "parts.jsonl").read()) == 12


def test_a_trial_with_a_failed_part_has_failed_and_gives_up_the_others(tmp_path):
    called = []

    def score(architecture, epochs, seed, part, bars, name):
        called.append(part)
        if part == 1:
            raise MemoryError("too large")
        return {"dice": 0.0, "parameters": 7.0}

    parts = PartScorer(InProcess(score), 5, 0, Journal(tmp_path / "parts.jsonl"), stopping("dice"))
    parts.submit("trial", Named("a"), 1)
    ended = []
    while parts.running:
        ended += parts.wait()
    assert [(call.name, call.reason) for call in ended] == [("trial", "MemoryError: too large")]
    assert isinstance(ended[0], Ended)
    assert called == [0, 1]
