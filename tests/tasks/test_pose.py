"""The pose task: data without leaks, a served graph that equals `predict`, labels that the network can learn."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.config import Settings
from tfmedcai.geometry.crop import unnormalise
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.tasks.pose import PoseTask, start_poses
from tfmedcai.tasks.pose_data import evaluation_images, training_images

SETTINGS = Settings().smoke().updated({"pose": {"image_size": (128, 160)}})


@pytest.fixture(scope="module")
def task():
    return PoseTask(SETTINGS)


@pytest.fixture(scope="module")
def model(task):
    return task.network(Snap.parse("conv3x3"))


def test_no_image_has_patches_in_two_parts(task):
    sizes = {part: len(arrays) for part, arrays in task.samples.items()}
    assert sizes == {"training": 14, "validation": 2, "test": 4}
    patches = [patch.tobytes() for arrays in task.samples.values() for patch in arrays.inputs]
    assert len(set(patches)) == 20


def test_a_relaxed_search_sees_training_images_only_each_in_one_part():
    task = PoseTask(SETTINGS.updated({"space": "darts_cell", "darts_net": {"search_cells": 1}}))
    problem = task.relaxed(seed=0)
    parts = [
        {patch.numpy().astype(np.float16).tobytes() for x, _ in part.from_step(0).take(part.steps) for patch in x}
        for part in (problem.weights, problem.architecture)
    ]
    assert not parts[0] & parts[1]
    training = task.samples["training"]
    assert parts[0] | parts[1] == {patch.tobytes() for patch in training.inputs}
    copies = SETTINGS.pose.augmentation
    for first in range(0, len(training), copies):
        image = {patch.tobytes() for patch in training.inputs[first : first + copies]}
        assert image <= parts[0] or image <= parts[1]
    assert problem.build().output_shape == (None, 12)


def test_patches_show_the_instrument_at_its_landmarks(task):
    """Dark metal lies at the landmarks on a screw, more often than a bright spot does."""
    arrays = task.samples["training"]
    points = unnormalise(arrays.targets, task.geometry).numpy()[:, :2].round().astype(int)
    inside = ((points >= 0) & (points < (92, 48))).all(axis=-1)
    grey = [arrays.inputs[i, y, x, 0] for (i, k) in np.argwhere(inside) for x, y in [points[i, k]]]
    assert np.mean(grey) < 0.6 * arrays.inputs.mean()


def test_training_and_evaluation_subjects_are_apart():
    pose = SETTINGS.pose
    seen = {int(sample["subject"]) for sample in training_images(pose, 0)}
    unseen = {int(sample["subject"]) for sample in evaluation_images(pose, 0)}
    assert not seen & unseen


def test_the_same_seed_makes_the_same_data_and_another_seed_other_data(task):
    again, other = PoseTask(SETTINGS), PoseTask(SETTINGS.updated({"seed": 1}))
    np.testing.assert_array_equal(again.samples["training"].inputs, task.samples["training"].inputs)
    assert not np.array_equal(other.samples["training"].inputs, task.samples["training"].inputs)


def test_start_poses_keep_tilt_and_resolution_to_themselves():
    truth = tf.constant([[50.0, 40.0, 1.0, 0.7, 0.12]] * 200)
    start = start_poses(truth, (0, 0)).numpy()
    assert (start[:, 3] == 0).all()
    assert start[:, 4] == pytest.approx(0.15)
    distance = np.hypot(*(start[:, :2] - (50, 40)).T) * 0.12
    assert distance.max() <= 2.5 + 1e-4
    assert distance.mean() == pytest.approx(1.25, abs=0.15)
    assert np.degrees(start[:, 2] - 1.0).std() == pytest.approx(10, abs=1.5)


def test_the_served_graph_equals_predict(task, model):
    image = np.random.default_rng(1).uniform(size=(100, 140)).astype(np.float32)
    served = tf.function(task.signatures(model)["serving_default"].function)
    answer = served(tf.constant(image[None]), tf.constant([[70.0, 50.0, 30.0, 0.0, 0.15]]))
    predicted = task.predict(model, image, (70, 50, 30))
    np.testing.assert_allclose(answer["pose"][0], predicted["pose"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(answer["landmarks"][0], predicted["landmarks"], rtol=1e-3, atol=1e-3)


def test_an_image_of_bytes_is_answered_as_one_of_floats(task, model):
    image = np.random.default_rng(1).integers(256, size=(1, 100, 140))
    pose = tf.constant([[70.0, 50.0, 30.0, 0.0, 0.15]])
    signatures = task.signatures(model)
    floats = tf.function(signatures["serving_default"].function)(tf.constant(image, tf.float32), pose)
    given = tf.function(signatures["uint8_image"].function)(tf.constant(image, tf.uint8), pose)
    np.testing.assert_array_equal(given["pose"], floats["pose"])
    assert (
        signatures["uint8_image"].example["image"].dtype == signatures["uint8_image"].inputs["image"].dtype == tf.uint8
    )


@pytest.mark.parametrize(
    ("image", "pose", "says"),
    [
        (np.full((1, 64, 64), np.nan, np.float32), [[20.0, 20.0, 0.0, 0.0, 0.15]], "not numbers"),
        (np.ones((1, 64, 64), np.float32), [[np.nan, 20.0, 0.0, 0.0, 0.15]], "not numbers"),
        (np.ones((1, 64, 64), np.float32), [[80.0, 20.0, 0.0, 0.0, 0.15]], "outside the image"),
    ],
)
def test_the_served_graph_refuses_bad_input(task, model, image, pose, says):
    served = tf.function(task.signatures(model)["one_iteration"].function)
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        served(tf.constant(image), tf.constant(pose))


def test_scores_repeat_and_belong_to_the_seed(task):
    snap = Snap.parse("dws3x3")
    first = task.score(snap, 1, 0)
    assert first == task.score(snap, 1, 0)
    assert first["value"] == pytest.approx(-np.log10(first["regression_mse"]))
    assert first["value"] != task.score(snap, 1, 1)["value"]
