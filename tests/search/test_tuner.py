"""The tuner: its own loop over any KerasTuner oracle; resumed equals uninterrupted; failures are rows."""

import os
import signal
import subprocess
import sys
import textwrap

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from tests.conformance_oracle import Disordered
from tfmedcai.config import BayesianSettings, HyperbandSettings
from tfmedcai.journal import Journal
from tfmedcai.reports.series import pareto_front
from tfmedcai.search.executors.executor import InProcess
from tfmedcai.search.oracles import baseline
from tfmedcai.search.oracles.baseline import RandomOracle
from tfmedcai.search.tuner import Limits, Listener, Tuner
from tfmedcai.search_spaces.snap import SnapSpace

OBJECTIVE = keras_tuner.Objective("value", "max")
ORACLES = {
    "random": baseline.random_oracle,
    "bayesian": baseline.bayesian_oracle,
    "hyperband": baseline.hyperband_oracle,
}


def score(architecture, epochs):
    symbols = architecture.symbols
    return {"value": symbols.count("conv3x3") - 0.1 * len(symbols) + 0.01 * epochs, "parameters": 10 * len(symbols)}


SETTINGS = {"bayesian": BayesianSettings(initial=10), "hyperband": HyperbandSettings(max_epochs=9)}
# KerasTuner's Bayesian optimisation takes seconds for a proposal.
NAMES = ["random", "hyperband", pytest.param("bayesian", marks=pytest.mark.slow)]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Counter:
    """Counts trainings; raises when told to."""

    def __init__(self, evaluate=score, stop_at=None):
        self.evaluate, self.stop_at, self.calls = evaluate, stop_at, 0

    def __call__(self, architecture, epochs):
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        return self.evaluate(architecture, epochs)


def search(path, evaluate=score, name="random", seed=0, trials=12, **more):
    space = SnapSpace()
    oracle = ORACLES[name](space, SETTINGS.get(name), seed, OBJECTIVE)
    return Tuner(
        oracle, space, InProcess(evaluate), Journal(path), Limits(trials, 3, **more), name=name, seed=seed
    ).run()


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "time"} for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_rows_and_another_seed_others(tmp_path, name):
    first, second = (search(tmp_path / folder, name=name) for folder in ("a", "b"))
    assert without_times(first) == without_times(second)
    assert without_times(first) != without_times(search(tmp_path / "c", name=name, seed=1))
    assert len({row["key"] for row in first}) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_and_resumed_search_equals_an_uninterrupted_one(tmp_path, name):
    whole = search(tmp_path / "whole", name=name)
    interrupted = Counter(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "halves", interrupted, name=name)
    resumed = Counter()
    rows = search(tmp_path / "halves", resumed, name=name)
    assert without_times(rows) == without_times(whole) == without_times(Journal(tmp_path / "halves").read())
    assert resumed.calls == sum(row["source"] == "trained" for row in whole) - 5


def test_a_killed_process_loses_at_most_the_running_trial(tmp_path):
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from tests.search.test_tuner import score, search
        def slow(architecture, epochs):
            print("trial", flush=True)
            time.sleep(0.05)
            return score(architecture, epochs)
        search(Path(sys.argv[1]), slow)
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path / "killed"), os.getcwd()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(6):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    written = len(Journal(tmp_path / "killed").read())
    assert 5 <= written < 12
    rest = Counter()
    assert without_times(search(tmp_path / "killed", rest)) == without_times(search(tmp_path / "whole"))
    assert rest.calls == 12 - written


def test_another_oracle_of_the_same_seed_shares_what_was_trained(tmp_path):
    search(tmp_path / "journal", name="random", trials=6)
    again = Counter()
    space = SnapSpace()
    oracle = RandomOracle(space, OBJECTIVE, seed=0)
    rows = Tuner(
        oracle, space, InProcess(again), Journal(tmp_path / "journal"), Limits(9, 3), name="twin", seed=0
    ).run()
    assert [row["source"] for row in rows] == ["cache"] * 6 + ["trained"] * 3
    assert again.calls == 3
    assert search(tmp_path / "journal", Counter(), name="random", seed=1, trials=3)[0]["source"] == "trained"


def test_what_was_scored_before_is_not_trained_again_and_does_not_count(tmp_path):
    class Stubborn(RandomOracle):
        def populate_space(self, trial_id):
            if int(trial_id) % 2:
                return {"status": TrialStatus.RUNNING, "values": self.trials["0000"].hyperparameters.values}
            return super().populate_space(trial_id)

    space, counter = SnapSpace(), Counter()
    tuner = Tuner(
        Stubborn(space, OBJECTIVE, 0),
        space,
        InProcess(counter),
        Journal(tmp_path / "j"),
        Limits(4, 3),
        name="s",
        seed=0,
    )
    rows = tuner.run()
    assert counter.calls == 4
    assert [row["source"] for row in rows] == ["trained", "cache"] * 3 + ["trained"]


def test_a_space_with_nothing_new_ends_the_search(tmp_path):
    space = SnapSpace(max_length=1)
    rows = Tuner(
        RandomOracle(space, OBJECTIVE, 0),
        space,
        InProcess(score),
        Journal(tmp_path / "j"),
        Limits(1000, 3),
        name="random",
        seed=0,
    ).run()
    assert 4 < len(rows) == len({row["key"] for row in rows}) < 20


def test_an_oracle_that_only_repeats_itself_ends_the_search(tmp_path):
    class Parrot(RandomOracle):
        def populate_space(self, trial_id):
            first = self.trials.get("0000")
            return (
                super().populate_space(trial_id)
                if first is None
                else {"status": TrialStatus.RUNNING, "values": first.hyperparameters.values}
            )

    def broken(architecture, epochs):
        raise OSError("disk")

    space = SnapSpace()
    for folder, evaluate in (("good", Counter()), ("bad", Counter(broken))):
        limits = Limits(9, 3, max_repeats=6)
        tuner = Tuner(
            Parrot(space, OBJECTIVE, 0),
            space,
            InProcess(evaluate),
            Journal(tmp_path / folder),
            limits,
            name="parrot",
            seed=0,
        )
        assert [row["source"] for row in tuner.run()] == ["trained"] + ["cache"] * 6
        assert evaluate.calls == 1


def test_failures_are_rows_and_the_search_goes_on(tmp_path):
    def moody(architecture, epochs):
        if "maxpool3x3" in architecture.symbols:
            raise MemoryError("too big\nsecond line")
        return {"value": float("nan") if "switch" in architecture.symbols else 1.0, "parameters": 1}

    told = {}
    space = SnapSpace(max_length=4)
    listener = Listener(failure=told.__setitem__)
    oracle, limits = RandomOracle(space, OBJECTIVE, 0), Limits(10, 3, max_failures=50)
    journal = Journal(tmp_path / "j")
    tuner = Tuner(oracle, space, InProcess(moody), journal, limits, name="random", seed=0, listener=listener)
    rows = tuner.run()
    failed = [row for row in rows if row["state"] == "FAILED"]
    assert {row["reason"] for row in failed} == {"MemoryError: too big", "ValueError: the score is nan"}
    assert len(rows) - len(failed) == 10
    assert len(told) == len(failed)
    assert "second line" in "".join(told.values())
    resumed = Counter(moody)
    assert without_times(search_again(space, resumed, tmp_path / "j")) == without_times(rows)
    assert resumed.calls == 0


def search_again(space, evaluate, path):
    oracle = RandomOracle(space, OBJECTIVE, 0)
    return Tuner(
        oracle, space, InProcess(evaluate), Journal(path), Limits(10, 3, max_failures=50), name="random", seed=0
    ).run()


def test_too_many_failures_in_a_row_stop_the_search(tmp_path):
    def broken(architecture, epochs):
        raise OSError("disk")

    with pytest.raises(RuntimeError, match="3 trials in a row failed, the last with OSError: disk"):
        search(tmp_path / "j", broken, max_failures=3)
    assert len(Journal(tmp_path / "j").read()) == 3


def test_a_search_goes_on_after_the_cause_of_its_failures_was_removed(tmp_path):
    def broken(architecture, epochs):
        raise OSError("disk")

    with pytest.raises(RuntimeError, match="`--resume` goes on"):
        search(tmp_path / "j", broken, max_failures=3)
    rows = search(tmp_path / "j", max_failures=3, trials=4)
    assert [row["state"] for row in rows] == ["FAILED"] * 3 + ["COMPLETED"] * 4


def test_a_journal_of_other_settings_is_refused(tmp_path):
    search(tmp_path / "j")
    space = SnapSpace(max_length=5)
    tuner = Tuner(
        RandomOracle(space, OBJECTIVE, 0),
        space,
        InProcess(score),
        Journal(tmp_path / "j"),
        Limits(12, 3),
        name="random",
        seed=0,
    )
    with pytest.raises(ValueError, match="other settings or versions"):
        tuner.run()


def test_hyperband_asks_for_epochs_and_each_number_is_a_score_of_its_own(tmp_path):
    rows = search(tmp_path / "j", name="hyperband", trials=15)
    assert len({row["epochs"] for row in rows}) > 1
    assert np.all([row["score"] == pytest.approx(score_of(row)) for row in rows])


def score_of(row):
    symbols = row["architecture"].split()
    return symbols.count("conv3x3") - 0.1 * len(symbols) + 0.01 * row["epochs"]


def test_a_proposal_that_is_running_already_waits_for_its_answer(tmp_path):
    class Twins(RandomOracle):
        def populate_space(self, trial_id):
            if int(trial_id) % 2:
                before = self.trials[f"{int(trial_id) - 1:04d}"]
                return {"status": TrialStatus.RUNNING, "values": before.hyperparameters.values}
            return super().populate_space(trial_id)

    space, counter = SnapSpace(), Counter()
    oracle, journal = Twins(space, OBJECTIVE, 0), Journal(tmp_path / "j")
    rows = Tuner(oracle, space, Disordered(counter, 4), journal, Limits(6, 3), name="twins", seed=0).run()
    assert counter.calls == 6
    for pair in range(5):
        first, second = (next(row for row in rows if row["trial"] == 2 * pair + more) for more in (0, 1))
        assert (first["source"], second["source"]) == ("trained", "cache")
        assert first["score"] == second["score"]


def test_several_workers_score_what_one_would(tmp_path):
    one = search(tmp_path / "one")
    space = SnapSpace()
    oracle, journal = RandomOracle(space, OBJECTIVE, 0), Journal(tmp_path / "many")
    rows = Tuner(oracle, space, Disordered(score, 5), journal, Limits(12, 3), name="random", seed=0).run()
    assert [row["trial"] for row in rows] != sorted(row["trial"] for row in rows)
    assert {row["key"]: row["score"] for row in rows} == {row["key"]: row["score"] for row in one}
    assert [row["asked"] for row in one] == list(range(1, 13))


def test_a_journal_of_one_worker_from_before_there_were_more_is_replayed(tmp_path):
    rows = search(tmp_path / "now")
    before = Journal(tmp_path / "before")
    for row in rows[:5]:
        before.append({name: value for name, value in row.items() if name != "asked"})
    assert without_times(search(tmp_path / "before"))[5:] == without_times(rows)[5:]


def test_rows_say_what_was_on_the_pareto_front_also_of_another_cost(tmp_path):
    def costly(architecture, epochs):
        return score(architecture, epochs) | {"latency_ms": float(len(architecture.symbols) ** 2)}

    space, oracle = SnapSpace(), RandomOracle(SnapSpace(), OBJECTIVE, 0)
    tuner = Tuner(
        oracle,
        space,
        InProcess(costly),
        Journal(tmp_path / "j"),
        Limits(20, 3),
        name="random",
        seed=0,
        cost="latency_ms",
    )
    rows = tuner.run()
    for place, row in enumerate(rows):
        before = [(other["metrics"]["latency_ms"], other["score"]) for other in rows[:place]]
        beaten = any(cost <= row["metrics"]["latency_ms"] and value >= row["score"] for cost, value in before)
        assert row["front"] == (not beaten)
    assert 1 < sum(row["front"] for row in rows) < 20
    # The front at the end is that of the report.
    ends = pareto_front([row["metrics"]["latency_ms"] for row in rows], [row["score"] for row in rows])
    assert {rows[place]["key"] for place in ends} <= {row["key"] for row in rows if row["front"]}
    assert [row["front"] for row in Journal(tmp_path / "j").read()] == [row["front"] for row in rows]
