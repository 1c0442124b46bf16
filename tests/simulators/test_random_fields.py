import numpy as np
import tensorflow as tf
from scipy import stats

from tfmedcai.simulators.random_fields import normal, uniform

SHAPE = (300, 400)


def test_numbers_have_their_distributions():
    assert stats.kstest(uniform(SHAPE, (1, 2)).numpy().ravel(), "uniform").pvalue > 0.01
    assert stats.kstest(normal(SHAPE, (1, 3)).numpy().ravel(), "norm").pvalue > 0.01


def test_neighbours_and_seeds_are_independent():
    first, second = normal(SHAPE, (4, 5)).numpy(), normal(SHAPE, (4, 6)).numpy()
    for one, other in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_both_ends_are_open():
    values = uniform((3_000_000,), (0, 0)).numpy()
    assert 0 < values.min() < 1e-5 and 1 - 1e-5 < values.max() < 1


def test_compiled_numbers_are_the_same():
    seed = tf.constant([7, 8], tf.int64)
    for draw, tolerance in ((uniform, 0), (normal, 1e-4)):
        compiled = tf.function(draw, jit_compile=True, autograph=False)
        np.testing.assert_allclose(compiled(SHAPE, seed), draw(SHAPE, seed), atol=tolerance)
