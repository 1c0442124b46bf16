"""Searches find what is known, the same with the same seed, in the frame of the C-arm, and bear costs of NaN."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.geodesic import geodesic_loss
from tfmedcai.geometry.rigid import compose, inverse
from tfmedcai.inference.pose_evolution import evolve, polish
from tfmedcai.layers.projector import ProjectiveSpatialTransformer

SCALE_MM = 100.0
SPREAD = np.array([0.2, 0.2, 0.2, 20.0, 20.0, 40.0])
START = np.array([0.5, -1.2, 0.4, 10.0, 20.0, -30.0])
TARGET = compose(START, np.array([0.15, -0.1, 0.2, 12.0, -15.0, 30.0])).numpy()
REACH = np.array([0.3, 0.3, 0.3, 30.0, 30.0, 50.0])


def in_a_graph(cost):
    """For any number of poses; they are small operations, which take long one by one."""
    traced = tf.function(cost, input_signature=[tf.TensorSpec((None, 6), tf.float64)], autograph=False)
    return lambda poses: traced(np.reshape(poses, (-1, 6)).astype(np.float64))


@in_a_graph
def distance(poses):
    return tf.sqrt(geodesic_loss(poses, TARGET, SCALE_MM))


@in_a_graph
def rippled(poses):
    """Has many minima beside that at the target."""
    steps = compose(inverse(TARGET), poses) / SPREAD
    return tf.reduce_sum(steps**2 + 0.3 * (1 - tf.cos(15 * steps)), axis=-1)


class Recorded:
    """A cost that keeps the poses it was called with."""

    def __init__(self, cost):
        self.cost, self.batches = cost, []

    def __call__(self, poses):
        self.batches.append(poses.numpy())
        return self.cost(poses)


@pytest.mark.parametrize("cost", [distance, rippled], ids=["distance", "rippled"])
@pytest.mark.parametrize("answer", ["mean", "best"])
def test_an_evolution_finds_the_target(cost, answer):
    found = evolve(cost, START, spread=SPREAD, population=60, tolerance=1e-3, penalty=0.0, answer=answer)
    assert distance(found.pose) < 0.02
    assert found.cost == pytest.approx(float(cost(found.pose)[0]), abs=1e-5)
    assert found.poses.shape == (len(found.costs), 6)
    assert found.evaluations == 60 * (len(found.costs) + 1)
    if answer == "mean":
        np.testing.assert_array_equal(found.poses[-1], found.pose)


def test_generations_are_drawn_around_the_start_in_the_frame_of_the_c_arm():
    recorded = Recorded(distance)
    found = evolve(recorded, START, spread=SPREAD, population=2000, generations=1, penalty=0.0)
    (first, last), (mean,) = recorded.batches, found.poses
    steps = compose(inverse(START), first.astype(np.float64)).numpy()
    np.testing.assert_allclose(steps.std(axis=0), SPREAD, rtol=0.06)
    np.testing.assert_allclose(steps.mean(axis=0) / SPREAD, 0, atol=0.1)
    np.testing.assert_allclose(last, np.tile(np.float32(mean), (2000, 1)))
    assert found.costs[0] == np.min(distance(first))


def test_the_seed_alone_decides():
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    first, again, other = (
        evolve(distance, START, spread=SPREAD, population=20, generations=5, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.testing.assert_array_equal(first.poses, again.poses)
    assert np.abs(first.poses - other.poses).max() > 1e-3


def test_the_penalty_holds_the_answer_near_the_start():
    """Of a cost (x - a)^2 and a penalty x^2 / (2 s^2) the minimum is known."""
    away, spread = np.array([0.0, 0.0, 0.0, 30.0, 0.0, 0.0]), np.array([0.2, 0.2, 0.2, 25.0, 25.0, 50.0])
    bowl = lambda poses: tf.reduce_sum(((poses - away) / SPREAD) ** 2, axis=-1)  # noqa: E731
    found = evolve(bowl, np.zeros(6), spread=SPREAD, tolerance=1e-4, penalty=0.5, penalty_spread=spread)
    expected = 30.0 * (0.5 / 20**2) / (0.5 / 20**2 + 0.25 / 25**2)
    np.testing.assert_allclose(found.pose, [0, 0, 0, expected, 0, 0], atol=0.2)
    # Costs are the caller's.
    assert found.cost == pytest.approx(((expected - 30) / 20) ** 2, rel=0.05)
    assert found.costs[-1] == pytest.approx(found.cost, rel=0.05)
    np.testing.assert_allclose(evolve(bowl, np.zeros(6), spread=SPREAD, penalty=0.0).pose[3], 30, atol=1)


def test_an_evolution_ends_where_nothing_is_to_be_gained():
    rough, fine = (
        evolve(distance, START, spread=SPREAD, penalty=0.0, tolerance=tolerance, generations=500)
        for tolerance in (0.05, 1e-4)
    )
    assert len(rough.costs) < len(fine.costs) < 100
    assert rough.cost > fine.cost
    assert len(evolve(distance, START, spread=SPREAD, generations=3).costs) == 3


def test_one_call_a_generation_always_of_one_size():
    recorded = Recorded(distance)
    found = evolve(recorded, START, spread=SPREAD, population=24, generations=7)
    assert [batch.shape for batch in recorded.batches] == [(24, 6)] * (len(found.costs) + 1)
    assert recorded.batches[0].dtype == np.float32


def test_costs_that_are_not_finite_are_the_worst():
    holed = lambda poses: tf.where(poses[:, 3] > START[3], np.nan, distance(poses))  # noqa: E731
    found = evolve(holed, START, spread=SPREAD, population=40, penalty=0.0)
    assert np.isfinite(found.cost) and np.isfinite(found.poses).all() and np.isfinite(found.costs).all()
    with pytest.raises(ValueError, match="`cost` must be finite for some pose"):
        evolve(lambda poses: poses[:, 0] * np.nan, START, spread=SPREAD)
    hole = lambda poses: tf.where(distance(poses) > 0.2, np.inf, distance(poses))  # noqa: E731
    near = compose(TARGET, np.array([0.05, 0.0, 0.0, 5.0, 0.0, 0.0])).numpy()
    assert distance(polish(hole, near, reach=REACH).pose) < 0.03
    with pytest.raises(ValueError, match="`cost` must be finite at the start"):
        polish(hole, START, reach=REACH)


@pytest.mark.parametrize("cost", [lambda poses: distance(poses) ** 2, distance], ids=["smooth", "sharp"])
def test_polish_finds_the_target_within_its_reach(cost):
    found = polish(cost, START, reach=REACH, evaluations=300)
    assert distance(found.pose) < 0.02
    assert found.cost == cost(np.float32(found.pose))[0]
    assert np.all(np.diff(found.costs) <= 0) and found.costs[0] == pytest.approx(float(cost(np.float32(START))[0]))
    assert found.evaluations == len(found.poses) == len(found.costs) <= 300


def test_polish_stays_within_its_reach_and_its_evaluations():
    recorded = Recorded(distance)
    found = polish(recorded, START, reach=REACH / 4, evaluations=40)
    assert len(recorded.batches) == found.evaluations <= 40
    steps = compose(inverse(START), np.concatenate(recorded.batches).astype(np.float64)) / (REACH / 4)
    assert 0.99 < np.abs(steps).max() < 1.0001


def test_both_register_an_image_of_a_volume():
    camera = Camera.from_c_arm(1020.0, 24.0, (12, 12), source_isocentre_mm=800.0)
    project = ProjectiveSpatialTransformer(camera, (14.0, 14.0, 14.0), differentiable=False)
    depth, height, width = np.mgrid[-1:1:12j, -1:1:12j, -1:1:12j]
    volume = np.zeros((12, 12, 12))
    for z, y, x, size in ((0.2, 0.3, -0.5, 0.3), (-0.4, -0.5, 0.1, 0.2), (0.1, 0.4, 0.6, 0.15)):
        volume += np.exp(-((depth - z) ** 2 + (height - y) ** 2 + (width - x) ** 2) / (2 * size**2)) * 0.01
    volume = tf.constant(volume[np.newaxis, ..., np.newaxis], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 6), tf.float32)], autograph=False)
    def seen(poses):
        return project([volume, poses[tf.newaxis]])[0]

    def cost(poses):
        return tf.reduce_mean((seen(poses) - fixed) ** 2, axis=(1, 2, 3)) / tf.reduce_mean(fixed**2)

    fixed = seen(TARGET[np.newaxis].astype(np.float32))
    coarse = evolve(cost, START, spread=SPREAD, population=20, generations=25, penalty=0.01)
    fine = polish(cost, coarse.pose, reach=SPREAD / 4, evaluations=60)
    assert fine.cost < coarse.cost < 0.1 < cost(START[np.newaxis].astype(np.float32))[0]
    assert distance(fine.pose) < min(distance(START) / 10, distance(coarse.pose) + 1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"start": np.zeros(5)}, "`start` must be six finite numbers, in rad and mm"),
        ({"start": np.full(6, np.nan)}, "`start` must be six"),
        ({"spread": SPREAD * 0}, "`spread` must be six finite numbers above 0"),
        ({"penalty_spread": -SPREAD}, "`penalty_spread` must be"),
        ({"population": 1}, "`population` must be 2 or more.* Received 1, "),
        ({"penalty": 1.0}, "`penalty` from 0 to below 1"),
        ({"tolerance": 0.0}, "`tolerance` above 0"),
        ({"answer": "median"}, "`answer` must be mean or best. Received median"),
        ({"cost": lambda poses: tf.reduce_sum(poses)}, r"`cost` must return one number a pose, shape \(100,\)"),
    ],
)
def test_says_what_is_wrong(changed, message):
    with pytest.raises(ValueError, match=message):
        evolve(**{"cost": distance, "start": START, "spread": SPREAD} | changed)


def test_polish_says_what_is_wrong():
    with pytest.raises(ValueError, match="`evaluations` must be 14 or more"):
        polish(distance, START, reach=REACH, evaluations=5)
    with pytest.raises(ValueError, match="`reach` must be six finite numbers above 0"):
        polish(distance, START, reach=np.zeros(6))
