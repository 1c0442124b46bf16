import numpy as np
import pytest

from tfmedcai.simulators.xray_draws import Draws


def test_the_same_key_gives_the_same_numbers_and_another_key_others():
    first, again, other = Draws(1, 2, 3), Draws(1, 2, 3), Draws(1, 2, 4)
    assert first.vector(5).tolist() == again.vector(5).tolist() != other.vector(5).tolist()


@pytest.mark.parametrize(
    ("draw", "low", "high", "middle"),
    [
        (lambda d: d.uniform(2.0, 4.0), 2.0, 4.0, 3.0),
        (lambda d: d.log_uniform(0.1, 10.0), 0.1, 10.0, 1.0),
        (lambda d: d.around(1.0, 0.0, 4.0, 0.5), 0.5, 2.5, 1.5),
        (lambda d: d.angle(), -np.pi, np.pi, 0.0),
        (lambda d: d.chance(0.5) + 0.25, 0.0, 1.5, 0.75),
    ],
)
def test_numbers_fill_their_range(draw, low, high, middle):
    draws = Draws(0)
    numbers = np.array([draw(draws) for _ in range(400)])
    assert low <= numbers.min() and numbers.max() < high
    assert 0.4 < np.mean(numbers < middle) < 0.6


def test_without_strength_the_nominal_number_comes():
    assert Draws(0).around(1.0, 0.0, 4.0, 0.0) == 1.0
