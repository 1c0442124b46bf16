"""Descents against closed forms and Keras's optimisers, in all modes, and what they make of bad numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.geodesic import geodesic_loss
from tfmedcai.inference.pose_descent import descend
from tfmedcai.layers.projector import ProjectiveSpatialTransformer

UNIT = np.array([1.0] * 3 + [150.0] * 3)
START = np.array([[0.3, -0.2, 0.1, 30.0, -20.0, 50.0], [0.0, 0.1, -0.3, 5.0, 10.0, -30.0]])
TARGET = np.array([0.1, 0.05, -0.1, 10.0, 5.0, -10.0])


def bowl(poses):
    """Steeper along some numbers than along others."""
    way = (poses - TARGET) / UNIT
    return tf.reduce_sum(tf.constant([1.0, 2.0, 3.0, 1.0, 0.5, 2.0], poses.dtype) * way**2, axis=-1)


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({"momentum": 0.8}, keras.optimizers.SGD(0.1, momentum=0.8)),
        ({"momentum": 0.0}, keras.optimizers.SGD(0.1)),
        ({"rule": "adam", "rate": 0.02}, keras.optimizers.Adam(0.02, epsilon=1e-8)),
    ],
)
def test_steps_are_those_of_the_optimisers(options, optimizer):
    found = descend(bowl, START, steps=20, plateau=0.0, halve_every=None, **options)
    scaled = keras.Variable(START / UNIT, dtype="float64")
    optimizer.build([scaled])
    for place, cost in zip(found.poses, found.costs, strict=True):
        np.testing.assert_allclose(place / UNIT, scaled, atol=2e-6)
        with tf.GradientTape() as tape:
            expected = bowl(tf.convert_to_tensor(scaled) * UNIT)
        np.testing.assert_allclose(cost, expected, atol=2e-6)
        optimizer.apply([tape.gradient(expected, scaled.value)])
    np.testing.assert_array_equal(found.steps, [20, 20])
    assert found.costs.shape == (21, 2)


def test_the_rate_is_halved():
    slope = np.array([1.0, 0, 0, 0, 0, 0])
    found = descend(lambda poses: tf.reduce_sum(slope * poses, axis=-1), START, momentum=0.0, halve_every=3, steps=7)
    lengths = -np.diff(found.poses[:, 0, 0])
    np.testing.assert_allclose(lengths, 0.1 * np.array([1, 1, 1, 0.5, 0.5, 0.5, 0.25]))


def test_mm_are_counted_in_their_scale():
    few, many = (
        descend(bowl, START, momentum=0.0, steps=1, halve_every=None, scale_mm=scale_mm).poses for scale_mm in (75, 150)
    )
    np.testing.assert_allclose((many[1] - START)[:, :3], (few[1] - START)[:, :3])
    np.testing.assert_allclose((many[1] - START)[:, 3:], 4 * (few[1] - START)[:, 3:])


@pytest.mark.parametrize("options", [{}, {"rule": "adam", "rate": 0.03}])
def test_reaches_the_pose_along_the_geodesic(options):
    target = tf.constant([[0.5, -0.3, 0.2, 20.0, -10.0, 40.0]])
    start = target + np.float32(0.3 * UNIT * np.array([[1, -1, 1, -1, 1, -1], [0.5, 0.5, 0, 0, -1, 0]]))
    cost = lambda poses: geodesic_loss(poses, target, 150.0)  # noqa: E731
    found = tf.function(lambda start: descend(cost, start, plateau=1e-7, **options), autograph=False)(start)
    np.testing.assert_allclose((found.pose - target) / UNIT, 0, atol=5e-3)


def test_each_pose_stops_at_its_own_plateau():
    start = np.concatenate([START, TARGET[np.newaxis]])
    together = descend(bowl, start, plateau=1e-3, steps=100)
    assert together.steps[2] == 9 and np.all(together.steps[:2] > 15) and np.all(together.steps < 100)
    for number, steps in enumerate(together.steps.numpy()):
        alone = descend(bowl, start[[number]], plateau=1e-3, steps=100)
        np.testing.assert_allclose(alone.poses[:, 0], together.poses[:, number], rtol=1e-12)
        np.testing.assert_allclose(alone.costs[:, 0], together.costs[:, number], rtol=1e-12)
        assert alone.steps[0] == steps
        costs, poses = together.costs[:, number].numpy(), together.poses[:, number].numpy()
        np.testing.assert_allclose(bowl(poses), costs)
        windows = [np.std(costs[end - 10 : end]) for end in range(10, steps + 2)]
        assert windows[-1] < 1e-3 and np.all(np.array(windows[:-1]) >= 1e-3)
        assert np.all(costs[steps:] == costs[steps]) and np.all(poses[steps:] == poses[steps])
        assert together.cost[number] == costs.min()
        np.testing.assert_array_equal(together.pose[number], poses[np.argmin(costs)])


def test_a_window_longer_than_the_way_never_ends_it():
    np.testing.assert_array_equal(descend(bowl, START, plateau=1e9, window=10, steps=5).steps, [5, 5])
    np.testing.assert_array_equal(descend(bowl, START, plateau=1e9, window=3, steps=5).steps, [2, 2])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_makes_the_same_steps(jit_compile):
    traced = tf.function(
        lambda start: descend(bowl, start, plateau=1e-3, steps=30), jit_compile=jit_compile, autograph=False
    )
    for found, expected in zip(traced(START), descend(bowl, START, plateau=1e-3, steps=30), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_saved_model_descends_with_any_number_of_poses(tmp_path):
    module = tf.Module()
    module.descend = tf.function(
        lambda start: descend(bowl, start, steps=30)._asdict(),
        input_signature=[tf.TensorSpec((None, 6), tf.float64)],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for start in (START, START[:1]):
        expected = descend(bowl, start, steps=30)
        for name, found in loaded.descend(start).items():
            np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_where_the_cost_is_not_finite_a_pose_goes_back_to_its_best(bad):
    """The first pose would walk through it from above, the second comes from below."""
    hole = lambda poses: (poses[:, 0] > 0.12) & (poses[:, 0] < 0.2)  # noqa: E731
    holed = lambda poses: tf.where(hole(poses), bad * tf.ones_like(poses[:, 0]), bowl(poses))  # noqa: E731
    start = np.stack([START[0], START[0] - [0.6, 0, 0, 0, 0, 0]])
    found = descend(holed, start, momentum=0.0, rate=0.1, steps=40, plateau=0.0, halve_every=8)
    steps = int(found.steps[0])
    assert 0 < steps < 40 and found.steps[1] == 40
    assert found.pose[0, 0] > 0.2
    np.testing.assert_array_equal(found.poses[steps:, 0], np.tile(found.pose[0], (41 - steps, 1)))
    assert np.isfinite(found.poses).all() and np.isfinite(found.costs).all()
    alone = descend(bowl, start[1:], momentum=0.0, rate=0.1, steps=40, plateau=0.0, halve_every=8)
    np.testing.assert_allclose(found.poses[:, 1], alone.poses[:, 0])


def test_a_start_without_a_cost_stays_where_it_is():
    found = descend(lambda poses: poses[:, 0] / 0.0, np.array([[1.0, 0, 0, 0, 0, 0]]), steps=5)
    np.testing.assert_array_equal(found.poses, np.tile([1.0, 0, 0, 0, 0, 0], (6, 1, 1)))
    assert np.isinf(found.cost[0]) and found.steps[0] == 0


def test_a_gradient_that_is_not_finite_ends_the_way():
    """Of sqrt(x) at 0."""
    start = np.array([[0.0] * 6, [4.0] * 6])
    found = descend(lambda poses: tf.sqrt(poses[:, 0]), start, steps=3, rate=1e-3)
    np.testing.assert_array_equal(found.steps, [0, 3])
    np.testing.assert_array_equal(found.cost[0], 0)
    assert np.isfinite(found.poses).all()


def test_the_best_of_the_way_is_returned_though_it_went_on():
    found = descend(bowl, START, rate=0.3, momentum=0.9, halve_every=None, steps=30, plateau=0.0)
    np.testing.assert_array_equal(found.cost, np.min(found.costs, axis=0))
    assert np.any(found.costs[-1] > found.cost)
    np.testing.assert_allclose(bowl(found.pose), found.cost)


def test_registers_images_through_the_projector():
    camera = Camera.from_c_arm(1020.0, 24.0, (12, 12), source_isocentre_mm=800.0)
    project = ProjectiveSpatialTransformer(camera, (14.0, 14.0, 14.0))
    depth, height, width = np.mgrid[-1:1:12j, -1:1:12j, -1:1:12j]
    volume = np.zeros((12, 12, 12), np.float32)
    for z, y, x, size in ((0.2, 0.3, -0.5, 0.3), (-0.4, -0.5, 0.1, 0.3), (0.1, 0.4, 0.6, 0.2)):
        volume += np.exp(-((depth - z) ** 2 + (height - y) ** 2 + (width - x) ** 2) / (2 * size**2)) * 0.01
    target = np.float32(TARGET[np.newaxis])

    @tf.function(autograph=False)
    def register(start):
        images = lambda poses: project([volume[np.newaxis, ..., np.newaxis], poses[tf.newaxis]])[0]  # noqa: E731
        fixed = images(tf.constant(target))
        cost = lambda poses: tf.reduce_mean((images(poses) - fixed) ** 2, axis=(1, 2, 3)) / 0.1  # noqa: E731
        return descend(cost, start, rule="adam", rate=0.03, steps=50, plateau=1e-5)

    start = target + np.float32([[0.1, -0.1, 0.1, 10.0, -10.0, 30.0], [-0.1, 0.0, 0.1, 0.0, 15.0, -30.0]])
    found = register(start)
    before, after = (np.linalg.norm((poses - target) / UNIT, axis=-1) for poses in (start, found.pose))
    assert np.all(after < before / 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"start": np.zeros(6)}, r"`start` must have shape \(n, 6\).* Received \(6,\)"),
        ({"rule": "newton"}, "`rule` must be momentum or adam. Received newton"),
        ({"rate": 0.0}, "`rate` must be above 0. Received 0.0"),
        ({"momentum": 1.0}, "`momentum` must be from 0 to below 1"),
        ({"halve_every": 0}, "`halve_every` must be 1 or more, or None"),
        ({"steps": 0}, "`steps` must be 1 or more"),
        ({"plateau": -1.0}, "`plateau` must be 0 or more"),
        ({"window": 1}, "`window` must be 2 or more"),
        ({"scale_mm": np.nan}, "`scale_mm` must be above 0 mm"),
        ({"cost": lambda poses: tf.stop_gradient(poses[:, 0])}, "with a gradient by the pose. Received none"),
        ({"cost": tf.reduce_sum}, r"one number a pose.* Received shape \(\) for poses of shape \(2, 6\)"),
    ],
)
def test_says_what_is_wrong(changed, message):
    with pytest.raises(ValueError, match=message):
        descend(**{"cost": bowl, "start": START} | changed)
