"""Tests of patches: the published geometry, their pixels, and the errors of rough poses."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfmedcai.geometry.crop import (
    PatchGeometry,
    crop,
    disturb,
    inside_image,
    normalise,
    patch_frame,
    sample_disturbance,
    unnormalise,
)
from tfmedcai.geometry.landmarks import LANDMARKS_MM, project_landmarks

GOLDEN = json.loads((Path(__file__).parent / "golden_i3posnet.json").read_text())
SCREW = PatchGeometry("screw")
IMAGE = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(600, 700)), 2.0)


def read(case):
    """Image pose, rotation and displacement of a golden case; the published angles run clockwise."""
    state = case["state"]
    angle, tilt = -np.radians(state["angle"]), np.radians(state["tilt"])
    image_pose = np.array([[state["x"], state["y"], angle, tilt, state["resolution"]]])
    return image_pose, np.radians([case["extra_rotation"]]), np.array([case["displacement_mm"]])


def published_patch(case, order):
    """Window, rotation and cut, one after the other."""
    (left, top), (x, y) = case["large"], case["final_left_top"]
    window = IMAGE[top : top + 180, left : left + 180]
    turned = ndimage.rotate(window, case["state"]["angle"] + case["extra_rotation"], reshape=False, order=order)
    patch = turned[y : y + 48, x : x + 92]
    return (patch - patch.min()) / np.ptp(patch)


def test_boxes_are_those_published():
    np.testing.assert_allclose(SCREW.boxes, GOLDEN["boxes"], atol=1e-5)


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_landmarks_and_targets_are_those_published(case):
    image_pose, rotation, displacement_mm = read(case)
    frame = patch_frame(image_pose, SCREW, rotation, displacement_mm)
    points = frame.to_patch(project_landmarks(image_pose, SCREW.landmarks_mm))
    np.testing.assert_allclose(points[0], case["targets_px"], atol=1e-4)
    np.testing.assert_allclose(normalise(points, SCREW)[0], np.ravel(case["targets_normalized"]), atol=1e-5)
    corner = frame.to_patch([[np.add(case["large"], 89.5)]])[0, 0]
    np.testing.assert_allclose(89.5 - corner, case["final_left_top"], atol=1e-4)


@pytest.mark.parametrize("case", GOLDEN["cases"])
@pytest.mark.parametrize(("interpolation", "order", "tolerance"), [("linear", 1, 1e-5), ("cubic", 3, 5e-3)])
def test_pixels_are_those_of_window_rotation_and_cut(case, interpolation, order, tolerance):
    geometry = PatchGeometry("screw", interpolation=interpolation)
    image_pose, rotation, displacement_mm = read(case)
    patches, _ = crop(IMAGE[np.newaxis], image_pose, geometry, rotation, displacement_mm)
    assert patches.shape == (1, 48, 92, 1)
    np.testing.assert_allclose(patches[0, :, :, 0], published_patch(case, order), atol=tolerance)


@pytest.mark.parametrize("instrument", sorted(LANDMARKS_MM))
def test_the_patch_shows_what_the_frame_says(instrument):
    geometry = PatchGeometry(instrument)
    poses = np.array([[200.3, 150.8, angle, 0.4, 0.15] for angle in (-2.5, -1.0, 0.0, 0.7, 2.0)])
    corners = np.array([[0, 0], [30, 10], [80, 44], [11, 37]])
    frame = patch_frame(poses, geometry)
    y, x = np.mgrid[:300, :400]
    for pose, dots in zip(poses, frame.to_image(corners[np.newaxis]).numpy(), strict=True):
        image = sum(np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / 4) for dot in dots)
        patch = crop(image[np.newaxis], pose[np.newaxis], geometry)[0].numpy()[0, :, :, 0]
        for column, row in corners:
            assert patch[row, column] > 0.96


@pytest.mark.parametrize(("instrument", "offset"), [("screw", -10), ("guide_wire", 10)])
def test_the_origin_lies_off_the_middle_by_less_than_a_pixel_from_where_it_should(instrument, offset):
    geometry = PatchGeometry(instrument)
    poses = np.random.default_rng(0).uniform([100, 100, -3, 0, 0.1], [300, 300, 3, 1, 0.2], (200, 5))
    points = patch_frame(poses, geometry).to_patch(poses[:, np.newaxis, :2]).numpy()[:, 0]
    assert np.abs(points - [45.5 + offset, 23.5]).max() <= 0.5 + 1e-3


def test_frames_map_there_and_back():
    poses = np.random.default_rng(0).uniform([0, 0, -3, 0, 0.1], [511, 511, 3, 1, 0.2], (20, 5))
    frame = patch_frame(poses, SCREW)
    points = np.random.default_rng(1).uniform(0, 90, (20, 6, 2))
    np.testing.assert_allclose(frame.to_patch(frame.to_image(points)), points, atol=2e-4)
    in_patch = np.concatenate([points[:, 0], np.zeros((20, 1)), poses[:, 3:]], axis=1)
    in_image = frame.pose_to_image(in_patch).numpy()
    np.testing.assert_allclose(in_image[:, :2], frame.to_image(points)[:, 0], atol=1e-4)
    np.testing.assert_allclose(in_image[:, 2:], poses[:, 2:], atol=1e-5)


def test_angles_come_back_within_half_a_turn():
    frame = patch_frame([[100.0, 100.0, 3.0, 0.0, 0.15]], SCREW)
    pose = frame.pose_to_image(tf.constant([[40.0, 20.0, 1.0, 0.0, 0.15]])).numpy()
    assert pose[0, 2] == pytest.approx(4.0 - 2 * np.pi, abs=1e-5)


def test_patches_are_scaled_each_and_a_constant_one_is_zero():
    images = np.stack([IMAGE * 1000, np.full_like(IMAGE, 3.0)])
    patches = crop(images, np.array([[350.0, 300.0, 0.3, 0.0, 0.15]] * 2), SCREW)[0].numpy()
    assert (patches[0].min(), patches[0].max()) == (0, 1)
    assert (patches[1] == 0).all()


def test_a_pose_at_the_border_gives_a_patch_that_repeats_the_border():
    image = np.tile(np.arange(200.0), (150, 1))
    patch = crop(image[np.newaxis], np.array([[199.0, 75.0, 0.0, 0.0, 0.15]]), SCREW)[0].numpy()[0, :, :, 0]
    assert (patch[:, 36:] == 1).all()
    assert (np.diff(patch[:, :36], axis=1) > 0).all()


def test_traces_with_unknown_sizes_and_one_image_for_many_poses():
    signature = [tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((None, 5), tf.float32)]
    traced = tf.function(lambda images, poses: crop(images, poses, SCREW), input_signature=signature, autograph=False)
    image = np.uint8(255 * (IMAGE - IMAGE.min()) / np.ptp(IMAGE))
    poses = np.float32([[350, 300, 0.3, 0, 0.15], [200, 250, -2, 0, 0.15]])
    patches, frame = traced(image[np.newaxis], poses)
    expected, _ = crop(np.stack([image, image]).astype(np.float32), poses, SCREW)
    np.testing.assert_allclose(patches, expected, atol=1e-5)
    assert frame.to_image(tf.zeros((2, 1, 2))).shape == (2, 1, 2)


def test_normalise_and_back():
    points = np.random.default_rng(0).uniform(0, 90, (3, 6, 2))
    outputs = normalise(points, SCREW)
    assert outputs.shape == (3, 12)
    np.testing.assert_allclose(unnormalise(outputs, SCREW), points, atol=1e-4)


def test_says_which_origins_lie_in_the_image():
    poses = [[x, y, 0.0, 0.0, 0.15] for x, y in [(-0.4, 5), (-0.6, 5), (19.4, 9.4), (19.6, 5), (5, 9.6), (np.nan, 5)]]
    expected = [True, False, True, False, False, False]
    assert inside_image(poses, (10, 20)).numpy().tolist() == expected
    assert inside_image(poses, tf.constant([10, 20])).numpy().tolist() == expected


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_a_disturbed_pose_has_the_patch_of_the_published_augmentation_within_a_pixel(case):
    image_pose, rotation, displacement_mm = read(case)
    rough = disturb(image_pose, rotation, displacement_mm)
    published = patch_frame(image_pose, SCREW, rotation, displacement_mm)
    ours = patch_frame(rough, SCREW)
    assert ours.angle.numpy() == pytest.approx(published.angle.numpy(), abs=1e-6)
    origin = image_pose[:, np.newaxis, :2]
    assert np.abs(ours.to_patch(origin) - published.to_patch(origin)).max() <= 1
    distance_mm = np.linalg.norm(rough[:, :2] - image_pose[:, :2]) * image_pose[0, 4]
    assert distance_mm == pytest.approx(np.linalg.norm(displacement_mm), abs=1e-4)


def test_disturbances_follow_the_published_distributions():
    rotation, displacement_mm = sample_disturbance((3, 4), 20000)
    assert np.degrees(np.std(rotation)) == pytest.approx(10, abs=0.2)
    assert np.degrees(np.abs(rotation).max()) == pytest.approx(30, abs=1e-3)
    radius = np.linalg.norm(displacement_mm, axis=1)
    np.testing.assert_allclose(np.percentile(radius, [25, 50, 75, 100]), [0.625, 1.25, 1.875, 2.5], atol=0.03)
    np.testing.assert_allclose(np.mean(displacement_mm, axis=0), 0, atol=0.03)
    unclipped, _ = sample_disturbance((3, 4), 20000, clip_std=None)
    assert np.degrees(np.abs(unclipped).max()) > 31


def test_disturbances_repeat_with_their_seed():
    first, again, other = (sample_disturbance(seed, 5) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first[1], again[1])
    assert np.abs(first[0] - other[0]).min() > 0


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"guide_wire.*'hammer'"):
        PatchGeometry("hammer")
    with pytest.raises(ValueError, match="must be even"):
        PatchGeometry(height=47)
    with pytest.raises(ValueError, match="min_resolution"):
        PatchGeometry(min_resolution=0.0)
    with pytest.raises(ValueError, match="interpolation"):
        PatchGeometry(interpolation="sinc")
    with pytest.raises(ValueError, match=r"\(batch, 5\).*\(1, 3\)"):
        crop(IMAGE[np.newaxis], np.zeros((1, 3)), SCREW)
