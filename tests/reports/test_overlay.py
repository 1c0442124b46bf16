import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tfmedcai.reports.overlay import PREDICTION, START, TRUTH, Marks, bar_length, overlay, window

POSE = np.array([100.0, 80.0, 0.5, 0.0, 0.2])


def moved(x=0.0, angle=0.0, tilt=0.0):
    return POSE + np.array([x, 0.0, angle, tilt, 0.0])


def lines(figure, colour):
    """The lines of a colour, without markers of single points."""
    of_colour = [one for one in figure.axes[0].lines if to_rgb(one.get_color()) == to_rgb(colour)]
    return [one for one in of_colour if one.get_linestyle() != "None"]


def image():
    return np.random.default_rng(0).random((160, 200))


def test_the_axis_turns_counter_clockwise_on_the_screen():
    (red,) = lines(overlay(image(), None, POSE), PREDICTION)
    x, y = red.get_data()
    assert math.atan2(-(y[1] - y[0]), x[1] - x[0]) == pytest.approx(0.5)
    assert math.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(6.0 / 0.2)


def test_the_origin_is_marked():
    points = [one.get_xydata().tolist() for one in overlay(image(), None, POSE).axes[0].lines]
    assert [[100.0, 80.0]] in points


def test_a_tilted_instrument_is_foreshortened():
    (red,) = lines(overlay(image(), None, moved(tilt=math.pi / 3)), PREDICTION)
    assert math.hypot(*np.ptp(red.get_xydata(), axis=0)) == pytest.approx(15.0)


def test_prediction_red_truth_green_start_dotted():
    figure = overlay(image(), POSE, moved(x=1), moved(x=5, angle=0.2), title="worst: 0.28 mm, 0 deg")
    assert lines(figure, PREDICTION)[0].get_linestyle() == "--"
    assert lines(figure, TRUTH)[0].get_linestyle() == "-"
    assert lines(figure, START)[0].get_linestyle() == ":"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["start", "truth", "prediction"]
    assert figure.axes[0].get_title() == "worst: 0.28 mm, 0 deg"


def test_landmarks_and_wire_are_drawn():
    points = np.array([[90.0, 70.0], [110.0, 90.0]])
    figure = overlay(image(), None, POSE, marks=Marks(predicted=points, true=points + 1, wire=points + 2))
    drawn = [one.get_xydata().tolist() for one in figure.axes[0].lines]
    assert all((points + shift).tolist() in drawn for shift in range(3))
    assert "annotated wire" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_the_scale_bar_has_its_length():
    figure = overlay(image(), None, POSE)
    (text,) = figure.axes[0].texts
    bar = lines(figure, "white")[0].get_xdata()
    assert text.get_text() == f"{np.ptp(bar) * 0.2:g} mm"


@pytest.mark.parametrize("extent", [0.3, 1.0, 7.0, 14.0, 99.0, 1234.0])
def test_the_scale_bar_is_round_and_fits(extent):
    length = bar_length(extent)
    assert 0.1 * extent < length <= 0.3 * extent
    assert float(f"{length:.0e}") == pytest.approx(length)


def test_the_window_grows_with_a_bad_prediction_and_ignores_one_outside():
    shape = (400, 400)
    near = window([POSE], 10.0, shape)
    far = window([POSE, moved(x=150)], 10.0, shape)
    assert far[1] - far[0] > near[1] - near[0]
    assert window([POSE, moved(x=5000)], 10.0, shape) == near


@pytest.mark.parametrize("bad", [np.full(5, np.nan), [1e9, -1e9, 0, 0, 0.2], [100, 80, 0, 0, 0]])
def test_a_useless_prediction_still_gives_a_picture(bad, tmp_path):
    overlay(image(), None, bad).savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_a_flat_image_can_be_shown():
    overlay(np.zeros((50, 50)), None, [25, 25, 0, 0, 0.2]).draw_without_rendering()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(height, width\)"):
        overlay(np.zeros((2, 5, 5)), None, POSE)
    with pytest.raises(ValueError, match="`true` must be an image pose"):
        overlay(image(), [1.0, 2.0], POSE)
