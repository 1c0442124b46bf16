import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfmedcai.reports.series import (
    Objective,
    band,
    best_so_far,
    by_seed,
    pareto_front,
    rank_correlations,
    relaxed_courses,
    scored,
)


def row(score, key=None, **more):
    return {"state": "COMPLETED", "score": score, "key": key or f"k{score}"} | more


def failed():
    return {"state": "FAILED", "score": None, "key": "broken"}


def test_best_so_far_rises_and_marks_failures_at_their_place():
    progress = best_so_far([failed(), row(1.0), row(3.0), failed(), row(2.0)])
    assert progress.best.tolist() == [1.0, 3.0, 3.0]
    assert progress.failed.tolist() == [0, 2]


def test_best_so_far_falls_where_less_is_better():
    progress = best_so_far([row(2.0), row(3.0), row(1.0)], Objective(direction="min"))
    assert progress.best.tolist() == [2.0, 2.0, 1.0]


def test_a_repeated_proposal_does_not_lengthen_the_curve_but_a_cached_new_one_does():
    rows = [row(1.0, "a"), row(1.0, "a", source="cache"), row(2.0, "b", source="cache")]
    assert best_so_far(rows).best.tolist() == [1.0, 2.0]


def test_scores_that_are_not_numbers_do_not_count():
    assert scored([row(float("nan")), row(None), row(float("inf")), failed()]) == []
    assert best_so_far([row(float("nan")), row(1.0)]).best.tolist() == [1.0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_best_so_far_is_the_running_maximum(scores):
    rows = [row(score, f"k{i}") for i, score in enumerate(scores)]
    np.testing.assert_array_equal(best_so_far(rows).best, np.maximum.accumulate(scores))


def test_band_covers_the_common_length():
    found = band([[1.0, 2.0, 9.0], [3.0, 6.0], []])
    assert (found.mean.tolist(), found.low.tolist(), found.high.tolist()) == ([2.0, 4.0], [1.0, 2.0], [3.0, 6.0])
    assert found.count == 2


def test_band_of_nothing_is_empty():
    assert band([]).count == 0
    assert len(band([[]]).mean) == 0


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1), st.sampled_from(["max", "min"]))
def test_pareto_front_holds_exactly_the_points_that_no_other_beats(points, direction):
    cost, score = (list(side) for side in zip(*points, strict=True))
    sign = 1 if direction == "max" else -1

    def beaten(i):
        return any(c <= cost[i] and sign * s >= sign * score[i] and (c, s) != (cost[i], score[i]) for c, s in points)

    front = pareto_front(cost, score, Objective(direction=direction))
    assert {points[i] for i in front} == {points[i] for i in range(len(points)) if not beaten(i)}
    assert [cost[i] for i in front] == sorted({cost[i] for i in front})


def test_pareto_front_wants_pairs():
    with pytest.raises(ValueError, match="same length"):
        pareto_front([1, 2], [1.0])


def test_direction_is_checked():
    with pytest.raises(ValueError, match='"max" or "min"'):
        Objective(direction="up")


def test_rows_are_sorted_by_oracle_and_seed(trials):
    groups = by_seed(trials)
    assert list(groups) == ["latent", "random"]
    assert {len(rows) for seeds in groups.values() for rows in seeds.values()} == {30}


def test_rank_correlations_leave_out_the_first_round():
    rounds = [{"oracle": "latent", "seed": 1, "round": r, "rank_correlation": v} for r, v in enumerate([None, 0.5])]
    x, y = rank_correlations(rounds)["latent"][1]
    assert (x.tolist(), y.tolist()) == ([1], [0.5])


def test_relaxed_courses_are_one_for_each_seed_and_part():
    rows = [
        {"seed": seed, "part": part, "loss": 1.0 / epoch, "architecture_loss": epoch - 1.0, "entropy": 1.0}
        for epoch in (1, 2, 3)
        for seed, part in ((0, 0), (0, 1), (1, 0))
    ]
    courses = relaxed_courses(rows)
    assert len(courses) == 3
    np.testing.assert_allclose(courses[1]["loss"], [1, 1 / 2, 1 / 3])
    np.testing.assert_array_equal(courses[1]["architecture_loss"], [np.nan, 1, 2])
