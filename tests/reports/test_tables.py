import math

import numpy as np
import pytest

from tfmedcai.reports.document import cell_text
from tfmedcai.reports.series import Objective
from tfmedcai.reports.tables import error_table, number, pooled, seed_table, trial_table


def statistics(errors):
    return {
        "mean": float(np.mean(errors)),
        "std": float(np.std(errors)),
        "min": float(np.min(errors)),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "max": float(np.max(errors)),
        "n": len(errors),
    }


def test_pooling_equals_the_statistics_of_all_errors():
    rng = np.random.default_rng(0)
    seeds = [rng.lognormal(size=n) for n in (10, 20, 5)]
    everything = np.concatenate(seeds)
    assert pooled([statistics(e) for e in seeds]) == pytest.approx((everything.mean(), everything.std()))


def test_pooling_nothing_is_not_a_number():
    assert all(math.isnan(value) for value in pooled([{"mean": 0.0, "std": 0.0, "n": 0}]))


def test_error_table_by_hand():
    evaluations = [
        {
            "model": model,
            "seed": seed,
            "parameters": parameters,
            "multiply_accumulates": 1_500_000 if model == "ours" else None,
            "groups": {"3 iterations": {"position_error_mm": statistics(errors)}},
        }
        for model, parameters, seed, errors in (
            ("ours", 500, 0, [1.0, 3.0]),
            ("ours", 500, 1, [2.0, 4.0]),
            ("theirs", 2000, 0, [10.0, 10.0]),
        )
    ]
    table = error_table(evaluations, "theirs")
    (body,) = table.bodies
    assert body.title == "3 iterations"
    ours, theirs = body.rows
    assert ours == [
        "ours",
        2,
        "2.500 ± 1.118",
        "1.000",
        "2.500",
        "3.400",
        "4.000",
        "2.500 ± 0.707",
        "1.5",
        "500",
        "0.25",
    ]
    assert theirs == ["theirs", 1, "10.000 ± 0.000", *["10.000"] * 4, "one seed", None, "2,000", "1"]
    assert [len(table.columns)] * 2 == [len(ours), len(theirs)]
    assert table.groups == [("", 2), ("position error [mm]", 6), ("", 3)]


def test_error_table_has_a_body_for_each_number_of_iterations(run):
    table = error_table(run().evaluations, "i3posnet")
    assert [body.title for body in table.bodies] == ["3 iterations", "1 iteration"]
    assert {len(row) for body in table.bodies for row in body.rows} == {len(table.columns)}


def test_error_table_takes_missing_metrics_and_sizes():
    evaluations = [
        {"model": "a", "parameters": None, "groups": {"1 iteration": {"angle_error_deg": statistics([1.0])}}},
        {"model": "b", "parameters": 7, "groups": {"1 iteration": {"position_error_mm": statistics([1.0])}}},
    ]
    first, second = error_table(evaluations, None).bodies[0].rows
    assert first[-1] is None
    assert second[2:6] == [None] * 4
    assert error_table(evaluations, "absent").bodies[0].rows[0][-1] is None


def test_seed_table_has_a_row_for_each_seed_and_number_of_iterations(run):
    table = seed_table(run().evaluations)
    assert len(table.bodies[0].rows) == 2 * 3 * 2
    assert table.bodies[0].rows[0][:4] == ["snapnet", 0, "3 iterations", "0.020 ± 0.016"]


@pytest.mark.parametrize(("direction", "sign"), [("max", -1), ("min", 1)])
def test_trials_stand_best_first_and_failed_last(trials, direction, sign):
    rows = trial_table(trials, Objective(direction=direction)).bodies[0].rows
    scores = [row[5] for row in rows if row[5] is not None]
    assert len(rows) == len(trials)
    assert scores == sorted(scores, key=lambda score: sign * score)
    assert all(row[3] == "FAILED" for row in rows[len(scores) :])


def test_the_second_objective_has_a_column_and_a_front():
    trials = [
        {"state": "COMPLETED", "score": score, "parameters": 9, "metrics": {"latency_ms": cost}}
        for score, cost in ((0.9, 30.0), (0.8, 10.0), (0.7, 20.0))
    ]
    table = trial_table(trials, Objective(), "latency_ms")
    titles = [column.name for column in table.columns]
    cost, front = titles.index("latency [ms]"), titles.index("Pareto front")
    assert [(row[cost], row[front]) for row in table.bodies[0].rows] == [(30.0, "yes"), (10.0, "yes"), (20.0, "no")]
    plain = trial_table(trials, Objective())
    assert len(plain.columns) == len(table.columns) - 1
    assert [row[front - 1] for row in plain.bodies[0].rows] == ["yes", "no", "no"]


def test_digits_follow_the_unit():
    assert [number(1.23456, unit) for unit in ("mm", "deg", "px", "")] == ["1.235", "1.23", "1.235", "1.235"]


def test_cells():
    assert [cell_text(cell) for cell in (True, "text", float("nan"), 0.0, 1234567)] == [
        "True",
        "text",
        "-",
        "0",
        "1,234,567",
    ]
