"""Tests of poses in space and their image poses."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.landmarks import LANDMARKS_MM, pose_from_landmarks
from tfmedcai.geometry.pose import image_pose_from_pose, pose_from_image_pose, rotation_matrix, transform

CAMERA = Camera.from_c_arm()
image_poses = st.tuples(
    st.floats(0, 511), st.floats(0, 511), st.floats(-3.1, 3.1), st.floats(-1.3, 1.3), st.floats(0.1, 0.2)
)
poses = st.tuples(*[st.floats(-3, 3)] * 3, st.floats(-30, 30), st.floats(-30, 30), st.floats(400, 800))


def wrapped(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi


@settings(max_examples=12, deadline=None)
@given(st.lists(image_poses, min_size=1), st.floats(-3, 3))
def test_image_pose_survives_the_way_through_space(image_pose, roll):
    image_pose = np.array(image_pose)
    back = image_pose_from_pose(pose_from_image_pose(image_pose, CAMERA, roll), CAMERA).numpy()
    np.testing.assert_allclose(wrapped(back - image_pose), 0, atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(st.lists(poses, min_size=1))
def test_axis_and_origin_survive_the_way_through_the_image(pose):
    pose = np.array(pose)
    image_pose = image_pose_from_pose(pose, CAMERA).numpy()
    pose = pose[np.abs(image_pose[:, 3]) < 1.3]
    back = pose_from_image_pose(image_pose_from_pose(pose, CAMERA), CAMERA)
    np.testing.assert_allclose(transform(back, [[5.0, 0.0, 0.0]]), transform(pose, [[5.0, 0.0, 0.0]]), atol=1e-6)


def test_rotation_matrix_is_that_of_the_rotation_vector():
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(rotation_matrix(np.pad(vectors, [(0, 0), (0, 3)])), expected, atol=1e-12)


def test_roll_turns_about_the_forward_axis_and_at_zero_the_y_axis_lies_in_the_image_plane():
    image_pose = np.array([[100.0, 300.0, 0.7, 0.6, 0.15]])
    flat, rolled = (rotation_matrix(pose_from_image_pose(image_pose, CAMERA, roll)).numpy()[0] for roll in (0.0, 0.4))
    assert flat[2, 1] == pytest.approx(0, abs=1e-9)
    about_x = Rotation.from_rotvec([0.4, 0, 0]).as_matrix()
    np.testing.assert_allclose(rolled, flat @ about_x, atol=1e-9)


def test_angle_is_the_direction_in_which_the_projected_axis_leaves_the_origin():
    pose = np.array([[0.3, -0.8, 1.9, 25.0, -18.0, 550.0]])
    start, end = CAMERA.project(transform(pose, [[0.0, 0.0, 0.0], [1e-4, 0.0, 0.0]])).numpy()[0]
    image_pose = image_pose_from_pose(pose, CAMERA).numpy()[0]
    assert image_pose[2] == pytest.approx(np.arctan2(start[1] - end[1], end[0] - start[0]), abs=1e-5)
    np.testing.assert_allclose(image_pose[:2], start)
    assert image_pose[4] == pytest.approx(550 * 0.25 / 1000)


def test_counter_clockwise_on_the_screen_is_positive():
    # A turn by a positive angle about +z takes +x to +y, which points down.
    image_pose = image_pose_from_pose(np.array([[0.0, 0.0, 0.5, 0.0, 0.0, 600.0]]), CAMERA).numpy()[0]
    assert image_pose[2] == pytest.approx(-0.5)
    towards_detector = image_pose_from_pose(np.array([[0.0, -0.5, 0.0, 0.0, 0.0, 600.0]]), CAMERA).numpy()[0]
    assert towards_detector[3] == pytest.approx(0.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_virtual_landmarks_on_the_instrument_give_its_image_pose_at_the_image_centre(sign):
    image_pose = np.array([[255.5, 255.5, 0.4, sign * 0.5, 0.15]])
    points = np.pad(LANDMARKS_MM["screw"], [(0, 0), (0, 1)])
    projected = CAMERA.project(transform(pose_from_image_pose(image_pose, CAMERA), points))
    # 3 mm of depth in 600 make half a per cent of perspective.
    recovered = pose_from_landmarks(projected, LANDMARKS_MM["screw"]).numpy()[0]
    np.testing.assert_allclose(recovered, [255.5, 255.5, 0.4, 0.5, 0.15], rtol=5e-3)


@pytest.mark.parametrize("angle", [0.0, 1.0, np.pi])
@pytest.mark.parametrize("tilt", [0.0, np.pi / 2, -np.pi / 2])
def test_nothing_is_undefined_without_rotation_or_along_the_ray(angle, tilt):
    image_pose = tf.constant([[255.5, 255.5, angle, tilt, 0.15]], tf.float32)
    pose = pose_from_image_pose(image_pose, CAMERA)
    back = image_pose_from_pose(pose, CAMERA).numpy()[0]
    assert np.isfinite(pose).all() and np.isfinite(back).all()
    assert back[3] == pytest.approx(tilt, abs=2e-3)
    assert np.abs(rotation_matrix(tf.zeros((1, 6))).numpy() - np.eye(3)).max() == 0


def test_traces_with_an_unknown_batch():
    signature = [tf.TensorSpec((None, 5), tf.float32)]
    there_and_back = tf.function(
        lambda image_pose: image_pose_from_pose(pose_from_image_pose(image_pose, CAMERA), CAMERA),
        input_signature=signature,
        autograph=False,
    )
    image_pose = np.tile(np.float32([[100.0, 200.0, 0.3, -0.2, 0.15]]), (3, 1))
    np.testing.assert_allclose(there_and_back(image_pose), image_pose, rtol=1e-4)


def test_transform_takes_points_for_all_or_for_each():
    pose = np.random.default_rng(0).normal(size=(2, 6))
    points = np.random.default_rng(1).normal(size=(4, 3))
    expected = [Rotation.from_rotvec(p[:3]).apply(points) + p[3:] for p in pose]
    np.testing.assert_allclose(transform(pose, points), expected, atol=1e-12)
    np.testing.assert_allclose(transform(pose, np.stack([points, points])), expected, atol=1e-12)


def test_points_have_a_derivative_in_the_pose_without_rotation():
    pose, point = tf.zeros((1, 6)), [3.0, 4.0, 5.0]
    with tf.GradientTape() as tape:
        tape.watch(pose)
        moved = transform(pose, [point])[:, 0]
    # A small turn about an axis moves a point along its cross product with the axis.
    expected = np.concatenate([np.cross(np.eye(3), point).T, np.eye(3)], axis=1)
    np.testing.assert_allclose(tape.batch_jacobian(moved, pose)[0], expected, atol=1e-6)
