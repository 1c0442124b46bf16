"""Local search: order of first improvement, optimum of tables, parallel options, stages, restarts."""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from tests.conformance_oracle import OBJECTIVE, WordSpace, check_oracle, run_search
from tfmedcai.journal import Journal
from tfmedcai.search.executors.executor import InProcess
from tfmedcai.search.oracles.baseline import RandomOracle
from tfmedcai.search.oracles.local import LocalSearchOracle, local_oracle
from tfmedcai.search.tuner import Limits, Tuner
from tfmedcai.search_spaces.mixed_block import MixedBlockSpace
from tfmedcai.search_spaces.snap import SnapSpace

ONCE = SimpleNamespace(restarts=False, stage_trials=None)
ALWAYS = SimpleNamespace(restarts=True, stage_trials=None)


@dataclass(frozen=True)
class Point:
    """A point of a grid."""

    x: tuple[int, ...]
    space: ClassVar[str] = "grid"

    @property
    def key(self):
        return str(self)

    def __str__(self):
        return "".join(map(str, self.x))


class Grid(WordSpace):
    """Points of a grid, one digit an axis; a stage for each group of axes."""

    def __init__(self, *sizes, groups=None, starts=()):
        self.sizes, self.groups, self.begin = sizes, groups or ["abcdef"[: len(sizes)]], iter(starts)
        self.stages = len(self.groups)

    def sample(self, rng):
        return next(self.begin, None) or Point(tuple(int(rng.integers(size)) for size in self.sizes))

    def neighbours(self, architecture):
        return [near for name in "".join(self.groups) for near in self.options(architecture, name)]

    def variables(self, architecture, stage=0):
        return list(self.groups[stage])

    def options(self, architecture, variable):
        axis = "abcdef".index(variable)
        values = range(self.sizes[axis])
        x = architecture.x
        return [Point((*x[:axis], value, *x[axis + 1 :])) for value in values if value != x[axis]]

    def declare(self, hp):
        return Point(tuple(hp.Choice(f"x{axis}", list(range(size))) for axis, size in enumerate(self.sizes)))

    def values(self, architecture):
        return {f"x{axis}": value for axis, value in enumerate(architecture.x)}


class Orders:
    """Stands in for the generator: variables come in the orders that are written down, then as they are."""

    def __init__(self, *orders):
        self.orders = iter(orders)

    def permutation(self, names):
        order = next(self.orders, None)
        return np.array(names if order is None else list(order))


def ready(oracle, folder):
    """Prepares an oracle for being asked directly, as the tuner does."""
    oracle.verbose, oracle.max_retries_per_trial, oracle.max_consecutive_failed_trials = 0, 0, 10**9
    oracle._display.verbose = 0
    oracle._set_project_dir(folder, "oracle")
    return oracle


def end(oracle, trial, score):
    if score is None:
        trial.status = TrialStatus.FAILED
    else:
        oracle.update_trial(trial.trial_id, {"value": score})
        trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def proposed(oracle, folder, score, most=10_000):
    """Keys in the order of their proposal, one after the other, until the oracle stops."""
    ready(oracle, folder)
    keys = []
    while len(keys) < most:
        trial = oracle.create_trial("worker")
        if trial.status == TrialStatus.STOPPED:
            break
        assert trial.status == TrialStatus.RUNNING, "nothing runs, so there is nothing to wait for"
        architecture = oracle.space.declare(trial.hyperparameters)
        keys.append(architecture.key)
        end(oracle, trial, score(architecture))
    return keys


def test_is_an_oracle(tmp_path):
    check_oracle(lambda space, seed, objective: local_oracle(space, ALWAYS, seed, objective), tmp_path)


def test_without_restarts_the_first_optimum_is_the_end(tmp_path):
    # Words are neighbours if they differ in the last letter.
    assert len(run_search(local_oracle(WordSpace(), ONCE, 0, OBJECTIVE), tmp_path / "j")) == 3


def test_order_of_first_improvement_by_hand(tmp_path):
    table = {"00": 1, "01": 3, "02": 2, "10": 0, "11": 0, "12": 9, "20": 0, "21": 4, "22": 0}
    oracle = LocalSearchOracle(Grid(3, 3, starts=[Point((0, 0))]), ONCE, 0, OBJECTIVE)
    oracle.rng = Orders("ba", "ab", "ba")
    keys = proposed(oracle, tmp_path, lambda point: table[point.key])
    assert keys == [
        "00", "01", "02",  # the start and the options of b; 01 is the best
        "11", "21",  # the options of a there; 21 is better still; next sweep: those of a are known
        "20", "22",  # the options of b there; nothing better
    ]  # fmt: skip
    # 12 is better than 21, but two steps away.


def test_a_sweep_goes_on_from_the_improved_point_and_starts_over_behind_the_last_variable(tmp_path):
    table = {"000": 0, "100": 1, "010": 9, "110": 0, "101": 2, "001": 3, "111": 4, "011": 5}
    oracle = LocalSearchOracle(Grid(2, 2, 2, starts=[Point((0, 0, 0))]), ONCE, 0, OBJECTIVE)
    oracle.rng = Orders("abc", "cab", "bca", "abc")
    # a: 100; b: nothing; c: 101. Then c: back is known; a: 001; b: 011. Then b, c: 010 is the best of all.
    assert proposed(oracle, tmp_path, lambda p: table[p.key]) == ["000", "100", "110", "101", "001", "011", "010"]


def test_any_change_in_a_sweep_means_another_one(tmp_path):
    table = {"000": 0, "100": -1, "010": 1, "011": 0, "110": 5, "111": 0}
    oracle = LocalSearchOracle(Grid(2, 2, 2, starts=[Point((0, 0, 0))]), ONCE, 0, OBJECTIVE)
    oracle.rng = Orders("abc", "abc", "abc")
    # Only b improves in the first sweep, and the last variable does not; then a is worth a change.
    assert proposed(oracle, tmp_path, lambda p: table[p.key]) == ["000", "100", "010", "011", "110", "111"]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_reaches_the_optimum_of_a_table_without_traps_and_stops(tmp_path, direction):
    rng = np.random.default_rng(1)
    worth = [rng.permutation(size) for size in (4, 3, 5, 2)]
    sign = 1 if direction == "max" else -1
    for seed in range(3):
        oracle = LocalSearchOracle(Grid(4, 3, 5, 2), ONCE, seed, keras_tuner.Objective("value", direction))

        def score(point):
            return float(sign * sum(axis[value] for axis, value in zip(worth, point.x, strict=True)))

        keys = proposed(oracle, tmp_path / str(seed), score)
        best = "".join(str(np.argmax(axis)) for axis in worth)
        assert best in keys
        # One sweep finds it, the next one changes nothing: each point of two sweeps once.
        assert len(set(keys)) == len(keys) <= 1 + 2 * (3 + 2 + 4 + 1)


def test_restarts_reach_the_optimum_of_any_table_and_stop_when_all_is_known(tmp_path):
    rng = np.random.default_rng(0)
    everything = ["".join(map(str, x)) for x in itertools.product(range(3), repeat=3)]
    table = dict(zip(everything, rng.permutation(27).tolist(), strict=True))
    keys = proposed(LocalSearchOracle(Grid(3, 3, 3), ALWAYS, 0, OBJECTIVE), tmp_path, lambda point: table[point.key])
    assert sorted(keys) == everything


def test_ends_of_climbs_are_local_optima(tmp_path):
    rng = np.random.default_rng(0)
    space = Grid(3, 4, 3)
    table = {}
    oracle = LocalSearchOracle(space, ONCE, 5, OBJECTIVE)
    keys = proposed(oracle, tmp_path, lambda point: table.setdefault(point.key, float(rng.random())))
    best = Point(tuple(map(int, max(keys, key=table.__getitem__))))
    assert {near.key for near in space.neighbours(best)} <= set(keys)
    assert len(keys) < 36


def test_equal_options_change_nothing(tmp_path):
    oracle = LocalSearchOracle(Grid(3, 3, starts=[Point((1, 1))]), ONCE, 0, OBJECTIVE)
    keys = proposed(oracle, tmp_path, lambda point: 1.0)
    assert sorted(keys) == ["01", "10", "11", "12", "21"]


def test_options_of_a_variable_are_handed_out_at_once(tmp_path):
    orders, answers = {}, (np.arange(5), np.arange(5)[::-1])
    for name, order in zip(("forwards", "backwards"), answers, strict=True):
        oracle = LocalSearchOracle(Grid(5, 5, starts=[Point((2, 2))]), ONCE, 0, OBJECTIVE)
        ready(oracle, tmp_path / name)
        oracle.rng = Orders("ab", "ab")
        first = [oracle.create_trial(f"worker {number}") for number in range(5)]
        assert [oracle.space.declare(trial.hyperparameters).key for trial in first] == ["22", "02", "12", "32", "42"]
        for number in order:
            assert oracle.create_trial("worker 5").status == TrialStatus.IDLE
            end(oracle, first[number], [2.0, 1.0, 3.0, 3.0, 0.0][number])
        second = [oracle.create_trial(f"worker {number}") for number in range(4)]
        orders[name] = [oracle.space.declare(trial.hyperparameters).key for trial in second]
        assert oracle.create_trial("worker 4").status == TrialStatus.IDLE
    assert orders["forwards"] == orders["backwards"] == ["10", "11", "13", "14"]


def test_a_retried_trial_is_waited_for(tmp_path):
    oracle = ready(LocalSearchOracle(Grid(2, starts=[Point((0,))]), ONCE, 0, OBJECTIVE), tmp_path)
    oracle.max_retries_per_trial = 1
    one, other = oracle.create_trial("one"), oracle.create_trial("other")
    end(oracle, one, 1.0)
    other.status = TrialStatus.INVALID
    oracle.end_trial(other)
    again = oracle.create_trial("one")
    assert again.trial_id == other.trial_id
    assert oracle.create_trial("other").status == TrialStatus.IDLE


def test_failed_options_are_worse_than_any_and_a_failed_start_is_left(tmp_path):
    def score(point):
        return None if point.x[0] == 0 else -100.0 - point.x[1]

    starts = [Point((0, 0)), Point((1, 2))]
    oracle = LocalSearchOracle(Grid(2, 3, starts=starts), ALWAYS, 0, OBJECTIVE)
    oracle.rng = Orders("ba", "ab", "ba")
    keys = proposed(oracle, tmp_path, score, most=6)
    # All options of the first variable fail: another start, from where the search goes to 10 and stays.
    assert keys == ["00", "01", "02", "12", "10", "11"]
    assert oracle._score(Point((0, 1))) == -np.inf


def test_starts_are_the_architectures_of_random_search(tmp_path):
    space = WordSpace()
    local = proposed(LocalSearchOracle(space, ALWAYS, 3, OBJECTIVE), tmp_path / "l", lambda word: 0.0, most=8)
    random = run_search(RandomOracle(space, OBJECTIVE, 3), tmp_path / "j", seed=3)
    assert local[0] == random[0]["key"]
    assert {row["key"] for row in random[:3]} <= set(local)


def test_the_order_of_the_variables_depends_on_the_seed_alone(tmp_path):
    def keys(seed, folder):
        space = Grid(2, 2, 2, 2, 2, 2, starts=[Point((0,) * 6)])
        return proposed(LocalSearchOracle(space, ONCE, seed, OBJECTIVE), tmp_path / folder, lambda point: 0.0)

    assert keys(0, "0") == keys(0, "again")
    assert len({tuple(keys(seed, f"{seed}")) for seed in range(4)}) > 2


def test_stages_come_one_after_the_other_from_the_best(tmp_path):
    space = Grid(3, 3, 3, 3, groups=["ac", "bd"], starts=[Point((0, 0, 0, 0))])
    keys = proposed(LocalSearchOracle(space, ONCE, 0, OBJECTIVE), tmp_path, lambda point: float(sum(point.x)))
    first, second = [key for key in keys if key[1] + key[3] == "00"], keys[-1]
    assert keys[: len(first)] == first, "nothing of the second stage before the first one has ended"
    assert {key[0] + key[2] for key in keys[len(first) :]} == {"22"}
    assert "2222" in keys
    assert second[0] == second[2] == "2"


def test_a_search_begins_where_the_space_says(tmp_path):
    class Fixed(Grid):
        def start(self, rng):
            return Point((2, int(rng.integers(3))))

    keys = proposed(LocalSearchOracle(Fixed(3, 3), ONCE, 1, OBJECTIVE), tmp_path, lambda point: float(point.x[0]))
    assert keys[0][0] == "2"
    assert all(key[0] == "2" or key[1] == keys[0][1] for key in keys)


def test_a_stage_ends_with_its_share_of_the_budget(tmp_path):
    space = Grid(5, 5, 3, groups=["ab", "c"], starts=[Point((0, 0, 0))])
    oracle = LocalSearchOracle(space, SimpleNamespace(restarts=False, stage_trials=5), 0, OBJECTIVE)
    oracle.rng = Orders("ab", "c", "c")
    keys = proposed(oracle, tmp_path, lambda point: float(sum(point.x)))
    # The options of a use the share up, so that b is never tried.
    assert keys == ["000", "100", "200", "300", "400", "401", "402"]


def test_an_architecture_without_options_is_scored(tmp_path):
    class Rigid(Grid):
        def variables(self, architecture, stage=0):
            return []

    keys = proposed(LocalSearchOracle(Rigid(3), ALWAYS, 0, OBJECTIVE), tmp_path, lambda point: 0.0)
    assert sorted(keys) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "space",
    [SnapSpace(max_length=4), MixedBlockSpace(nodes=4), MixedBlockSpace(nodes=4, variant="bilevel")],
    ids=["snap", "mixed", "bilevel"],
)
def test_climbs_in_every_space(tmp_path, space):
    def evaluate(architecture, epochs):
        text = str(architecture)
        return {"value": text.count("3x3") + text.count("7") + text.count("+") - 0.01 * len(text), "parameters": 1}

    found = {}
    for name, oracle in (
        ("local", local_oracle(space, ALWAYS, 0, OBJECTIVE)),
        ("random", RandomOracle(space, OBJECTIVE, 0)),
    ):
        tuner = Tuner(oracle, space, InProcess(evaluate), Journal(tmp_path / name), Limits(60, 1), name=name, seed=0)
        rows = tuner.run()
        assert len({row["key"] for row in rows}) == len(rows) == 60
        found[name] = max(row["score"] for row in rows)
    assert found["local"] > found["random"]
