"""The segmentation task on small volumes that are written and read as NIfTI."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.config import Settings
from tfmedcai.data.resampling import reorient
from tfmedcai.data.volumes import read_volume
from tfmedcai.metrics.statistics import summary_of
from tfmedcai.search_spaces.mixed_block import MixedBlockSpace
from tfmedcai.tasks.fitting import Keeper
from tfmedcai.tasks.segmentation import SegmentationTask
from tfmedcai.tasks.segmentation_data import normalised, restored

PATIENTS = 4
UNCHANGED = {"scale": (1, 1), "shift": 0, "rotate_deg": 0, "flip": (), "brightness": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Patients with two modalities: a bright ball in noise, every second one flipped."""
    root = tmp_path_factory.mktemp("patients")
    rng = np.random.default_rng(0)
    for number in range(PATIENTS):
        shape = (20, 22, 6)
        distance = np.linalg.norm(np.indices(shape) - np.array([[[[10]]], [[[11 - number]]], [[[3]]]]), axis=0)
        body = distance < 9
        label = (distance < 5).astype(np.uint8) + (distance < 2.5)
        grey = np.where(body, 100 + 80 * (label > 0) + 10 * rng.normal(size=shape), 0).astype(np.float32)
        affine = np.diag([-1.0 if number % 2 else 1.0, 1.0, 2.0, 1.0])
        (root / f"patient{number}").mkdir()
        for name, array in (("a", grey), ("b", 0.5 * grey), ("label", label.astype(np.int16))):
            nib.save(nib.Nifti1Image(array, affine), root / f"patient{number}" / f"{name}.nii.gz")
    return root


def settings(folder, **changes):
    segmentation = {
        "dataset": "patient_folders", "folder": folder, "images": ("a", "b"), "structures": {"ball": (1, 2)},
        "patch": (16, 16), "inside_patient": True, "folds": 2, "search_folds": 2, "initialisations": 1,
    }  # fmt: skip
    fit = {"learning_rate": 3e-3, "batch_size": 4, "schedule": "polynomial"}
    return Settings.model_validate(
        {
            "task": "segmentation", "space": "mixed_block", "oracle": "random",
            "segmentation": segmentation | changes, "mixed_block": {"nodes": 4, "deepest": 2},
            "mixed_block_net": {"filters": 8, "search_filters": 4}, "unet": {"filters": 8, "depth": 2},
            "search": {"fit": fit | {"epochs": 2}}, "training": fit | {"epochs": 60},
            "baseline": fit,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def task(folder):
    return SegmentationTask(settings(folder))


@pytest.fixture(scope="module")
def trained(task):
    return task.train("unet", 0, Keeper())


def test_no_patient_is_learnt_from_and_judged_on(task):
    for seed in range(3):
        outer = task._outer(seed)
        assert set(outer.training) | set(outer.validation) == {case.id for case in task.cases}
        assert not set(outer.training) & set(outer.validation)
    assert set(task._outer(0).validation) | set(task._outer(1).validation) == {case.id for case in task.cases}
    assert task._outer(2) == task._outer(0)


def test_scans_of_one_patient_stay_together(folder, tmp_path):
    for number, name in enumerate(("anna_1", "anna_2", "bert_1", "bert_2")):
        shutil.copytree(folder / f"patient{number}", tmp_path / name)
    task = SegmentationTask(settings(tmp_path, patient=r"([a-z]+)_\d"))
    held_out = [task._outer(seed).validation for seed in (0, 1)]
    assert sorted(held_out) == [("anna_1", "anna_2"), ("bert_1", "bert_2")]


def test_who_was_held_out_stays_so(folder, tmp_path):
    first = SegmentationTask(settings(folder))
    first.keep_split(tmp_path / "folds.json")
    written = json.loads((tmp_path / "folds.json").read_text())
    assert [fold["validation"] for fold in written["folds"]] == [list(first._outer(seed).validation) for seed in (0, 1)]
    written["folds"].reverse()
    (tmp_path / "folds.json").write_text(json.dumps(written))
    second = SegmentationTask(settings(folder))
    second.keep_split(tmp_path / "folds.json")
    assert second._outer(0) == first._outer(1)
    shutil.copytree(folder, tmp_path / "grown")
    shutil.copytree(folder / "patient0", tmp_path / "grown" / "patient9")
    with pytest.raises(ValueError, match="patient9 is new or gone"):
        SegmentationTask(settings(tmp_path / "grown")).keep_split(tmp_path / "folds.json")


def test_the_search_never_sees_the_patients_of_the_evaluation(task, monkeypatch):
    seen = []
    original = task._chosen
    monkeypatch.setattr(task, "_chosen", lambda ids: seen.extend(ids) or original(ids))
    space = MixedBlockSpace(**task.settings.mixed_block.model_dump())
    metrics = task.score(space.sample(np.random.default_rng(0)), 2, 0, 1)
    assert 0 <= metrics["dice"] <= 1
    assert not set(seen) & set(task._outer(0).validation)
    assert sorted(seen) == sorted(task._outer(0).training), "one inner fold learns from some and judges on the others"


def seen_by(source):
    """Which patients a source of patches holds, told by grey values that belong to one of them."""
    images, _ = next(iter(source.batches(0)))
    return {round(float(value)) for value in np.unique(images)} - {0}


@pytest.mark.parametrize(("part", "patients"), [(0, 4), (1, 4), (0, 2), (1, 2)])
def test_weights_and_architecture_of_a_relaxed_search_learn_from_other_voxels(task, part, patients):
    changes = {"patch": (8, 8, 2), "foreground": 0.0, "per_volume": 200, "augmentation": UNCHANGED}
    names = {"space": "volumetric", "oracle": "supernet", "supernet": {"batch_size": 400}}
    relaxed_task = SegmentationTask(task.settings.updated(names | {"segmentation": changes}))
    cases = []
    for number, case in enumerate(task.cases[:patients]):
        image = np.empty_like(case.image)
        # The number of the patient and the slice are the grey value.
        image[:] = 100 * (number + 1) + np.arange(image.shape[2])[:, np.newaxis]
        cases.append(replace(case, image=image))
    relaxed_task.cases = cases
    relaxed = relaxed_task.relaxed(0, part)
    weights, architecture = (seen_by(source) for source in (relaxed.weights, relaxed.architecture))
    assert weights
    assert architecture
    assert not weights & architecture
    held_out = {100 * (number + 1) for number, case in enumerate(cases) if case.id in relaxed_task._outer(0).validation}
    assert not {value // 100 * 100 for value in weights | architecture} & held_out
    if patients > 2:
        assert not {value // 100 for value in weights} & {value // 100 for value in architecture}


def test_the_cases_of_both_parts_change_places(task):
    for patients in (2, 4):
        task_of_few = SegmentationTask(task.settings)
        task_of_few.cases = task.cases[:patients]
        (one, other), (third, fourth) = (task_of_few._inner(0, part) for part in (0, 1))
        for a, b in ((one, fourth), (other, third)):
            np.testing.assert_array_equal(a[0].image, b[0].image)


def test_cases_come_in_one_orientation_with_all_channels(task):
    assert {case.image.shape for case in task.cases} == {(20, 22, 6, 2)}
    assert {case.grid.orientation for case in task.cases} == {"RAS"}
    assert task.channels == 2
    for case in task.cases:
        assert set(np.unique(case.label)) == {0, 1}
        assert case.image[case.label == 1].mean() > case.image[case.label == 0].mean()


def test_a_network_learns_and_is_measured_on_the_patients_held_out(task, trained):
    model, rows = trained
    assert rows[-1]["loss"] < rows[0]["loss"]
    evaluation = task.evaluate(model, 0)
    assert sorted(evaluation.summary["cases"]) == sorted(task._outer(0).validation)
    ball = evaluation.summary["groups"]["ball"]
    assert ball["dice"]["n"] == 2
    assert ball["dice"]["mean"] > 0.7
    assert set(ball) == {"dice", "surface_dice", "hd95_mm", "assd_mm"}
    assert len(evaluation.cases["all_dice"]) == 2
    pictures = SegmentationTask.case_pictures(evaluation.cases)
    assert len(pictures) == 2
    assert all("Dice" in picture.caption for picture in pictures)


def test_a_prediction_lies_on_the_file_it_was_made_of(task, trained, folder, tmp_path):
    answer = task.predict_file(trained[0], folder / "patient1", tmp_path, {})
    written, source = read_volume(answer["classes"]), read_volume(folder / "patient1" / "a.nii.gz")
    np.testing.assert_allclose(written.affine, source.affine)
    assert written.array.shape == source.array.shape
    truth = read_volume(folder / "patient1" / "label.nii.gz").array > 0
    overlap = 2 * np.sum((written.array == 1) & truth) / (np.sum(written.array == 1) + truth.sum())
    assert overlap > 0.7
    assert answer["millilitres"]["ball"] == pytest.approx(np.sum(written.array == 1) * 2 / 1000)


def test_the_served_graph_takes_raw_values_and_gives_the_same_classes(task, trained):
    case = task.cases[0]
    signature = task.signatures(trained[0])["serving_default"]
    served = tf.function(signature.function)(tf.constant(case.grid.array, tf.float32))
    assert served["probabilities"].shape == (20, 22, 6, 1)
    expected = task._segmenter(trained[0])(case.image)
    assert np.mean(served["classes"].numpy() != expected) < 0.01  # half precision of the training images
    assert set(signature.meaning) == {"image", "classes", "probabilities"}


@pytest.mark.parametrize("changes", [{"resized": (16, 16, 0)}, {"spacing": (1.5, 1.5, 3.0)}])
def test_the_served_graph_answers_on_the_grid_it_is_asked_on(folder, trained, changes):
    task = SegmentationTask(settings(folder, **changes))
    case, model = task.cases[0], trained[0]
    assert case.image.shape[:3] != case.source.array.shape[:3]
    signature = task.signatures(model)["serving_default"]
    given = {"image": tf.constant(reorient(case.source, "RAS").array, tf.float32)}
    if "spacing" in changes:
        given["spacing"] = tf.constant([1.0, 1.0, 2.0])
    assert set(given) == set(signature.inputs)
    served = tf.function(signature.function)(**given)
    assert served["probabilities"].shape == (20, 22, 6, 1)
    expected = reorient(restored(task._segmenter(model)(case.image), case), "RAS").array
    assert expected.any()
    assert np.mean(served["classes"].numpy() != expected) < 0.02  # half precision of the training images


@pytest.mark.parametrize("changes", [{}, {"window": (0.0, 120.0)}, {"window": (0.0, 120.0), "inside_patient": False}])
def test_normalisation_in_the_graph_is_that_of_the_training(folder, changes):
    task = SegmentationTask(settings(folder, **changes))
    grey = task.cases[0].grid.array
    np.testing.assert_allclose(
        task._normalised(tf.constant(grey, tf.float32)), normalised(grey, task.settings.segmentation), atol=2e-4
    )


def test_several_structures_are_classes_and_one_value_a_patient(folder):
    task = SegmentationTask(settings(folder, structures={"rim": (1,), "core": (2,)}))
    evaluation = task.evaluate(task.network("unet"), 0)
    assert len(evaluation.cases["all_dice"]) == 2
    means = [evaluation.summary["groups"][name]["dice"]["mean"] for name in ("rim", "core")]
    assert np.mean(evaluation.cases["all_dice"]) == pytest.approx(np.mean(means))
    assert task.network("unet").output_shape == (None, 16, 16, 3)
    assert set(np.unique(task.cases[0].label)) == {0, 1, 2}


def test_volumes_are_learnt_in_patches(folder):
    task = SegmentationTask(settings(folder, patch=(16, 16, 6), per_volume=4))
    model = task.network("unet")
    assert model.output_shape == (None, 16, 16, 6, 1)
    assert task._segmenter(model)(task.cases[0].image).shape == (20, 22, 6)


def test_what_cannot_be_averaged_is_counted():
    found = summary_of([1.0, 3.0, np.inf, np.nan])
    assert (found["mean"], found["n"], found["infinite"], found["absent"]) == (2.0, 2, 1, 1)
    assert json.loads(json.dumps(summary_of([np.inf])))["n"] == 0
