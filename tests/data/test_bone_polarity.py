"""Bone is told as bright or dark, whatever the curve of grey values, and honestly not always."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.data.anatomy import read_anatomy
from tfmedcai.data.bone_polarity import bone_brightness
from tfmedcai.data.images import read_image
from tfmedcai.geometry.camera import Camera
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.simulators.materials import tissues_from_hu
from tfmedcai.simulators.xray_physics import XRayPhysics


def limb(size=192):
    """g/cm^2 of soft tissue and bone: two tubes of cortical bone, aslant, in a cylinder of flesh."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    flesh = 24 * np.sqrt(np.maximum(0.16 - (x - 0.1 * y) ** 2, 0))
    bone = np.zeros_like(x)
    for shift in (-0.15, 0.12):
        across = np.abs(x - shift - 0.3 * y)
        for radius, sign in ((0.08, 1), (0.065, -1)):
            bone += sign * 40 * np.sqrt(np.maximum(radius**2 - across**2, 0))
    return np.stack([flesh, bone], axis=-1)[np.newaxis].astype(np.float32)


@pytest.fixture(scope="module")
def raw():
    physics = XRayPhysics(materials=("soft_tissue", "bone"), photons=1e4)
    return physics.intensity(limb(), seed=(0, 3)).numpy()[0, ..., 0]


CURVES = [
    lambda raw: raw,
    lambda raw: np.log(np.maximum(raw, 1e-4)),
    np.sqrt,
    lambda raw: np.round(255 * np.clip(raw / 0.5, 0, 1)),
]


@pytest.mark.parametrize("curve", CURVES)
def test_only_the_order_of_grey_values_counts(raw, curve):
    dark = curve(raw).astype(np.float32)
    assert bone_brightness(dark) < -0.1
    assert bone_brightness(-dark) == pytest.approx(-bone_brightness(dark), rel=1e-3)


def test_neither_collimator_nor_what_is_masked_counts(raw):
    alone = bone_brightness(raw)
    y, x = np.mgrid[:192, :192] - 95.5
    inside = np.hypot(x, y) < 90
    assert bone_brightness(np.where(inside, raw, 0)) == pytest.approx(alone, rel=0.5)
    wires = raw.copy()
    wires[::12, :60] = 2.0  # bright ridges
    assert bone_brightness(wires) > 0
    inside[:, :64] = False
    assert bone_brightness(wires, inside) < -0.1


def test_images_of_any_size():
    for shape in ((1, 1), (3, 500), (700, 20)):
        assert np.isfinite(bone_brightness(np.random.default_rng(0).normal(size=shape)))
    assert bone_brightness(np.zeros((40, 40))) == 0


def test_real_fluoroscopy(real_data):
    frames = sorted(real_data("xray/hip_dhs_fluoroscopy").glob("*.png"))
    found = [bone_brightness(read_image(path)) for path in frames]
    assert len(found) == 20 and max(found) < 0
    assert np.median(found) < -0.3


def test_simulated_radiographs_of_a_real_patient(real_data):
    anatomy = read_anatomy(real_data("ct/patientA/ct.nii.gz"))
    camera = Camera.from_c_arm(1020.0, 1.2, (256, 256), source_isocentre_mm=800.0)
    project = ProjectiveSpatialTransformer(camera, anatomy.spacing_mm, differentiable=False)
    grams = project([tissues_from_hu(anatomy.hu)[tf.newaxis] / 10, tf.zeros((1, 6))])
    raw = XRayPhysics().intensity(grams, seed=(0, 1)).numpy()[0, ..., 0]
    assert bone_brightness(raw) < 0 < bone_brightness(-np.log(raw))
