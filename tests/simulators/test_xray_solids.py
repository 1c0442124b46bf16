import numpy as np
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.pose import transform
from tfmedcai.simulators.xray_solids import (
    Rays,
    chord,
    convex,
    ellipsoid_chords,
    ellipsoid_coefficients,
    paste,
    sampled_chord,
)

DEPTH, STEP = 700.0, 1e-4
PLACE = np.array([12.0, -20.0, DEPTH])


def turn(angle, lean):
    spin = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
    return spin @ tilt


def rays(rotation, width=41, height=31):
    x = PLACE[0] / DEPTH + STEP * (np.arange(width) - width // 2)
    y = PLACE[1] / DEPTH + STEP * (np.arange(height) - height // 2)
    return Rays(*(tf.constant(values, tf.float32) for values in (x, y[:, np.newaxis], rotation, PLACE)))


def test_rays_of_a_camera_go_through_its_pixels():
    camera, pose = Camera.from_c_arm(1000.0, 0.5, (20, 30)), tf.constant([0.2, -0.1, 0.4, 5.0, 3.0, 600.0])
    bundle = Rays.from_camera(camera, pose)
    np.testing.assert_allclose(bundle.slopes_x + 0 * bundle.slopes_y, camera.rays()[..., 0], atol=1e-7)
    np.testing.assert_allclose(bundle.slopes_y + 0 * bundle.slopes_x, camera.rays()[..., 1], atol=1e-7)
    point = np.array([1.0, 2.0, -3.0], np.float32)
    moved = transform(pose[tf.newaxis], point[np.newaxis])[0, 0]
    np.testing.assert_allclose(tf.linalg.matvec(bundle.rotation, point) + bundle.translation, moved, rtol=1e-6)
    part = Rays.from_camera(camera, pose, [tf.range(3.0, 9.0), tf.range(2.0, 5.0)])
    np.testing.assert_array_equal(part.slopes_x, bundle.slopes_x[3:9])
    np.testing.assert_array_equal(part.slopes_y, bundle.slopes_y[2:5])


def marched(bundle, inside, reach=5.0, steps=1501):
    """Path lengths in mm of depth, by brute force in double precision."""
    slopes = np.stack(np.meshgrid(bundle.slopes_x.numpy(), bundle.slopes_y.numpy()[:, 0]), axis=-1).astype(float)
    depths = DEPTH + np.linspace(-reach, reach, steps)
    total = np.zeros(slopes.shape[:2])
    for depth in depths:
        camera = np.concatenate([slopes * depth, np.full_like(slopes[..., :1], depth)], axis=-1) - PLACE
        total += inside(camera @ bundle.rotation.numpy().astype(float))
    return total * (2 * reach / (steps - 1))


def test_a_cut_cylinder_agrees_with_marching_along_the_rays():
    bundle = rays(turn(0.7, 0.4))
    faces = np.array([[1, 0, 0, 1.2], [-1, 0, 0, 0.5], [0.6, 0.8, 0, 0.9]], np.float32)
    lengths = chord(convex(bundle, tf.constant([0.8, 0.1, -0.2]), tf.constant(faces))).numpy()

    def inside(p):
        return ((p[..., 1] - 0.1) ** 2 + (p[..., 2] + 0.2) ** 2 < 0.64) & np.all(p @ faces[:, :3].T < faces[:, 3], -1)

    np.testing.assert_allclose(lengths, marched(bundle, inside), atol=0.02)
    assert lengths.max() > 1.0


def test_ellipsoids_agree_with_marching_along_the_rays():
    bundle = rays(np.eye(3))
    frame, axes = turn(0.3, -0.5), np.array([2.5, 0.8, 1.5])
    shape, centre = frame.T / axes[:, np.newaxis], PLACE + np.array([0.3, -0.2, 1.0])
    coefficients = tf.constant(ellipsoid_coefficients(shape[np.newaxis], centre[np.newaxis]))
    lengths = ellipsoid_chords(bundle.slopes_x, bundle.slopes_y, coefficients)[0].numpy()

    def inside(p):
        return np.sum(((p - (centre - PLACE)) @ shape.T) ** 2, -1) < 1

    np.testing.assert_allclose(lengths, marched(bundle, inside), atol=0.02)
    assert lengths.max() > 1.5


def test_sampling_agrees_with_the_closed_form():
    bundle = rays(turn(-0.4, 0.6))
    faces = tf.constant([[1.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 0.0, 1.0]])
    around = convex(bundle, tf.constant([1.0, 0.0, 0.0]), faces)
    sampled = sampled_chord(around, bundle, lambda x, y, z: tf.cast(y * y + z * z < 0.36, tf.float32), samples=200)
    exact = chord(convex(bundle, tf.constant([0.6, 0.0, 0.0]), faces))
    np.testing.assert_allclose(sampled, exact, atol=0.03)


def test_a_face_seen_edge_on_is_spread_over_about_a_pixel_and_stays_in_place():
    bundle = rays(np.eye(3))
    lengths = chord(convex(bundle, tf.constant([1.0, 0.0, 0.0]), tf.constant([[1.0, 0.0, 0.0, 0.0]])))[15].numpy()
    edge = np.sum(lengths) / lengths[0] - 0.5
    assert abs(edge - 20) < 0.1
    assert np.sum((lengths > 0.02 * lengths[0]) & (lengths < 0.98 * lengths[0])) <= 2


def test_a_window_put_back_equals_that_part_of_the_whole():
    bundle, wire = rays(turn(0.2, 0.1)), (tf.constant([0.5, 0.0, 0.0]), tf.zeros((0, 4)))
    part, corner = bundle.window(tf.constant([1.4, 0.0, 0.0]), 15)
    whole = chord(convex(bundle, *wire)).numpy()
    mask = paste(tf.ones((15, 15)), corner, (31, 41)).numpy() > 0
    np.testing.assert_allclose(paste(chord(convex(part, *wire)), corner, (31, 41)), np.where(mask, whole, 0), atol=1e-4)
    assert mask.sum() == 225


def test_a_window_outside_or_larger_than_the_image_is_shifted_into_it():
    bundle = rays(np.eye(3))
    assert bundle.window(tf.constant([500.0, -500.0, 0.0]), 15)[1].numpy().tolist() == [0, 26]
    part, corner = bundle.window(tf.constant([0.0, 0.0, 0.0]), 100)
    assert corner.numpy().tolist() == [0, 0] and (part.slopes_x.shape[0], part.slopes_y.shape[0]) == (41, 31)
