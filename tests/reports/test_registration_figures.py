"""Figures of registrations show the numbers that they are given."""

import numpy as np
import pytest

from tfmedcai.metrics.landscape import Correlation, Landscape
from tfmedcai.metrics.registration import success_rate
from tfmedcai.reports.registration_figures import convergence, correlation_figure, landscape_figure, success_figure


def line(axes, label):
    return next(one for one in axes.lines if one.get_label() == label)


def test_convergence_draws_median_quartiles_and_the_limit():
    figure = convergence(
        {"many": np.array([[1, 2, 3, 4, 9], [1, 1, 2, 2, 8.0]]), "one": [5.0, 4.0, 3.0]}, "TRE [mm]", 4.0
    )
    (axes,) = figure.axes
    np.testing.assert_array_equal(line(axes, "many (median of 5)").get_ydata(), [3, 2])
    np.testing.assert_array_equal(line(axes, "one").get_xydata(), [[0, 5], [1, 4], [2, 3]])
    assert len([one for one in axes.lines if one.get_linewidth() == 0.6]) == 5
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert all(corner in corners for corner in ([0, 2], [0, 4], [1, 1], [1, 2]))
    (limit,) = (one for one in axes.lines if one.get_linestyle() == ":")
    assert list(limit.get_ydata()) == [4, 4] and axes.get_ylabel() == "TRE [mm]"
    assert axes.get_yscale() == "linear"


def test_failures_are_above_all_others():
    courses = {"method": np.array([[1, 50, np.inf], [1, 30, np.nan], [1, np.inf, np.nan]])}
    figure = convergence(courses, "TRE [mm]")
    np.testing.assert_array_equal(line(figure.axes[0], "method (median of 3)").get_ydata(), [50, 30, np.inf])
    assert figure.axes[0].get_yscale() == "log"
    figure.draw_without_rendering()


def test_many_cases_have_no_lines_of_their_own():
    (axes,) = convergence({"method": np.random.default_rng(0).random((4, 31))}, "cost").axes
    assert len(axes.lines) == 1


@pytest.mark.parametrize("courses", [{}, {"method": [np.nan, np.inf]}])
def test_nothing_to_draw_is_said(courses):
    assert convergence(courses, "x").axes[0].texts[0].get_text() == "No finite value was recorded."
    assert success_figure({}).axes[0].texts[0].get_text() == "No registration has been counted."
    assert correlation_figure({}).axes[0].texts[0].get_text() == "No cost has been compared with the distance."


def test_a_course_has_steps_and_cases():
    with pytest.raises(ValueError, match=r"\(steps, cases\).*\(1, 2, 3\)"):
        convergence({"method": np.zeros((1, 2, 3))}, "x")


def test_landscapes_are_in_degrees_and_mm_from_0_to_1():
    offsets = np.tile(np.linspace(-1, 1, 3), (6, 1))
    costs = np.arange(18.0).reshape(6, 3) * 2 - 7
    figure = landscape_figure({"ours": Landscape(offsets, costs), "flat": Landscape(offsets, np.ones((6, 3)))})
    assert [ax.get_xlabel() for ax in figure.axes] == [
        *("rotation x [deg]", "rotation y [deg]", "rotation z [deg]"),
        *("translation x [mm]", "translation y [mm]", "translation z [mm]"),
    ]
    for number, ax in enumerate(figure.axes):
        drawn = line(ax, "ours")
        np.testing.assert_allclose(drawn.get_xdata(), np.array([-1, 0, 1]) * (180 / np.pi if number < 3 else 1))
        np.testing.assert_allclose(drawn.get_ydata(), np.arange(18).reshape(6, 3)[number] / 17)
        assert not line(ax, "flat").get_ydata().any()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "flat"]
    figure.draw_without_rendering()


def test_correlations_stand_above_their_points():
    found = Correlation(np.array([0.1, 0.2, 0.4]), np.array([1.0, 3.0, 2.0]), 0.37, 0.5)
    figure = correlation_figure({"gradient NCC": found, "network": found._replace(pearson=float("nan"))})
    assert [ax.get_title() for ax in figure.axes] == [
        "gradient NCC\nr = 0.37, rho = 0.50",
        "network\nr = nan, rho = 0.50",
    ]
    offsets = figure.axes[1].collections[0].get_offsets()
    np.testing.assert_array_equal(offsets, np.stack([found.distances, found.costs], axis=1))


def test_success_has_its_interval_and_methods_stand_beside_each_other():
    rates = {
        "first": {20.0: success_rate([1.0, 50.0]), 10.0: success_rate([1.0, 1.0])},
        "second": {10.0: success_rate([50.0])},
    }
    (axes,) = success_figure(rates).axes
    first, second = axes.containers
    x, y = first.lines[0].get_data()
    np.testing.assert_allclose(x, [10 - 0.06, 20 - 0.06])
    np.testing.assert_allclose(y, [100, 50])
    np.testing.assert_allclose(second.lines[0].get_xdata(), [10 + 0.06])
    low, high = (end.get_ydata() for end in first.lines[1])
    np.testing.assert_allclose(low / 100, [rates["first"][10.0]["low"], rates["first"][20.0]["low"]])
    np.testing.assert_allclose(high / 100, [1.0, rates["first"][20.0]["high"]])
