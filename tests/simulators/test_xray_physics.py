"""Images from line integrals: closed forms for attenuation, scatter and noise, and derivatives."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.simulators.mass_attenuation import mass_attenuation
from tfmedcai.simulators.xray_physics import XRayPhysics, log_attenuation, scattered, transmitted
from tfmedcai.simulators.xray_spectrum import Spectrum, tube_spectrum

MATERIALS = ("soft_tissue", "bone", "iron")
QUIET = XRayPhysics(MATERIALS, photons=math.inf, scatter=0.0, blur_px=0.0, electronic=0.0, bits=0)
SEED = (3, 14)


def plate(*grams, size=(64, 80), batch=1):
    return tf.constant(grams, tf.float32) * tf.ones((batch, *size, len(grams)))


def phantom(size=96):
    """A box of tissue with a ball of bone and a bar of iron, in g/cm^2; a pixel is 1.5 mm wide."""
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * 0.15
    tissue = 15.0 * ((abs(x) < 6) & (abs(y) < 6))
    bone = 1.5 * 2 * np.sqrt(np.maximum(2.5**2 - (x + 1) ** 2 - y**2, 0.0))
    iron = 4.0 * ((abs(y - 4) < 0.2) & (abs(x) < 4))
    return tf.constant(np.stack([tissue, bone, iron], axis=-1)[np.newaxis], tf.float32)


def test_one_energy_follows_beer_and_lambert():
    spectrum = Spectrum(np.array([60.0]), np.array([1.0]))
    grams = tf.constant([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0], [10.0, 3.0, 0.5]], tf.float64)
    energy, variance = transmitted(grams, spectrum, MATERIALS)
    expected = np.exp([0.0, -20 * 0.2048, -(10 * 0.2048 + 3 * 0.3148 + 0.5 * 1.205)])
    np.testing.assert_allclose(energy, expected, rtol=1e-12)
    np.testing.assert_allclose(variance, expected, rtol=1e-12)


def test_many_energies_add_up():
    (energies, photons), grams = tube_spectrum(90.0), np.array([15.0, 2.0, 0.3])
    total, squares = 0.0, 0.0
    for energy, share in zip(energies, photons, strict=True):
        left = np.exp(-sum(g * mass_attenuation(name, energy) for g, name in zip(grams, MATERIALS, strict=True)))
        total, squares = total + share * energy * left, squares + share * energy**2 * left
    open_beam = np.sum(energies * photons)
    found = transmitted(tf.constant(grams), tube_spectrum(90.0), MATERIALS)
    np.testing.assert_allclose(found, [total / open_beam, squares / open_beam**2], rtol=1e-12)


def test_beams_harden():
    thickness = np.linspace(1.0, 40.0, 20)
    grams = tf.constant(thickness[:, np.newaxis] * [1.0, 0.0, 0.0])
    attenuation = log_attenuation(transmitted(grams, QUIET.spectrum, MATERIALS)[0], 0.0).numpy() / thickness
    assert np.all(np.diff(attenuation) < 0)
    assert mass_attenuation("soft_tissue", 80.0) < attenuation[-1] < attenuation[0]
    assert attenuation[0] < mass_attenuation("soft_tissue", 35.0)


def test_a_quiet_image_is_what_is_transmitted():
    grams = phantom()
    image = QUIET.intensity(grams, SEED)
    assert image.shape == (1, 96, 96, 1)
    # The blur of 0.1 px that is left is none.
    np.testing.assert_allclose(image[..., 0], transmitted(grams, QUIET.spectrum, MATERIALS)[0], atol=1e-6)
    np.testing.assert_allclose(image[0, 0, 0, 0], 1.0, rtol=1e-5)


def test_scatter_behind_a_wide_plate_is_in_proportion_to_its_optical_depth():
    for depth in (0.5, 2.0, 4.0):
        primary = tf.fill((1, 121, 121), np.exp(-depth))
        np.testing.assert_allclose(scattered(primary, 0.2, 8.0)[0, 60, 60] / primary[0, 60, 60], 0.2 * depth, rtol=1e-3)


def test_scatter_spreads_what_is_given_off_and_leaves_through_the_border():
    primary = tf.tensor_scatter_nd_update(tf.ones((2, 101, 121)), [[0, 50, 60], [1, 0, 0]], [0.5, 0.5])
    veil = scattered(primary, 0.3, 6.0).numpy()
    source = 0.3 * 0.5 * np.log(2)
    np.testing.assert_allclose(veil[0].sum(), source, rtol=1e-4)
    rows, columns = np.mgrid[:101, :121]
    np.testing.assert_allclose(np.sqrt((veil[0] * (rows - 50) ** 2).sum() / source), 6.0, rtol=1e-3)
    np.testing.assert_allclose((veil[0] * columns).sum() / source, 60.0, rtol=1e-3)
    assert 0.25 < veil[1].sum() / source < 0.31
    np.testing.assert_array_equal(scattered(tf.ones((1, 9, 9)), 0.3, 6.0), 0)
    np.testing.assert_array_equal(scattered(tf.zeros((1, 9, 9)), 0.3, 6.0), 0)


def test_scatter_lifts_what_is_dark():
    grams = phantom()
    clear, veiled = (dataclasses.replace(QUIET, scatter=s, scatter_px=15.0).intensity(grams, SEED) for s in (0.0, 0.3))
    contrast = [image[0, 48, 60, 0] / image[0, 48, 40, 0] for image in (clear, veiled)]
    assert contrast[1] < 0.7 * contrast[0]
    assert tf.reduce_min(veiled - clear) >= 0


@pytest.mark.parametrize("photons", [1e3, 1e5])
def test_quantum_noise_is_that_of_the_dose(photons):
    grams = plate(5.0, 0.5, 0.0, size=(200, 200))
    clean, spread = (value[0, 0, 0] for value in transmitted(grams, QUIET.spectrum, MATERIALS))
    image = dataclasses.replace(QUIET, photons=photons).intensity(grams, SEED).numpy()
    np.testing.assert_allclose(image.var(), spread / photons, rtol=0.03)
    np.testing.assert_allclose(image.mean(), clean, rtol=2e-3)
    # Counting energy is noisier than counting photons, by little.
    assert 1 < spread / clean < 1.3


def test_scattered_photons_are_noisy_as_well():
    grams = plate(20.0, 0.0, 0.0, size=(240, 240))
    physics = dataclasses.replace(QUIET, photons=1e4, scatter=0.4, scatter_px=10.0)
    middle = physics.intensity(grams, SEED).numpy()[0, 60:180, 60:180]
    clean, spread = (value[0, 0, 0] for value in transmitted(grams, QUIET.spectrum, MATERIALS))
    open_spread = transmitted(plate(0.0, 0.0, 0.0), QUIET.spectrum, MATERIALS)[1][0, 0, 0]
    veil = -0.4 * clean * np.log(clean)
    np.testing.assert_allclose(middle.mean(), clean + veil, rtol=0.01)
    np.testing.assert_allclose(middle.var(), (spread + open_spread * veil) / 1e4, rtol=0.05)


def test_electronic_noise_is_the_same_everywhere_and_not_blurred():
    physics = dataclasses.replace(QUIET, electronic=0.01, blur_px=1.0)
    image = physics.intensity(plate(5.0, 0.0, 0.0), SEED).numpy()[0, ..., 0]
    np.testing.assert_allclose(image.std(), 0.01, rtol=0.05)
    assert abs(np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1]) < 0.05


def test_blur_makes_quantum_noise_coherent_and_smaller():
    sharp, blurred = (
        dataclasses.replace(QUIET, photons=1e4, blur_px=blur).intensity(plate(5.0, 0.0, 0.0), SEED).numpy()[0, ..., 0]
        for blur in (0.0, 1.0)
    )
    assert blurred.std() < 0.4 * sharp.std()
    assert np.corrcoef(blurred[:, 1:].ravel(), blurred[:, :-1].ravel())[0, 1] > 0.5


def test_grey_values_are_steps_up_to_a_quarter_above_the_open_field():
    physics = dataclasses.replace(QUIET, photons=30.0, bits=8)
    levels = physics.intensity(plate(0.0, 0.0, 0.0), SEED).numpy() * 255 / 1.25
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
    assert levels.min() >= 0 and 254.5 < levels.max() < 255.5


def test_one_seed_one_image_compiled_or_not():
    physics, grams = XRayPhysics(MATERIALS, photons=1e3), phantom()
    first, again, other = (physics.intensity(grams, seed).numpy() for seed in (SEED, SEED, (3, 15)))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    compiled = tf.function(physics.intensity, jit_compile=True, autograph=False)(grams, tf.constant(SEED))
    np.testing.assert_allclose(compiled, first, atol=1.5 * 1.25 / 2**14)


def test_images_of_a_batch_do_not_touch_each_other():
    physics = dataclasses.replace(QUIET, scatter=0.3, scatter_px=10.0, blur_px=1.0)
    batch = physics.intensity(tf.concat([phantom(), plate(3.0, 0.0, 0.0, size=(96, 96))], 0), SEED)
    np.testing.assert_allclose(batch[:1], physics.intensity(phantom(), SEED), rtol=1e-5)


def test_derivatives_agree_with_differences():
    physics = dataclasses.replace(QUIET, scatter=0.3, scatter_px=3.0, blur_px=0.7, photons=1e4)
    grams = tf.cast(phantom(24), tf.float64) + 0.1
    direction = tf.random.stateless_normal(grams.shape, (1, 2), dtype=tf.float64)

    def total(step):
        image = physics.intensity(grams + step * direction, SEED)
        return tf.reduce_sum(log_attenuation(image, 1e-9) ** 2)

    step = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(step)
        with tf.GradientTape() as inner:
            inner.watch(step)
            value = total(step)
        slope = inner.gradient(value, step)
    bend = outer.gradient(slope, step)
    np.testing.assert_allclose(slope, (total(1e-5) - total(-1e-5)) / 2e-5, rtol=1e-6)
    np.testing.assert_allclose(bend, (total(1e-3) - 2 * value + total(-1e-3)) / 1e-6, rtol=1e-4)


def test_derivatives_are_finite_behind_thick_metal_and_pass_through_steps():
    grams = phantom() + [0.0, 0.0, 1.0] * tf.constant([0.0, 2000.0])[:, tf.newaxis, tf.newaxis, tf.newaxis]
    with tf.GradientTape() as tape:
        tape.watch(grams)
        image = XRayPhysics(MATERIALS).intensity(grams, SEED)
    slopes = tape.gradient(image, grams).numpy()
    assert np.isfinite(slopes).all() and np.abs(slopes[0]).max() > 0.01


def test_log_attenuation_undoes_beer_and_lambert():
    np.testing.assert_allclose(log_attenuation(tf.exp([-0.0, -3.0])), [0.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(log_attenuation(tf.constant([0.0, -1.0]), 1e-2), -math.log(1e-2), rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"materials": ("cheese",)},
        {"photons": 0.0},
        {"scatter": -0.1},
        {"scatter_px": 0.0},
        {"blur_px": 3.0},
        {"electronic": -1.0},
        {"bits": 17},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
        XRayPhysics(**settings)


def test_channels_must_be_the_materials():
    with pytest.raises(ValueError, match=r"one channel for each of soft_tissue, bone, iron\. Received"):
        QUIET.intensity(plate(1.0, 1.0), SEED)
