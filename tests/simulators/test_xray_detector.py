import numpy as np
import tensorflow as tf

from tfmedcai.simulators import xray_detector as detector
from tfmedcai.simulators.xray_draws import Draws

SIZE = (64, 96)
SEED = tf.constant([1, 2], tf.int64)


def parameters(key=0, strength=0.0, blur_px=(1.0, 1.0), **changes):
    drawn = detector.sample(Draws(key), SIZE, blur_px, strength)
    changes = {name: np.asarray(value, np.float32) for name, value in changes.items()}
    return tf.nest.map_structure(tf.constant, drawn | changes)


def test_smoothing_keeps_a_plain_image_and_the_sum_of_a_point():
    weights = parameters()["blur"]
    np.testing.assert_allclose(detector.smooth(tf.fill(SIZE, 0.7), weights, weights), 0.7, rtol=1e-5)
    point = tf.scatter_nd([[30, 40]], [1.0], SIZE)
    spread = detector.smooth(point, weights, weights).numpy()
    np.testing.assert_allclose(spread.sum(), 1.0, rtol=1e-5)
    rows, columns = np.mgrid[:64, :96]
    np.testing.assert_allclose([(spread * rows).sum(), (spread * columns).sum()], [30, 40], rtol=1e-5)
    assert abs(np.sqrt((spread * (columns - 40) ** 2).sum()) - 1.1) < 0.05


def test_a_batch_is_smoothed_image_by_image():
    images = tf.random.stateless_uniform((2, 3, 20, 30), (1, 2))
    wide, narrow = (tf.constant(detector.gaussian(sigma), tf.float32) for sigma in (1.5, 0.5))
    smoothed = detector.smooth(images, wide, narrow)
    for number in np.ndindex(2, 3):
        np.testing.assert_allclose(smoothed[number], detector.smooth(images[number], wide, narrow), rtol=1e-5)


def test_enlarging_keeps_straight_ramps_in_place():
    ramp = tf.reshape(2.0 * tf.range(24.0) + 0.5, (1, 24, 1)) * tf.ones((16, 1, 1))
    np.testing.assert_allclose(detector.enlarge(ramp, (32, 48))[8, 2:-2, 0], np.arange(48.0)[2:-2], atol=1e-4)


def test_tissue_at_the_instrument_is_well_exposed_whatever_surrounds_it():
    depth = np.full(SIZE, 6.0, np.float32)
    depth[:, :48] = 0.0
    for column, near in ((10, 0.0), (90, 6.0)):
        pixel = tf.constant([30, column])
        intensity = detector.expose(parameters(), tf.constant(depth), tf.constant(near), pixel).numpy()
        assert np.exp(-0.5) < intensity[30, column] < np.exp(0.5)


def test_scatter_lifts_what_lies_behind_metal_next_to_bright_tissue():
    depth = np.zeros(SIZE, np.float32)
    depth[28:36, 44:52] = 20.0
    lifted = detector.expose(parameters(scatter=0.4), tf.constant(depth), tf.constant(0.0), tf.constant([5, 5]))
    clear = detector.expose(parameters(scatter=0.0), tf.constant(depth), tf.constant(0.0), tf.constant([5, 5]))
    assert lifted[32, 48] > 0.1 > 0.001 > clear[32, 48]


def test_noise_is_that_of_counted_quanta():
    def deviation(intensity):
        flat = tf.fill(SIZE, intensity)
        noisy = detector.detect(parameters(electronic=0.0, quantum=0.04), flat, SEED, 1.0).numpy()
        assert abs(noisy.mean() - intensity) < 0.01 * intensity + 0.002
        return noisy.std()

    np.testing.assert_allclose([deviation(1.0), deviation(0.25)], [0.04, 0.02], rtol=0.1)


def test_noise_has_grain_and_can_be_switched_off():
    flat = tf.ones(SIZE)
    noise = detector.detect(parameters(), flat, SEED, 1.0).numpy() - 1.0
    neighbours = np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var()
    assert 0.2 < neighbours < 0.8
    np.testing.assert_allclose(detector.detect(parameters(), flat, SEED, 0.0), 1.0, rtol=1e-5)


def test_grey_values_rise_with_intensity_and_medium_intensity_is_the_level():
    grey = detector.display(parameters(), tf.constant([[0.02, 0.3, 1.0, 1.5, 100.0]]))[0].numpy()
    assert (np.diff(grey) > 0).all() and grey[0] == 0.0 and grey[-1] == 1.0
    np.testing.assert_allclose(grey[2], 0.5)
    inverted = detector.display(parameters(invert=1.0), tf.constant([[0.02, 0.3, 1.0, 1.5, 100.0]]))[0].numpy()
    np.testing.assert_allclose(inverted, 1.0 - grey)


def test_boxes_are_corrupted_with_strength_only():
    flat = tf.fill(SIZE, 0.3)
    np.testing.assert_array_equal(detector.disturb(parameters(), flat), flat)
    changed = [np.mean(np.abs(detector.disturb(parameters(key, 1.0), flat) - 0.3) > 0.02) for key in range(40)]
    assert 0.3 < np.mean(np.array(changed) > 0) < 0.95
