import sys

import numpy as np
import pytest

from tfmedcai.reports import figures
from tfmedcai.reports.series import Objective


def words(figure):
    """All texts of the legend and axes."""
    (axes,) = figure.axes
    legend = axes.get_legend()
    texts = [text.get_text() for text in (legend.get_texts() if legend else [])] + [t.get_text() for t in axes.texts]
    return [*texts, axes.get_xlabel(), axes.get_ylabel()]


def line(figure, label):
    return next(one for one in figure.axes[0].lines if one.get_label() == label)


def test_progress_draws_mean_seeds_band_and_failures(trials):
    figure = figures.progress(trials, Objective("value", "-log10 MSE"))
    assert {"latent (mean of 3 seeds)", "random (mean of 3 seeds)", "failed trial"} <= set(words(figure))
    assert figure.axes[0].get_ylabel() == "best value [-log10 MSE]"
    assert figure.axes[0].get_xlabel() == "scored architectures"
    assert len(figure.axes[0].collections) == 2
    assert len([one for one in figure.axes[0].lines if one.get_linewidth() == 0.8]) == 6
    crosses = [one for one in figure.axes[0].lines if one.get_marker() == "x"]
    assert sum(len(one.get_xdata()) for one in crosses) == sum(row["state"] == "FAILED" for row in trials)


def test_progress_of_one_seed_is_its_own_curve(trials):
    rows = [row for row in trials if row["seed"] == 0 and row["oracle"] == "latent" and row["state"] == "COMPLETED"]
    curve = line(figures.progress(rows), "latent")
    best = np.maximum.accumulate([row["score"] for row in rows])
    np.testing.assert_allclose(curve.get_ydata()[:-1], best)
    np.testing.assert_array_equal(curve.get_xdata()[:-1], np.arange(1, len(best) + 1))


@pytest.mark.parametrize("rows", [[], [{"oracle": "a", "seed": 0, "state": "FAILED", "score": None}]])
def test_progress_without_scores_says_so(rows):
    assert "No architecture has been scored yet." in words(figures.progress(rows))


def test_progress_writes_a_picture(trials, tmp_path):
    figures.progress(trials).savefig(tmp_path / "progress.png")
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_rank_correlation_means_the_seeds_that_have_the_round():
    rows = [(0, 1, 0.2), (1, 1, 0.4), (1, 2, 0.8)]
    rounds = [{"oracle": "latent", "seed": s, "round": r, "rank_correlation": v} for s, r, v in rows]
    mean = line(figures.rank_correlation(rounds), "latent (mean of 2 seeds)")
    np.testing.assert_allclose(mean.get_ydata(), [0.3, 0.8])


def test_relaxed_course_draws_each_search_and_their_mean():
    courses = [{"loss": np.array([1.0, 0.5])}, {"loss": np.array([3.0, 1.5])}]
    figure = figures.relaxed_course(courses, {"loss": "weights"}, "loss")
    np.testing.assert_allclose(line(figure, "weights (mean of 2 searches)").get_ydata(), [2.0, 1.0])
    assert len(figure.axes[0].lines) == 3


def test_rank_correlation_without_values_says_so():
    assert any("No estimate" in text for text in words(figures.rank_correlation([])))


def test_pareto_front_is_drawn_over_parameters():
    rows = [
        {"oracle": "a", "seed": 0, "state": "COMPLETED", "score": s, "parameters": p}
        for s, p in ((1.0, 1000), (2.0, 2000), (1.5, 60000), (9.0, None))
    ]
    figure = figures.score_by_cost(rows)
    np.testing.assert_array_equal(line(figure, "Pareto front").get_xdata(), [1000, 2000])
    assert figure.axes[0].get_xscale() == "log"


def test_many_points_become_a_bitmap(trials, monkeypatch):
    monkeypatch.setattr(figures, "MANY_POINTS", 10)
    assert all(points.get_rasterized() for points in figures.score_by_cost(trials).axes[0].collections)


def test_score_by_cost_without_rows_says_so():
    assert any("No architecture" in text for text in words(figures.score_by_cost([])))


def test_histogram_is_logarithmic_where_errors_span_much_and_adds_up():
    figure = figures.error_histogram({"ours": np.geomspace(0.001, 1, 200), "theirs": np.full(50, 0.1)}, "error [mm]")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    for polygon in axes.patches:
        x, y = polygon.get_xy().T
        bins = np.unique(x)
        heights = [y[(x == b)].max() for b in bins]
        assert max(heights) <= 100.0
    assert "theirs: median 0.1, p95 0.1" in words(figure)
    assert axes.get_xlabel() == "error [mm]"


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0], [1.0, 2.0, np.nan], [0.0, 1e-9, 5.0]])
def test_histogram_takes_zeros_and_missing_values(values):
    figure = figures.error_histogram({"a": np.array(values)}, "error [deg]")
    figure.draw_without_rendering()
    assert len(figure.axes[0].patches) == 1


def test_histogram_without_finite_errors_says_so():
    assert "No finite error was recorded." in words(figures.error_histogram({"a": np.array([np.nan])}, "x"))


def test_training_curves_show_training_and_validation_over_the_common_epochs():
    histories = {"net": [{"loss": [1.0, 0.5, 0.2], "validation_loss": [2.0, 1.0, 0.5]}, {"loss": [3.0, 1.5]}]}
    figure = figures.training_curves(histories, "loss")
    np.testing.assert_allclose(line(figure, "net, training").get_ydata(), [2.0, 1.0])
    np.testing.assert_allclose(line(figure, "net, validation").get_ydata(), [2.0, 1.0, 0.5])


def test_training_curves_of_an_unknown_metric_say_so():
    assert "No values of dice were recorded." in words(figures.training_curves({"net": [{"loss": [1.0]}]}, "dice"))


def test_a_dollar_in_a_name_is_a_dollar(trials):
    rows = [{**row, "oracle": "a$_{$b"} for row in trials]
    figures.progress(rows).draw_without_rendering()
    figures.training_curves({"n$^$": [{"loss": [1.0, 0.01]}]}, "loss").draw_without_rendering()


def test_block_is_drawn_by_its_owner():
    figure = figures.block(lambda axes: axes.set_title("my block"))
    assert figure.axes[0].get_title() == "my block"


def test_pyplot_is_left_alone():
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
