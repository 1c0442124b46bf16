"""Tests of the iterative refinement, with networks that know the truth."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.crop import PatchGeometry, crop, disturb, normalise, patch_frame, sample_disturbance
from tfmedcai.geometry.landmarks import project_landmarks
from tfmedcai.inference.iterative_pose import refine, start_pose

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (4, 300, 400)).astype(np.uint8)
TRUE = RNG.uniform([100, 100, -3.1, 0.05, 0.1], [300, 200, 3.1, 1.2, 0.2], (4, 5)).astype(np.float32)


def rough_poses(seed=(0, 0)):
    return start_pose(disturb(TRUE, *sample_disturbance(seed, 4))[:, :2], TRUE[:, 2] + [0.3, -0.4, 0.0, 1.0])


class Oracle:
    """A network that gives the perfect landmarks of one pose after the other, and keeps the patches it saw."""

    def __init__(self, rough, answers, geometry):
        self.rough, self.answers, self.geometry, self.patches = rough, list(answers), geometry, []

    def __call__(self, patches):
        self.patches.append(patches)
        frame = patch_frame(self.rough, self.geometry)
        self.rough = self.answers.pop(0)
        return normalise(frame.to_patch(project_landmarks(self.rough, self.geometry.landmarks_mm)), self.geometry)


@pytest.mark.parametrize("instrument", ["screw", "guide_wire"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_iteration_with_perfect_landmarks_recovers_the_pose(instrument, dtype):
    geometry = PatchGeometry(instrument)
    oracle = Oracle(rough_poses(), [TRUE], geometry)
    pose, landmarks = refine(oracle, IMAGES.astype(dtype), rough_poses(), geometry, iterations=1)
    np.testing.assert_allclose(pose[:, :2], TRUE[:, :2], atol=1e-3)
    np.testing.assert_allclose(pose[:, 2:], TRUE[:, 2:], atol=1e-3)
    np.testing.assert_allclose(landmarks, project_landmarks(TRUE, geometry.landmarks_mm), atol=1e-3)


def test_each_estimate_is_the_rough_pose_of_the_next_iteration():
    geometry = PatchGeometry("screw")
    estimate = disturb(TRUE, *sample_disturbance((5, 6), 4))
    oracle = Oracle(rough_poses(), [estimate, TRUE], geometry)
    pose, _ = refine(oracle, IMAGES, rough_poses(), geometry, iterations=2)
    np.testing.assert_allclose(pose, TRUE, atol=1e-3)
    np.testing.assert_allclose(oracle.patches[0], crop(IMAGES, rough_poses(), geometry)[0], atol=1e-5)
    np.testing.assert_allclose(oracle.patches[1], crop(IMAGES, estimate, geometry)[0], atol=5e-3)


def test_the_start_does_not_know_tilt_and_resolution():
    start = start_pose(np.array([[10.0, 20.0]]), np.array([0.5])).numpy()
    np.testing.assert_allclose(start, [[10, 20, 0.5, 0, 0.15]])
    assert start_pose([[10.0, 20.0]], [0.5], resolution=0.2).numpy()[0, 4] == pytest.approx(0.2)


def test_one_image_serves_many_poses():
    geometry = PatchGeometry("screw")
    oracle = Oracle(rough_poses(), [TRUE], geometry)
    refine(oracle, IMAGES[:1], rough_poses(), geometry, iterations=1)
    np.testing.assert_allclose(oracle.patches[0][0], crop(IMAGES[:1], rough_poses()[:1], geometry)[0][0], atol=1e-6)


def test_a_saved_model_refines_images_of_any_size_and_number(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, strides=4), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(12)]
    network = keras.Sequential([keras.Input((48, 92, 1)), *layers])
    geometry = PatchGeometry("screw")
    module = tf.Module()
    module.network = network
    module.refine = tf.function(
        lambda images, poses: refine(network, images, poses, geometry, iterations=2),
        input_signature=[tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((None, 5), tf.float32)],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for images, poses in [(IMAGES, rough_poses()), (IMAGES[:1, :250, :260], rough_poses()[:1])]:
        expected = refine(network, images, poses, geometry, iterations=2)
        for actual, value in zip(loaded.refine(images, poses), expected, strict=True):
            assert np.isfinite(actual).all()
            np.testing.assert_allclose(actual, value, rtol=1e-3, atol=1e-2)


def test_refuses_no_iterations():
    with pytest.raises(ValueError, match="Received 0"):
        refine(lambda patches: patches, IMAGES, rough_poses(), PatchGeometry(), iterations=0)
