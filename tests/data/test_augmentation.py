import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfmedcai.data.augmentation import Augmentation

FULL = Augmentation(
    scale=(0.8, 1.3), shift=0.1, rotate_deg=(20.0, 10.0, 30.0), flip=(True, True, True), quarter_turns=True
)
FLAT = Augmentation(scale=(0.8, 1.3), shift=0.1, rotate_deg=(30.0,), flip=(True, True), spacing=(1.0, 1.5))


def sample(size, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(*size, channels)), [1.5] * len(size) + [0]).astype(np.float32)
    return tf.constant(image), tf.constant((image[..., 0] > 0).astype(np.uint8) * 3)


def identity(augmentation, axes):
    """What is drawn when nothing shall change."""
    return Augmentation(spacing=augmentation.spacing).draw(axes, (0, 0))


@pytest.mark.parametrize(("augmentation", "size"), [(FULL, (12, 12, 9)), (FLAT, (16, 11))])
def test_the_same_seed_draws_the_same(augmentation, size):
    image, label = sample(size)
    first, second, other = (augmentation(image, label, tf.constant(seed)) for seed in ((3, 1), (3, 1), (3, 2)))
    for a, b, c, like in zip(first, second, other, (image, label), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == like.shape and a.dtype == like.dtype
        assert np.any(a != c)


@pytest.mark.parametrize(("augmentation", "size"), [(FULL, (12, 12, 9)), (FLAT, (16, 11))])
def test_drawing_nothing_changes_nothing(augmentation, size):
    image, label = sample(size)
    moved, labels = augmentation.apply(identity(augmentation, len(size)), image, label)
    np.testing.assert_allclose(moved, image, atol=1e-5)
    np.testing.assert_array_equal(labels, label)


def test_interpolates_as_scipy_does():
    image, label = sample((20, 17, 13), channels=1)
    draws = Augmentation(scale=(0.8, 1.3), rotate_deg=(25.0,) * 3, shift=0.1).draw(3, (1, 1))
    augmentation = Augmentation(scale=(0.8, 1.3), shift=0.1, outside=-9.0)
    moved, labels = augmentation.apply(draws, image, label)
    a, b, c = draws.angles.numpy()
    turns = [
        [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]],
        [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]],
        [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]],
    ]
    forward = draws.scale.numpy() * np.linalg.multi_dot([np.array(turn) for turn in reversed(turns)])
    size = np.array(label.shape)
    middle = (size - 1) / 2
    back = np.linalg.inv(forward)
    offset = middle - back @ (middle + draws.shift.numpy() * size)
    expected = ndimage.affine_transform(image[..., 0].numpy(), back, offset, order=1, cval=np.nan)
    inside = np.isfinite(expected)
    assert 0.3 < inside.mean() < 1
    np.testing.assert_allclose(moved.numpy()[inside, 0], expected[inside], atol=1e-4)
    nearest = ndimage.affine_transform(label.numpy(), back, offset, order=0)
    assert (labels.numpy() == nearest)[inside].mean() > 0.999
    far = ndimage.affine_transform(np.ones(size), back, offset, order=1, mode="grid-constant") == 0
    assert (moved.numpy()[far] == -9.0).all() and not labels.numpy()[far].any()


def test_a_shift_moves_the_content_forwards_and_a_scale_enlarges():
    image = np.zeros((21, 21, 1), np.float32)
    image[10, 10] = 1
    label = tf.constant(image[..., 0].astype(np.int32))
    draws = identity(FLAT, 2)._replace(shift=tf.constant([3 / 21, -2 / 21]))
    moved, labels = FLAT.apply(draws, tf.constant(image), label)
    assert np.argwhere(labels.numpy()).tolist() == [[13, 8]] and float(moved[13, 8, 0]) == pytest.approx(1, abs=1e-4)
    big = FLAT.apply(identity(FLAT, 2)._replace(scale=tf.constant(3.0)), tf.constant(image), label)[1]
    assert tf.reduce_sum(big) == 9


def test_a_rotation_of_anisotropic_voxels_is_one_in_the_patient():
    size, spacing = (40, 40), (1.0, 2.0)
    x, y = (np.arange(n) - (n - 1) / 2 for n in size)
    x, y = np.meshgrid(x * spacing[0], y * spacing[1], indexing="ij")
    ring = (np.abs(np.hypot(x, y) - 12) < 3).astype(np.uint8)
    image = tf.constant(ring[..., np.newaxis], tf.float32)
    draws = identity(FLAT, 2)._replace(angles=tf.constant([0.5]))
    for steps, same in ((spacing, True), ((), False)):
        turned = Augmentation(rotate_deg=(40.0,), spacing=steps).apply(draws, image, tf.constant(ring))[1].numpy()
        assert ((turned == ring).mean() > 0.97) == same


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_quarter_turns_and_flips_move_voxels_exactly(turns, flips):
    exact = Augmentation(flip=(True,) * 3, quarter_turns=True)
    image, label = sample((6, 6, 5))
    draws = identity(exact, 3)._replace(quarter_turns=tf.constant(turns), flips=tf.constant(flips) > 0)
    axes = [axis for axis, flag in enumerate(flips) if flag]
    expected = [np.flip(np.rot90(part, turns, (0, 1)), axes) for part in (image.numpy(), label.numpy())]
    for ours, theirs in zip(exact.apply(draws, image, label), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Together with an interpolation they are part of its matrix.
    resampled = Augmentation(scale=(0.9, 1.1), flip=(True,) * 3, quarter_turns=True).apply(draws, image, label)
    np.testing.assert_allclose(resampled[0], expected[0], atol=1e-5)
    np.testing.assert_array_equal(resampled[1], expected[1])


def test_every_turn_and_flip_is_drawn():
    augmentation = Augmentation(flip=(True, False, True), quarter_turns=True)
    draws = [augmentation.draw(3, (0, n)) for n in range(40)]
    assert {int(draw.quarter_turns) for draw in draws} == {0, 1, 2, 3}
    flips = np.array([draw.flips.numpy() for draw in draws])
    assert 0.3 < flips[:, 0].mean() < 0.7 and not flips[:, 1].any() and not np.all(flips[:, 0] == flips[:, 2])


def test_draws_stay_in_their_ranges():
    draws = [FULL.draw(3, (0, n)) for n in range(50)]
    assert all(0.8 <= draw.scale <= 1.3 for draw in draws)
    angles = np.degrees([draw.angles.numpy() for draw in draws])
    assert (np.abs(angles) <= [20, 10, 30]).all() and (np.abs(angles).max(axis=0) > [15, 7, 20]).all()
    assert np.abs([draw.shift.numpy() for draw in draws]).max() <= 0.1


def test_intensities():
    image, label = sample((30, 30))
    augmentation = Augmentation(contrast=(0.5, 2.0), brightness=0.3, noise=0.5)
    draws = augmentation.draw(2, (0, 0))
    changed, same = augmentation.apply(draws, image, label)
    np.testing.assert_array_equal(same, label)
    mean = image.numpy().mean(axis=(0, 1))
    without_noise = mean + (image.numpy() - mean) * draws.contrast + draws.brightness
    assert np.std(changed - without_noise) == pytest.approx(float(draws.noise), rel=0.1)
    np.testing.assert_array_equal(augmentation.apply(draws, image, label)[0], changed)
    quiet = Augmentation(contrast=(0.5, 2.0), brightness=0.3).apply(draws, image, label)[0]
    np.testing.assert_allclose(quiet, without_noise, atol=1e-5)


def test_in_a_pipeline():
    image, label = sample((12, 12, 8))
    data = tf.data.Dataset.range(5).map(lambda n: FULL(image, label, tf.stack([0, tf.cast(n, tf.int32)])), 2).batch(5)
    images, labels = next(iter(data))
    np.testing.assert_allclose(images[3], FULL(image, label, (0, 3))[0], atol=1e-6)
    np.testing.assert_array_equal(labels[3], FULL(image, label, (0, 3))[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augmentation(scale=(0.0, 1.0)), "`scale` must be"),
        (lambda: Augmentation(scale=(1.2, 1.0)), "`scale` must be"),
        (lambda: Augmentation(rotate_deg=(1.0, 2.0)), "`rotate_deg` must be 1 or 3 angles"),
        (lambda: Augmentation(shift=-0.1), "`shift` must be"),
        (lambda: FULL.draw(2, (0, 0)), "must be for 2 axes: 1, 2 and 2 values"),
        (lambda: FULL(*sample((6, 5, 4)), (0, 0)), "Quarter turns need"),
        (lambda: FLAT(sample((6, 5))[0], sample((5, 6))[1], (0, 0)), "must have static shapes"),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
