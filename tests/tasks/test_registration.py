"""The registration task: data, what networks are to answer, and registration inside a graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.config import Settings
from tfmedcai.config.registration import DescentSettings
from tfmedcai.data.volumes import Volume, write_volume
from tfmedcai.geometry.camera import Camera
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.models.pose_similarity import PoseSimilarity, parts_of, pose_similarity
from tfmedcai.simulators.varied_patient import varied
from tfmedcai.tasks import registration_data
from tfmedcai.tasks.registration import RegistrationTask
from tfmedcai.tasks.registration_data import attenuations, camera_of, read_subjects, training_cases
from tfmedcai.tasks.registration_evaluation import case_in
from tfmedcai.tasks.registration_network import (
    Cases,
    intrinsics_of,
    normalised,
    pointed,
    register,
    regridded,
    seen_by,
)

SETTINGS = Settings().smoke().updated({"task": "registration"})
REGISTRATION = SETTINGS.registration


@pytest.fixture(scope="module")
def task():
    return RegistrationTask(SETTINGS)


def _batches(task, first_epoch, count):
    return list(training_cases(task._learnt, REGISTRATION, 3, 5, first_epoch).take(count))


def test_subjects_are_parted(task):
    parts = [{subject.name for subject in part} for part in (task._learnt, task._held_back, task._unseen)]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2]
    bones = attenuations(task.subjects, "segmented").numpy()
    full = attenuations(task.subjects, "full").numpy()
    labels = np.stack([subject.labels for subject in task.subjects])[..., np.newaxis]
    np.testing.assert_array_equal(bones, full * (labels > 0))


def test_batches_depend_on_seed_and_epoch_alone(task):
    whole, resumed = _batches(task, 0, 4), _batches(task, 1, 2)
    for found, expected in zip(resumed, whole[2:], strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole[0].volume, whole[1].volume)
    assert np.abs(whole[0].target_pose - whole[1].target_pose).min() > 0
    assert whole[0].target.shape == (3, 32, 32, 1) and whole[0].volume.shape == (1, 16, 16, 16, 1)
    volumes = {batch.volume.numpy().tobytes() for batch in _batches(task, 0, 24)}
    assert len(volumes) == 2


@pytest.mark.parametrize(("candidate", "shape"), [("prost_miccai", (None,)), ("deepim", (None, 7)), ("dmw", (None, 6))])
def test_what_networks_are_to_answer(task, candidate, shape):
    model = task.network(candidate)
    assert model.output_shape == shape
    assert isinstance(model, PoseSimilarity) == (shape == (None,))
    assert (parts_of(model).volume_net is None) == (shape != (None,))
    case = next(iter(_batches(task, 0, 1)))
    aim = task._aim(case, shape[-1] or 1)
    assert aim.shape == (3, shape[-1] or 6)
    if shape != (None,):  # who answers so is led to the target
        found, right = pointed(_Answering(model, aim), case, REGISTRATION.normaliser_mm)
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-3)
        assert np.abs(right).max() > 0.1


class _Answering:
    """A network that gives the right answer."""

    def __init__(self, model, answer):
        self.layers, self.output_shape, self.answer = model.layers, model.output_shape, answer

    def __call__(self, inputs, training):
        return self.answer


def test_regridded():
    volume = tf.random.uniform((2, 6, 7, 8))
    np.testing.assert_allclose(regridded(volume, tf.constant([2.0] * 3), (6, 7, 8), 2.0), volume, atol=1e-6)
    ramp = tf.cast(tf.range(9), tf.float32)[tf.newaxis, :, tf.newaxis, tf.newaxis] * tf.ones((1, 9, 9, 9))
    fine = regridded(ramp, tf.constant([3.0, 3.0, 3.0]), (12, 4, 4), 1.5).numpy()[0, :, 2, 2]
    np.testing.assert_allclose(fine[2:-2], 4 + (np.arange(12) - 5.5)[2:-2] / 2, atol=1e-5)
    coarse = regridded(ramp, tf.constant([1.0, 1.0, 1.0]), (3, 3, 3), 2.0).numpy()[0, :, 1, 1]
    np.testing.assert_allclose(coarse, [2, 4, 6], atol=1e-5)


def _subtracting(camera, spacing_mm, shape):
    """A network that needs no training: the mean squared difference of images from 0 to 1."""
    images = keras.Input((*camera.image_size, 2))
    value = keras.layers.Reshape((1,))(keras.ops.mean((images[..., :1] / 2.0 - images[..., 1:]) ** 2, axis=(1, 2, 3)))
    projector = ProjectiveSpatialTransformer(camera, (spacing_mm,) * 3, name="projector")
    return pose_similarity(projector, keras.Model(images, value, name="net"), volume_shape=shape)


def test_registers_in_a_graph_with_another_camera(task):
    shape, spacing = REGISTRATION.size, REGISTRATION.spacing_mm
    model = _subtracting(camera_of(REGISTRATION), spacing, shape)
    other = Camera.from_c_arm(1100.0, 4.0, (72, 80), (41.0, 30.0), source_isocentre_mm=750.0)
    volume = attenuations(task.subjects[:1], "segmented")
    truth = tf.constant([[0.1, -0.05, 0.1, 5.0, -5.0, 10.0]])
    image = ProjectiveSpatialTransformer(other, (spacing,) * 3)([volume, truth])[..., 0]
    image = 2 * image / tf.reduce_max(image)
    descent = DescentSettings(rule="adam", rate=0.02, steps=20, plateau=0.0)

    @tf.function(autograph=False)
    def solve(volume, image, start, intrinsics):
        return register(model, volume, [seen_by(model, image, intrinsics)], start, descent)

    start = truth + tf.constant([[0.0, 0.0, 0.05, 8.0, 6.0, 0.0]])
    scale = tf.reduce_max(ProjectiveSpatialTransformer(other, (spacing,) * 3)([volume, truth]))
    found = solve(2 * volume / scale, image, start, intrinsics_of(other))
    before, after = (np.linalg.norm((pose - truth).numpy()[0, 3:5]) for pose in (start, found.pose))
    assert after < 0.5 * before
    assert float(found.similarity[0]) < 0.5 * float(found.similarities[0, 0])


def test_normalised():
    images = np.random.default_rng(0).uniform(3, 9, (2, 4, 4, 1)).astype("float32")
    made = normalised(images).numpy()
    assert [made.min(), made.max()] == [0, 1] and made[1].max() == 1
    assert np.isfinite(normalised(tf.ones((1, 4, 4, 1)))).all()


def test_variations_of_a_patient(task):
    subject = task.subjects[0]
    spacing = (REGISTRATION.spacing_mm,) * 3
    first, again, other = (varied(subject.hu, subject.labels, spacing, number) for number in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert np.abs(first[0] - other[0]).max() > 100
    kept = np.sum((first[1] > 0) & (subject.labels > 0)) / np.sum(subject.labels > 0)
    assert 0.4 < kept < 1
    assert set(np.unique(first[1])) <= set(np.unique(subject.labels))


def test_subjects_of_a_ct(task, tmp_path, monkeypatch):
    calls = []

    def varying(*given):
        calls.append(given[-1])
        return varied(*given)

    monkeypatch.setattr(registration_data, "varied", varying)
    subject = task.subjects[0]
    affine = np.diag([-REGISTRATION.spacing_mm, -REGISTRATION.spacing_mm, -REGISTRATION.spacing_mm, 1.0])
    for name, array in (("ct", subject.hu), ("labels", subject.labels)):
        write_volume(tmp_path / f"{name}.nii.gz", Volume(np.transpose(array, (2, 0, 1)), affine[[0, 1, 2, 3]]))
    files = {"ct": (tmp_path / "ct.nii.gz",), "segmentation": (tmp_path / "labels.nii.gz",)}
    ct = {"dataset": "ct", "labels": (1, 2)} | files
    found = read_subjects(REGISTRATION.model_copy(update=ct))
    assert len(found) == 4
    assert calls == [0, 1, 2, 3], "one patient is in all parts"
    calls.clear()
    assert (
        len(read_subjects(REGISTRATION.model_copy(update=ct | {name: 3 * file for name, file in files.items()}))) == 4
    )
    assert calls == [1], "of three each has a part, and the first learns from one more"
    assert all(set(np.unique(one.labels)) <= {0, 1, 2} and one.hu.shape == REGISTRATION.size for one in found)
    with pytest.raises(ValueError, match=r"`registration\.ct` and `registration\.segmentation` must name"):
        read_subjects(REGISTRATION.model_copy(update=ct | {"segmentation": ()}))


def test_files_of_a_case(tmp_path):
    with pytest.raises(FileNotFoundError, match="a case must have one of ct"):
        case_in(tmp_path)
    for name in ("ct.nii", "xray.png", "camera.json", "start.json"):
        (tmp_path / name).touch()
    files = case_in(tmp_path)
    assert (files.ct, files.xray, files.labels) == (tmp_path / "ct.nii", (tmp_path / "xray.png",), None)
    assert files.camera == (tmp_path / "camera.json",) and files.start == str(tmp_path / "start.json")


def test_cases_are_what_a_network_takes(task):
    case = next(iter(_batches(task, 0, 1)))
    assert isinstance(case, Cases)
    similarity, gradient = task.network("prost_miccai").pose_gradient(case[:3])
    assert similarity.shape == (3,) and gradient.shape == (3, 6)


@pytest.mark.slow
@pytest.mark.parametrize("candidate", ["prost_miccai", "dmw"])
def test_train_and_evaluate(task, candidate):
    from tfmedcai.tasks.fitting import Keeper

    model, rows = task.train(candidate, 0, Keeper())
    assert {"epoch", "loss", "gradient_cosine"} == set(rows[0])
    found = task.evaluate(model, 0)
    assert list(found.summary["groups"])[:4] == ["5", "anywhere", "5, network, cma_es", "anywhere, network, cma_es"]
    assert set(found.summary["success"]) == set(found.summary["groups"])
    assert ("network" in found.summary["correlation"]) == (candidate != "dmw")
    assert len(found.cases["all_mean_tre_mm"]) == 4
    assert len(task.case_pictures(found.cases)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("candidate", ["prost", "dmw"])
def test_exported_for_servers(task, candidate, tmp_path):
    from tfmedcai.serving.export import export

    signature = task.signatures(task.network(candidate))["serving_default"]
    served = tf.saved_model.load(export({"serving_default": signature}, tmp_path)).signatures["serving_default"]
    two = {
        name: np.concatenate([array, array]) if name in ("volume", "image", "pose") else array
        for name, array in signature.example.items()
    }
    two["image"] = np.tile(two["image"], (1, 2, 1))  # of another size
    found = served(**{name: tf.constant(array) for name, array in two.items()})
    assert found["pose"].shape == (2, 6) and np.isfinite(found["pose"]).all()
    np.testing.assert_allclose(*found["pose"], rtol=1e-2, atol=1e-2)
