"""Similarities agree with other programs, with plain loops and with finite differences, and bear images of nothing."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfmedcai.losses.similarity import compat_gradient_ncc, compat_ncc, gradient_ncc, ncc, patch_gradient_ncc

ALL = [ncc, gradient_ncc, patch_gradient_ncc, compat_ncc, compat_gradient_ncc]
MASKED = [ncc, gradient_ncc, patch_gradient_ncc]


def images(count=3, size=(24, 20), seed=0):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=(count, *size)), (0, 1, 1)) + rng.uniform(1, 2)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def with_gradient(cost, moving, *others):
    moving = tf.constant(moving)
    with tf.GradientTape() as tape:
        tape.watch(moving)
        found = cost(moving, *others)
    return found.numpy(), tape.gradient(found, moving).numpy()


@pytest.fixture
def recorded(golden):
    answers = np.load(golden("prost/similarity_golden.npz"))
    moving = np.load(golden("prost/render_cube128_det128_master.npz"))["image_f64"][answers["moving_idx"]]
    return answers, moving.reshape(-1, 128, 128), answers["target"][np.newaxis]


@pytest.mark.parametrize(("precision", "bound"), [(np.float64, 1e-14), (np.float32, 1e-5)])
def test_other_programs_find_the_same(recorded, precision, bound):
    answers, moving, target = recorded
    moving, target = moving.astype(precision), target.astype(precision)
    # Recorded in single precision.
    np.testing.assert_allclose(compat_ncc(moving, target), answers["ncc"], atol=max(bound, 1e-6))
    found, gradient = with_gradient(compat_gradient_ncc, moving, target)
    np.testing.assert_allclose(found, answers["gradncc_f64"], atol=bound)
    np.testing.assert_allclose(gradient, answers["grad_gradncc"], atol=bound)
    for radius, scale in ((5, 0.125), (10, 0.25)):
        found = patch_gradient_ncc(moving, target, radius=radius)
        np.testing.assert_allclose(found, answers[f"pgradncc_ds{scale}"], atol=bound)


def test_correlations_are_those_of_numpy():
    moving, fixed = images(), images(seed=1)
    expected = [1 - correlation(a, b) for a, b in zip(moving, fixed, strict=True)]
    np.testing.assert_allclose(ncc(moving, fixed), expected, atol=1e-12)
    pairs = [
        [ndimage.sobel(one, axis, mode="mirror") for one in pair]
        for pair in zip(moving, fixed, strict=True)
        for axis in (0, 1)
    ]
    expected = 1 - np.mean(np.reshape([correlation(*pair) for pair in pairs], (-1, 2)), axis=1)
    np.testing.assert_allclose(gradient_ncc(moving, fixed), expected, atol=1e-12)


@pytest.mark.parametrize("radius", [1, 3])
def test_patches_are_those_of_plain_loops(radius):
    moving, fixed = images(1), images(1, seed=1)
    side, alike = 2 * radius + 1, []
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    for axis in (0, 1):
        slopes = [
            ndimage.sobel(ndimage.correlate(x[0], kernel, mode="mirror"), axis, mode="mirror") for x in (moving, fixed)
        ]
        for row, column in np.ndindex(24 - 2 * radius, 20 - 2 * radius):
            patches = [slope[row : row + side, column : column + side] for slope in slopes]
            alike.append(correlation(*patches) * (side**2 - 1) / side**2)
    np.testing.assert_allclose(patch_gradient_ncc(moving, fixed, radius=radius), [1 - np.mean(alike)], atol=1e-12)


@pytest.mark.parametrize("cost", ALL)
def test_gradients_are_those_of_differences(cost):
    moving, fixed, step = images(1), images(1, seed=1), 1e-5
    _, gradient = with_gradient(cost, moving, fixed)
    places = [(0, 0), (0, 7), (23, 19), (11, 9), (12, 9), (5, 18)]
    for row, column in places:
        change = np.zeros_like(moving)
        change[0, row, column] = step
        difference = (cost(moving + change, fixed) - cost(moving - change, fixed)) / (2 * step)
        assert gradient[0, row, column] == pytest.approx(float(difference[0]), abs=1e-9)
    # It does not matter which side moves.
    assert with_gradient(cost, fixed, moving)[0] == pytest.approx(float(cost(moving, fixed)[0]))


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("cost", MASKED)
def test_images_alike_cost_nothing_whatever_their_contrast(cost, precision):
    image = images().astype(precision)
    least = 1 / 121 if cost is patch_gradient_ncc else 0.0
    np.testing.assert_allclose(cost(image, 3 * image + 50), least, atol=1e-5 if precision is np.float32 else 1e-12)
    np.testing.assert_allclose(cost(image, -image), 2 - least, atol=1e-5)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
@pytest.mark.parametrize("cost", MASKED)
def test_a_constant_image_is_like_no_other(cost, value, precision):
    constant, image = np.full((2, 24, 20), value, precision), images(2).astype(precision)
    for moving, fixed in ((constant, image), (image, constant), (constant, constant)):
        found, gradient = with_gradient(cost, moving, fixed)
        np.testing.assert_allclose(found, 1, atol=1e-6)
        assert np.isfinite(gradient).all()
        if cost is not patch_gradient_ncc:
            assert not gradient.any()


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_patches_of_one_slope_show_nothing(precision):
    row, column = np.mgrid[:60, :60]
    slopes = np.stack([[3.7 * column + 1.3 * row + 100], [0.1 * row - 40 * column]]).astype(precision)
    mask = np.pad(np.ones((1, 52, 52)), [(0, 0), (4, 4), (4, 4)])
    for slope in slopes:
        found, gradient = with_gradient(patch_gradient_ncc, slope, images(1, (60, 60)).astype(precision), mask)
        np.testing.assert_allclose(found, 1, atol=5e-3)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("cost", [compat_ncc, compat_gradient_ncc])
def test_the_published_forms_bear_constant_images(cost):
    found, gradient = with_gradient(cost, np.full((1, 24, 20), 0.1), images(1))
    assert np.isfinite(found).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("cost", MASKED)
def test_what_the_mask_hides_has_no_influence(cost):
    moving, fixed = images(2, (40, 36)), images(1, (40, 36), seed=1)
    mask = np.ones((1, 40, 36), bool)
    mask[0, 30:38, 2:7] = False
    found, gradient = with_gradient(cost, moving, fixed, mask)
    other = np.where(mask, moving, 1e3)
    np.testing.assert_allclose(cost(other, fixed, mask), found, atol=1e-12)
    assert not gradient[:, ~mask[0]].any() and gradient.any()
    assert np.abs(found - cost(moving, fixed)).max() > 1e-4
    np.testing.assert_allclose(cost(moving, fixed, np.ones_like(mask)), cost(moving, fixed), atol=1e-12)
    np.testing.assert_allclose(cost(moving, fixed, np.zeros_like(mask)), 1)


def test_a_mask_that_leaves_a_part_gives_what_the_part_gives():
    moving, fixed = images(2, (40, 36)), images(2, (40, 36), seed=1)
    mask = np.zeros((2, 40, 36))
    mask[:, 5:30, 3:33] = 1
    part = [image[:, 5:30, 3:33] for image in (moving, fixed)]
    np.testing.assert_allclose(ncc(moving, fixed, mask), ncc(*part), atol=1e-12)
    # Gradients of the part that need nothing from around it: one pixel less, and two more for the blur.
    mask[:, 4:31, 2:34] = 1
    slopes = [
        [ndimage.sobel(x, axis, mode="mirror")[5:30, 3:33] for x in pair]
        for pair in zip(moving, fixed, strict=True)
        for axis in (0, 1)
    ]
    expected = 1 - np.mean(np.reshape([correlation(*pair) for pair in slopes], (2, 2)), axis=1)
    np.testing.assert_allclose(gradient_ncc(moving, fixed, mask), expected, atol=1e-12)


@pytest.mark.parametrize("cost", ALL)
def test_one_image_meets_a_batch_and_a_last_axis_is_allowed(cost):
    moving, fixed = images(3), images(1, seed=1)
    expected = cost(moving, np.tile(fixed, (3, 1, 1))).numpy()
    for found in (cost(moving, fixed), cost(moving[..., np.newaxis], fixed), cost(moving, fixed[..., np.newaxis])):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(cost(fixed, moving), expected, atol=1e-12)
    np.testing.assert_allclose([cost(one[np.newaxis], fixed)[0] for one in moving], expected, atol=1e-12)


def test_compiles_and_keeps_its_precision():
    moving, fixed = images(4, (192, 192)), images(1, (192, 192), seed=1)

    @tf.function(jit_compile=True, autograph=False)
    def compiled(moving, fixed):
        return [cost(moving, fixed) for cost in ALL]

    for found, cost in zip(compiled(np.float32(moving), np.float32(fixed)), ALL, strict=True):
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, cost(moving, fixed), atol=2e-6)


def test_traces_with_unknown_sizes():
    signature = [tf.TensorSpec((None, None, None), tf.float64)] * 2
    traced = tf.function(patch_gradient_ncc, input_signature=signature, autograph=False)
    np.testing.assert_allclose(traced(images(), images(1)), patch_gradient_ncc(images(), images(1)), atol=1e-12)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(batch, rows, columns\).*\(3, 24, 20\), \(24, 20\)"):
        ncc(images(), images()[0])
    with pytest.raises(ValueError, match=r"Received \(3, 24, 20\), \(3, 24, 20\), \(1, 24, 21\)"):
        gradient_ncc(images(), images(), np.ones((1, 24, 21)))
    for radius in (0, 10):
        with pytest.raises(ValueError, match=rf"`radius` must be 1 px or more.* Received {radius} for \(24, 20\) px"):
            patch_gradient_ncc(images(), images(), radius=radius)
