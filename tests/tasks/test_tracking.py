"""The tracking task: every form of network learns and answers, splits leak nothing, the served graph equals predict."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfmedcai.config import Settings
from tfmedcai.data.frames import UNKNOWN, read_picture
from tfmedcai.data.video import read_video, write_video
from tfmedcai.losses.landmarks import heatmaps, peak
from tfmedcai.metrics.landmarks import localisation_errors
from tfmedcai.search_spaces.csl_decoder import CslDecoder
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.tasks.fitting import Keeper
from tfmedcai.tasks.tracking import TrackingTask
from tfmedcai.tasks.tracking_data import batches, hold_back, load_samples, split_samples, targets, unit_of

SETTINGS = (
    Settings().smoke().updated({"task": "tracking", "training": {"batch_size": 2}, "baseline": {"batch_size": 2}})
)
TRACKING = SETTINGS.tracking


@pytest.fixture(scope="module")
def task():
    return TrackingTask(SETTINGS)


@pytest.fixture(scope="module")
def model(task):
    return task.network("csl")


def test_samples_have_one_size_and_joints_in_it(task):
    samples = task.samples
    assert samples.images.shape == (12, 64, 64, 3) and samples.labels.shape == (12, 64, 64)
    assert samples.points.shape == (12, 3, 2) and samples.annotated.all()
    assert np.array_equal(np.unique(samples.sizes, axis=0), [[64, 85]])
    assert set(np.unique(samples.labels)) == {0, 1}
    on = []
    for points, label in zip(samples.points, samples.labels, strict=True):
        on += [label[round(y), round(x)] for x, y in points[np.isfinite(points).all(-1)]]
    assert len(on) > 15 and np.mean(on) > 0.75


@pytest.mark.parametrize(("split", "count"), [("half", 6), ("sequence", 6)])
def test_splits_leak_nothing(task, split, count):
    training, test = split_samples(task.samples, TRACKING.model_copy(update={"split": split}), seed=1)
    assert (len(training), len(test)) == (12 - count, count)
    pairs = [{*zip(part.sequences.tolist(), part.numbers.tolist(), strict=True)} for part in (training, test)]
    assert not pairs[0] & pairs[1]
    if split == "sequence":
        assert set(test.sequences) == {"simulated_001"} and set(training.sequences) == {"simulated_000"}


def test_a_search_scores_on_later_frames(task):
    learnt, held_back = hold_back(task.samples, 0.25)
    assert (len(learnt), len(held_back)) == (8, 4)
    for name in set(held_back.sequences):
        assert learnt.numbers[learnt.sequences == name].max() < held_back.numbers[held_back.sequences == name].min()


def test_targets_of_each_form():
    label = tf.constant(np.arange(64 * 64).reshape(64, 64) % 2, tf.uint8)
    points = tf.constant([[10.5, 20.5], [np.nan, np.nan], [5.0, 5.0]])
    annotated = tf.constant([True, True, False])
    maps = targets(label, points, annotated, TRACKING, (True, False)).numpy()
    assert maps.shape == (32, 32, 4) and maps[10, 5, 1] == pytest.approx(peak(TRACKING.sigma) / unit_of(TRACKING))
    assert not maps[..., 2].any() and np.isnan(maps[..., 3]).all()
    vector = targets(label, points, annotated, TRACKING, (False, True)).numpy()
    np.testing.assert_allclose(vector[:2], [11 / 32 - 1, 21 / 32 - 1], atol=1e-6)
    assert np.isnan(vector[2:]).all()
    assert [part.shape for part in targets(label, points, annotated, TRACKING, (True, True))] == [(32, 32, 1), (6,)]


def test_batches_depend_on_seed_and_epoch_alone(task):
    data, steps = batches(task.samples, TRACKING, (True, False), 5, seed=3)
    assert steps == 3
    first = [batch[0].numpy() for batch in data(0).take(2 * steps)]
    np.testing.assert_array_equal(first[steps], next(iter(data(1)))[0])
    assert first[0].shape == (5, 64, 64, 3) and np.abs(first[0] - first[steps]).max() > 0.1


@pytest.mark.parametrize("name", ["csl", "sl", "l_net", "unet"])
def test_networks_made_by_hand_learn(task, name):
    model, rows = task.train(name, 0, Keeper())
    assert len(rows) == 1 and np.isfinite(rows[0]["loss"])
    evaluation = task.evaluate(model, 0)
    assert json.loads(json.dumps(evaluation.summary))["frames"] == 6
    groups = evaluation.summary["groups"]
    assert list(groups)[:4] == ["all joints", "tip_1", "tip_2", "joint"]
    assert ("instrument" in groups) == (name != "l_net")
    assert set(groups["joint"]) >= {"localisation_error_px", "within_20_px", "kbb_0.15", "presence_recall"}
    pictures = task.case_pictures(evaluation.cases)
    assert [picture.caption.split(":")[0] for picture in pictures] == ["best", "median", "worst"]


def test_scores_belong_to_the_seed(task):
    architecture = CslDecoder.parse("50%k3 50%k3 50%k3 50%k3 concatenated")
    first = task.score(architecture, 1, 0)
    assert first == task.score(architecture, 1, 0)
    assert (
        0 <= first["threshold_score"] <= 1 and first["training_loss"] != task.score(architecture, 1, 1)["training_loss"]
    )


def test_networks_without_a_stride_give_maps_at_the_stride(task):
    for candidate in ("unet", "csl", Snap.parse("conv3x3")):
        assert task.network(candidate).output_shape == (None, 32, 32, 5)


def test_heatmaps_alone():
    tracking = TRACKING.model_copy(update={"structures": {}})
    alone = TrackingTask(SETTINGS.model_copy(update={"tracking": tracking}))
    model = alone.network("csl")
    assert model.output_shape == (None, 32, 32, 3)
    assert "mask" not in alone.signatures(model)["serving_default"].meaning


def test_errors_are_in_px_of_the_frame_as_it_was_read(task):
    samples = task.samples
    moved = samples.points + np.array([3.0, 4.0], np.float32)
    errors = task._errors(samples, moved)
    there = np.isfinite(samples.points).all(-1)
    np.testing.assert_allclose(errors[there], np.hypot(3 * 85 / 64, 4), rtol=1e-4)
    assert np.isnan(errors[~there]).all()
    assert localisation_errors(samples.points, samples.points)[there].max() == 0


def test_the_served_graph_equals_predict_for_frames_of_any_kind(task, model):
    served = tf.function(task.signatures(model)["serving_default"].function)
    for size, channels in (((64, 64), 3), ((51, 77), 1), ((40, 40), 4)):
        frames = np.random.default_rng(0).integers(256, size=(2, *size, channels), dtype=np.uint8)
        answer, predicted = served(tf.constant(frames)), task.predict(model, frames)
        assert predicted["joints"].shape == (2, 3, 2) and predicted["mask"].shape == (2, *size)
        np.testing.assert_allclose(answer["joints"], predicted["joints"], atol=1e-3)
        assert np.all(predicted["joints"] > -1) and np.all(predicted["joints"] < np.array(size[::-1]) + 1)
    with pytest.raises(ValueError, match="of type uint8"):
        task.predict(model, np.zeros((1, 8, 8, 3)))


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_is_followed(task, model, tmp_path):
    frames = [np.full((50, 70, 3), 10 * number, np.uint8) for number in range(4)]
    write_video(tmp_path / "op.mp4", frames, 25)
    answer = task.predict_file(model, tmp_path / "op.mp4", tmp_path / "out", {})
    assert answer["frames"] == 4 and answer["frames_per_second"]["network"] > 0
    rows = read_csv(answer["joints"])
    assert [(row["frame"], row["joint"]) for row in rows[:4]] == [
        ("0", "tip_1"), ("0", "tip_2"), ("0", "joint"), ("1", "tip_1"),
    ]  # fmt: skip
    assert len(list(read_video(answer["picture"]))) == 4
    assert json.loads(json.dumps(answer)) == answer


def test_pictures_are_followed_and_damaged_ones_left_out(task, model, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((40, 60), 50 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"1\.png: cannot read this picture"):
        answer = task.predict_file(model, folder, tmp_path / "out", {})
    assert {row["frame"] for row in read_csv(answer["joints"])} == {"0", "2"}
    single = task.predict_file(model, folder / "2.png", tmp_path / "out", {})
    assert read_picture(Path(single["picture"])).shape == (40, 60, 3) and "frames_per_second" not in single
    with pytest.raises(ValueError, match="must be a video"):
        task.predict_file(model, tmp_path / "op.txt", tmp_path / "out", {})


def test_predictions_can_be_read_as_labels(task, tmp_path):
    """The CSV of joints is the plain layout, so that corrected predictions train the next network."""
    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.fromarray(np.full((40, 60, 3), 50, np.uint8)).save(tmp_path / "a" / f"{number}.png")
    rows = [f"{frame},{joint},10,{20 + frame},0.9" for frame in range(4) for joint in TRACKING.joints]
    (tmp_path / "a.csv").write_text("\n".join(["frame,joint,x,y,confidence", *rows]))
    samples = load_samples(TRACKING.model_copy(update={"dataset": "plain", "folder": tmp_path}), 0)
    assert samples.annotated.all() and (samples.labels == UNKNOWN).all()
    np.testing.assert_allclose(samples.points[:, 0, 0], 10.5 * 64 / 60 - 0.5, rtol=1e-5)


def test_bad_settings(tmp_path):
    with pytest.raises(ValueError, match=r"`tracking\.folder` must name"):
        load_samples(TRACKING.model_copy(update={"dataset": "plain"}), 0)
    with pytest.raises(ValueError, match=r"`tracking\.joints` must be annotated: joint, shaft, tip_1, tip_2"):
        load_samples(TRACKING.model_copy(update={"joints": ("nose",)}), 0)
    with pytest.raises(ValueError, match="`mirrored` some of them"):
        SETTINGS.updated({"tracking": {"mirrored": (("a", "b"),)}})


def test_the_loss_is_that_of_the_paper_whatever_the_unit_of_the_maps(task):
    points = tf.constant([[[20.0, 30.0], [40.0, 10.0], [5.0, 50.0]]])
    drawn = heatmaps(points, (32, 32), TRACKING.sigma, 2)
    unit, rng = unit_of(TRACKING), np.random.default_rng(0)
    found = rng.normal(size=(1, 32, 32, 3)).astype(np.float32) * 0.1
    labels, logits = np.zeros((1, 32, 32, 1), np.float32), np.zeros((1, 32, 32, 2), np.float32)
    target, answer = (np.concatenate(parts, -1) for parts in ([labels, drawn / unit], [logits, found / unit]))
    loss = task.loss((True, False))(target, answer)
    assert np.square(drawn[..., 0] / unit).mean() == pytest.approx(1.0, rel=1e-3)
    expected = np.log(2) + np.square(drawn - found).sum() / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5)
