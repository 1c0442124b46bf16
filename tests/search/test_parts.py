"""Scores that are means of parts."""

from dataclasses import dataclass

import pytest

from tfmedcai.journal import Journal
from tfmedcai.search.parts import PartScorer


@dataclass(frozen=True)
class Named:
    key: str
    space: str = "named"


def scorer(path, trained, fail_at=None):
    def score(architecture, epochs, seed, part):
        if part == fail_at:
            raise KeyboardInterrupt
        trained.append((architecture.key, epochs, seed, part))
        return {"dice": 0.1 * (part + 1), "parameters": 7.0}

    return PartScorer(score, 3, 5, Journal(path), "dice")


def test_the_mean_of_the_parts_and_their_deviation(tmp_path):
    trained = []
    metrics = scorer(tmp_path / "parts.jsonl", trained)(Named("a"), 2)
    assert metrics == {"dice": pytest.approx(0.2), "parameters": 7.0, "dice_std": pytest.approx(0.1)}
    assert trained == [("a", 2, 5, part) for part in range(3)]


def test_a_stopped_score_goes_on_with_the_part_that_is_missing(tmp_path):
    path, trained = tmp_path / "parts.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        scorer(path, trained, fail_at=2)(Named("a"), 2)
    with path.open("a") as file:
        file.write('{"half')
    again = []
    assert scorer(path, again)(Named("a"), 2)["dice"] == pytest.approx(0.2)
    assert again == [("a", 2, 5, 2)]
    scorer(path, again)(Named("a"), 3)
    assert again[1:] == [("a", 3, 5, part) for part in range(3)], "other epochs are another score"


def test_a_single_part_writes_nothing(tmp_path):
    journal = Journal(tmp_path / "parts.jsonl")
    assert PartScorer(lambda *arguments: {"value": 1.0}, 1, 0, journal, "value")(Named("a"), 1) == {"value": 1.0}
    assert not journal.path.exists()
