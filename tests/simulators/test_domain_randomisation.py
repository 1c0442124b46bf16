"""Domain randomisation: each change as defined, drawn as often and from the ranges of the paper."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfmedcai.simulators.domain_randomisation import DomainRandomisation

PAPER = DomainRandomisation()
NOTHING = DomainRandomisation(probability=0.0)
ROWS, COLUMNS = np.mgrid[:40, :60]
IMAGE = tf.constant((ROWS / 39 + COLUMNS / 59) / 2, tf.float32)


def still(**changes):
    """What is drawn where nothing happens, but for one change."""
    return NOTHING.draw((0, 0))._replace(**{name: tf.constant(value) for name, value in changes.items()})


def test_nothing_happens_where_nothing_may():
    np.testing.assert_allclose(NOTHING(IMAGE, (1, 2)), IMAGE, atol=1e-6)


def test_draws_are_those_of_the_paper():
    draws = PAPER.draw((3, 4), batch=4000)
    changed = np.stack([draws.invert, draws.noise > 0, draws.gamma != 1, draws.boxes > 0]).astype(float)
    np.testing.assert_allclose(changed.mean(axis=1), 0.5, atol=0.03)
    assert np.abs(np.corrcoef(changed) - np.eye(4)).max() < 0.06
    noise, gamma = draws.noise.numpy()[draws.noise > 0], draws.gamma.numpy()[draws.gamma != 1]
    assert stats.kstest(noise, stats.uniform(0.005, 0.095).cdf).pvalue > 0.01
    assert stats.kstest(gamma, stats.uniform(0.7, 0.6).cdf).pvalue > 0.01
    counts = np.bincount(draws.boxes.numpy(), minlength=6)[1:]
    assert counts.size == 5 and stats.chisquare(counts).pvalue > 0.01
    between = stats.truncnorm(-1.0, 0.85 / 0.15, 0.15, 0.15)
    assert stats.kstest(draws.sides.numpy().ravel(), between.cdf).pvalue > 0.01
    assert stats.kstest(draws.corners.numpy().ravel(), "uniform").pvalue > 0.01


def test_the_noise_of_the_code_is_a_setting():
    noise = DomainRandomisation(probability=1.0, noise=(0.005, 0.01)).draw((1, 1), batch=500).noise.numpy()
    assert 0.005 <= noise.min() < 0.0052 and 0.0098 < noise.max() <= 0.01


def test_inversion_mirrors_the_grey_values():
    np.testing.assert_allclose(NOTHING.apply(still(invert=[True]), 3.0 * IMAGE + 0.5), 3.0 * (1 - IMAGE), atol=1e-5)


def test_noise_is_relative_to_the_range():
    noisy = NOTHING.apply(still(noise=[0.05]), 3.0 * IMAGE + 0.5) - (3.0 * IMAGE + 0.5)
    np.testing.assert_allclose(np.std(noisy), 0.15, rtol=0.05)
    assert abs(np.mean(noisy)) < 0.01


def test_gamma_keeps_the_range():
    bent = NOTHING.apply(still(gamma=[1.3]), 3.0 * IMAGE + 0.5)
    np.testing.assert_allclose(bent, 3.0 * IMAGE**1.3 + 0.5, rtol=1e-5)


def test_boxes_are_filled_with_noise():
    sides, corners = np.full((1, 5, 2), 0.5, np.float32), np.zeros((1, 5, 2), np.float32)
    sides[0, 0], corners[0, 0] = (0.5, 0.25), (1.0, 0.5)
    change = (NOTHING.apply(still(boxes=[1], sides=sides, corners=corners), IMAGE) - IMAGE).numpy()
    # Rows 20 to 39; of the 46 places that 15 columns have, the 24th.
    inside = (ROWS >= 20) & (COLUMNS >= 23) & (COLUMNS < 38)
    np.testing.assert_allclose(change[~inside], 0, atol=1e-6)
    region = IMAGE.numpy()[inside]
    np.testing.assert_allclose(change[inside].std(), 0.2 * np.ptp(region), rtol=0.1)


def test_as_many_boxes_as_drawn_in_the_image_whatever_their_size():
    sides = np.zeros((1, 5, 2), np.float32)
    sides[0, 2:4] = 1.0
    corners = np.linspace(0, 0.99, 10, dtype=np.float32).reshape(1, 5, 2)
    for count, changed in ((2, 0), (3, IMAGE.shape.num_elements())):
        image = NOTHING.apply(still(boxes=[count], sides=sides, corners=corners), IMAGE)
        assert np.count_nonzero(np.abs(image - IMAGE) > 1e-5) == pytest.approx(changed, rel=0.01)


def test_boxes_have_noise_of_their_own():
    full = {"sides": np.ones((1, 5, 2), np.float32), "corners": np.zeros((1, 5, 2), np.float32)}
    one, two = (NOTHING.apply(still(boxes=[count], **full), IMAGE).numpy() for count in (1, 2))
    assert abs(np.corrcoef((two - one).ravel(), (one - IMAGE).numpy().ravel())[0, 1]) < 0.1


def test_images_of_a_batch_change_by_themselves():
    batch = tf.repeat(IMAGE[tf.newaxis, ..., tf.newaxis], 6, axis=0)
    draws = PAPER.draw((5, 6), batch=6)
    changed = PAPER.apply(draws, batch).numpy()
    assert changed.shape == (6, 40, 60, 1) and np.isfinite(changed).all()
    assert min(np.abs(changed[one] - changed[two]).max() for one in range(6) for two in range(one)) > 0.01
    np.testing.assert_array_equal(changed, PAPER(batch, (5, 6)))


def test_a_plain_image_stays_finite():
    assert np.isfinite(DomainRandomisation(probability=1.0)(tf.fill((30, 30), 0.4), (1, 2))).all()


def test_compiled_changes_are_the_same():
    batch = tf.repeat(IMAGE[tf.newaxis, ..., tf.newaxis], 4, axis=0)
    compiled = tf.function(PAPER, jit_compile=True, autograph=False)(batch, tf.constant([5, 6]))
    np.testing.assert_allclose(compiled, PAPER(batch, (5, 6)), atol=1e-4)


def test_it_runs_in_a_pipeline():
    data = tf.data.Dataset.range(3).map(lambda number: PAPER(IMAGE, tf.stack([tf.constant(0, tf.int64), number])))
    first, second, _ = data
    assert first.shape == (40, 60) and np.abs(first - second).max() > 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {"probability": 1.1},
        {"noise": (0.1, 0.0)},
        {"gamma": (0.0, 1.0)},
        {"boxes": (0, 5)},
        {"box_side": 0.0},
        {"box_noise": -1.0},
    ],
)
def test_impossible_ranges(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
        DomainRandomisation(**settings)


def test_colours_are_refused():
    with pytest.raises(ValueError, match="`image` must be"):
        PAPER.apply(PAPER.draw((0, 0)), tf.zeros((1, 8, 8, 3)))
