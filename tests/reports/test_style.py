import matplotlib
import pytest

from tfmedcai.reports.style import GREY, PALETTE, STYLE, colours, empty_axes, plain_numbers, styled


def test_random_search_is_grey_wherever_it_stands():
    assert colours(["random", "latent", "local"]) == {"latent": PALETTE[0], "local": PALETTE[1], "random": GREY}


def test_colours_come_round_again():
    assert len(colours(f"oracle {i}" for i in range(20))) == 21


def test_the_style_ends_with_the_figure():
    before = matplotlib.rcParams["axes.edgecolor"]
    assert styled(lambda: matplotlib.rcParams["axes.edgecolor"])() == STYLE["axes.edgecolor"]
    with pytest.raises(ZeroDivisionError):
        styled(lambda: 1 / 0)()
    assert matplotlib.rcParams["axes.edgecolor"] == before


def test_logarithmic_axes_have_plain_numbers():
    figure, axes = empty_axes()
    axes.set(xscale="log", xlim=(0.01, 10))
    plain_numbers(axes.xaxis)
    figure.draw_without_rendering()
    assert "0.1" in [label.get_text() for label in axes.get_xticklabels()]
