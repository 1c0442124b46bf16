"""Early stopping: bars by hand, rows that say why, one seed one search, a resumed search like an undisturbed one."""

import keras_tuner
import numpy as np
import pytest

from tests.conformance_oracle import Disordered
from tfmedcai.config.searches import StoppingSettings
from tfmedcai.journal import Journal
from tfmedcai.reports.series import Objective, best_so_far
from tfmedcai.reports.summary import best_trial
from tfmedcai.search.executors.executor import InProcess
from tfmedcai.search.oracles.baseline import RandomOracle
from tfmedcai.search.parts import PartScorer
from tfmedcai.search.stopping import Stopping
from tfmedcai.search.tuner import Limits, Tuner
from tfmedcai.search_spaces.snap import SnapSpace
from tfmedcai.tasks.watch import Bar, Watch

VALUE, EPOCHS = Objective("value"), 9


def heard(rule, courses, direction="max", **settings):
    stopping = Stopping(StoppingSettings(rule=rule, trials=3, **settings), Objective("value", direction=direction))
    for course in courses:
        stopping.hear(EPOCHS, 0, {f"value@{epoch}": value for epoch, value in course.items()})
    return stopping


def test_the_median_is_that_of_the_means_so_far():
    stopping = heard("median", [{1: 1.0, 2: 3.0}, {1: 2.0, 2: 4.0}, {1: 9.0, 2: 9.0}, {1: 0.0}], every=1)
    first, second, third, *_ = stopping.bars(EPOCHS, 0)
    assert first == Bar(1, 1.5, 4)
    assert second == Bar(2, 3.0, 3), "the means are 2, 3 and 9"
    assert third == Bar(3, None, 0)
    assert [bar.epoch for bar in stopping.bars(EPOCHS, 0)] == list(range(1, EPOCHS))
    assert all(bar.limit is None for bar in stopping.bars(EPOCHS + 1, 0)), "other epochs have other courses"
    assert all(bar.limit is None for bar in stopping.bars(EPOCHS, 1))


@pytest.mark.parametrize(("direction", "limit"), [("max", 3.0), ("min", 1.0)])
def test_a_rung_lets_one_in_so_many_pass(direction, limit):
    stopping = heard("halving", [{1: value} for value in (0.0, 1.0, 2.0, 3.0, 4.0)], direction, factor=4)
    assert stopping.looks(EPOCHS) == [1, 4]
    assert stopping.bars(EPOCHS, 0) == (Bar(1, limit, 5), Bar(4, None, 0))


@pytest.mark.parametrize(("direction", "value", "ends"), [("max", 0.9, True), ("max", 1.0, False), ("min", 1.1, True)])
def test_a_training_ends_where_its_best_value_is_worse_than_the_bar(direction, value, ends):
    objective = Objective("value", direction=direction)
    keeper = Watch((Bar(1, None, 0), Bar(2, 1.0, 5))).keeper(objective)
    assert not keeper.ends([{"epoch": 1, "value": value}])
    assert keeper.ends([{"epoch": 1, "value": value}, {"epoch": 2, "value": value}]) == ends


class Training:
    """Courses that rise to a value of the architecture, and end as `train_on` would end them."""

    def __init__(self, stop_at=None):
        self.epochs, self.calls, self.stop_at = 0, 0, stop_at

    def __call__(self, architecture, epochs, seed, part, bars, name):
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        watch, rows = Watch(bars), []
        keeper = watch.keeper(VALUE)
        while len(rows) < epochs and not (rows and keeper.ends(rows)):
            rows.append({"epoch": len(rows) + 1, "value": worth(architecture) * (len(rows) + 1)})
        self.epochs += len(rows)
        return {"value": rows[-1]["value"], "parameters": 1.0} | watch.course(VALUE, rows)


def worth(architecture):
    return architecture.symbols.count("conv3x3") + 0.01 * len(architecture.symbols)


def search(folder, train, rule="median", workers=InProcess, trials=24):
    space = SnapSpace()
    stopping = Stopping(StoppingSettings(rule=rule, trials=3, first_epoch=2), VALUE)
    scorer = PartScorer(workers(train), 1, 0, Journal(folder / "parts.jsonl"), stopping)
    oracle = RandomOracle(space, keras_tuner.Objective("value", "max"), 0)
    journal = Journal(folder / "trials.jsonl")
    rows = Tuner(oracle, space, scorer, journal, Limits(trials, EPOCHS), name="random", seed=0).run()
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


@pytest.mark.parametrize("rule", ["median", "halving"])
def test_the_bad_half_ends_early_with_a_reason_and_the_best_is_the_same(tmp_path, rule):
    train, all_of_them = Training(), Training()
    rows = search(tmp_path / "stopping", train, rule)
    calm = search(tmp_path / "calm", all_of_them, "none")
    stopped = [row for row in rows if row["state"] == "STOPPED"]
    assert 4 < len(stopped) < 24 == len(rows)
    assert train.epochs < 0.8 * all_of_them.epochs == 0.8 * 24 * EPOCHS
    assert all(row["state"] == "COMPLETED" for row in rows[:3]), "there was nothing to compare them with"
    ended = int(stopped[0]["metrics"]["epochs"])
    assert stopped[0]["reason"].startswith(f"stopped early at epoch {ended} of {EPOCHS}, because its value of ")
    assert stopped[0]["score"] == pytest.approx(stopped[0]["metrics"][f"value@{ended}"])
    best = best_trial(rows, VALUE)
    assert best["key"] == best_trial(calm, VALUE)["key"]
    assert best["score"] == best_trial(calm, VALUE)["score"]
    assert not (tmp_path / "calm" / "parts.jsonl").exists()
    np.testing.assert_array_equal(best_so_far(rows).best, best_so_far(calm).best)


def test_a_resumed_search_makes_the_same_decisions_and_they_are_in_the_journal(tmp_path):
    whole = search(tmp_path / "whole", Training())
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "halves", Training(stop_at=11))
    rest = Training()
    assert search(tmp_path / "halves", rest) == whole
    assert rest.calls == 24 - 11
    parts = Journal(tmp_path / "halves" / "parts.jsonl").read()
    assert [row["reason"] for row in parts] == [row["reason"] for row in whole]
    for row in parts:
        limits = {epoch: limit for epoch, limit, _ in row["bars"] if limit is not None}
        course = {epoch: row["metrics"].get(f"value@{epoch}") for epoch in limits}
        ended = row["metrics"]["epochs"]
        assert (row["reason"] is not None) == (ended < EPOCHS)
        assert all(course[epoch] >= limits[epoch] for epoch in limits if epoch < ended)
        assert row["reason"] is None or course[ended] < limits[ended]


def test_several_workers_stop_too_and_what_they_did_is_replayed(tmp_path):
    rows = search(tmp_path, Training(), workers=lambda train: Disordered(train, 5))
    assert {"STOPPED", "COMPLETED"} == {row["state"] for row in rows}
    assert search(tmp_path, None) == rows


def test_a_stopped_part_ends_its_trial_and_gives_up_the_others(tmp_path):
    train, space = Training(), SnapSpace()
    stopping = Stopping(StoppingSettings(rule="median", trials=1), VALUE)
    scorer = PartScorer(InProcess(train), 3, 0, Journal(tmp_path / "parts.jsonl"), stopping)

    def ended(name, text):
        scorer.submit(name, space.parse(text), EPOCHS)
        found = []
        while scorer.running:
            found += scorer.wait()
        return found

    (good,) = ended("good", "conv3x3 conv3x3")
    (bad,) = ended("bad", "maxpool3x3")
    assert good.reason is None
    assert good.answer["value_std"] == 0
    assert "stopped early at epoch 1 of 9" in bad.reason
    assert train.calls == 4
    again = PartScorer(InProcess(None), 3, 0, Journal(tmp_path / "parts.jsonl"), stopping)
    again.submit("bad", space.parse("maxpool3x3"), EPOCHS)
    assert again.wait() == [bad]
