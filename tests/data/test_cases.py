import json

import numpy as np
import pytest

from tfmedcai.data.cases import (
    Case,
    decathlon,
    nih_pancreas,
    patient_folders,
    plain_folder,
    read_case,
    with_patients,
)
from tfmedcai.data.volumes import Volume, write_volume


def save(path, shape=(4, 4, 3), spacing=1.0, value=1, dtype=np.int16):
    write_volume(path, Volume(np.full(shape, value, dtype), np.diag([spacing] * 3 + [1.0])))
    return path


@pytest.fixture
def msd(tmp_path):
    training = []
    for number in (2, 6):
        image, label = (f"./{folder}/prostate_{number:02d}.nii.gz" for folder in ("imagesTr", "labelsTr"))
        save(tmp_path / image, (4, 4, 3, 2))
        save(tmp_path / label, dtype=np.uint8)
        training.append({"image": image, "label": label})
    save(tmp_path / "imagesTs" / "prostate_01.nii.gz", (4, 4, 3, 2))
    entries = {
        "modality": {"1": "ADC", "0": "T2"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": training,
        "test": ["./imagesTs/prostate_01.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    return tmp_path


def test_decathlon(msd):
    found = decathlon(msd)
    assert found.modalities == ("T2", "ADC") and found.labels == {1: "PZ", 2: "TZ"}
    assert [case.id for case in found.training] == ["prostate_02", "prostate_06"]
    assert found.test[0].label is None and found.test[0].images[0].is_file()
    image, label = read_case(found.training[0], channels=2, labels=found.labels)
    assert image.array.shape == (4, 4, 3, 2) and label.array.max() == 1
    assert read_case(found.test[0], channels=2)[1] is None


def test_a_dataset_json_that_names_missing_files(msd):
    (msd / "labelsTr" / "prostate_06.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"dataset\.json: 1 of 5 files are missing.*prostate_06"):
        decathlon(msd)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"modality": {"0": "CT"}, "labels": {"0": "b"}, "training": [{"image": "a.nii"}]}']
)
def test_a_dataset_json_of_another_form(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset\.json: this must be JSON with modality"):
        decathlon(tmp_path)


def test_nih_pancreas(tmp_path):
    for number in (3, 1):
        save(tmp_path / "images" / f"PANCREAS_{number:04d}_0.nii.gz")
    save(tmp_path / "labels" / "label0001.nii.gz")
    (tmp_path / "labels" / "._label0003.nii.gz").write_text("")
    first, second = nih_pancreas(tmp_path)
    assert (first.id, first.patient, first.label.name) == ("PANCREAS_0001", "0001", "label0001.nii.gz")
    assert (second.id, second.label) == ("PANCREAS_0003", None)
    save(tmp_path / "PANCREAS_0003.nii.gz")
    with pytest.raises(ValueError, match=r"PANCREAS_0003 must have one image\. Received 2"):
        nih_pancreas(tmp_path)


def test_patient_folders(tmp_path):
    for name in ("b", "a"):
        save(tmp_path / name / f"{name}_flair.nii.gz")
        save(tmp_path / name / f"{name}_t1c.nii.gz", (2, 2, 3), spacing=2.0)
        save(tmp_path / name / "seg.nii.gz", dtype=np.uint8)
    (tmp_path / "notes").mkdir()
    cases = patient_folders(tmp_path, ("*_flair", "*_t1c"), "seg")
    assert [case.id for case in cases] == ["a", "b"] and cases[0].images[1].name == "a_t1c.nii.gz"
    image, label = read_case(cases[0])
    assert image.array.shape == (4, 4, 3, 2) and label.array.shape == (4, 4, 3)
    assert patient_folders(tmp_path, ("*_flair",))[0].label is None
    save(tmp_path / "a" / "a2_flair.nii.gz")
    with pytest.raises(ValueError, match=r"\*_flair must match one file. Received a2_flair.nii.gz, a_flair.nii.gz"):
        patient_folders(tmp_path, ("*_flair",))
    (tmp_path / "b" / "seg.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"b: no file seg\.nii\.gz"):
        patient_folders(tmp_path, ("[ab]_flair", "*_t1c"), "seg")


def test_plain_folder(tmp_path):
    for name in ("x_0001.nii.gz", "x_0002.nii"):
        save(tmp_path / "images" / name)
    without = plain_folder(tmp_path)
    assert [case.id for case in without] == ["x_0001", "x_0002"] and without[0].label is None
    assert plain_folder(tmp_path / "images") == without
    save(tmp_path / "labels" / "x_0001.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"1 of 4 files are missing.*x_0002"):
        plain_folder(tmp_path)
    save(tmp_path / "labels" / "x_0002.nii.gz")
    assert [case.label.name for case in plain_folder(tmp_path)] == ["x_0001.nii.gz", "x_0002.nii.gz"]


def test_plain_folder_with_a_file_for_each_modality(tmp_path):
    for name in ("x_0000.nii.gz", "x_0001.nii.gz", "y_0000.nii.gz", "y_0001.nii.gz"):
        save(tmp_path / "images" / name)
    cases = plain_folder(tmp_path, files_per_case=2)
    assert [case.id for case in cases] == ["x", "y"] and [path.name[-11:-7] for path in cases[0].images] == [
        "0000",
        "0001",
    ]
    (tmp_path / "images" / "y_0001.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"case y must have 2 files\. Received y_0000\.nii\.gz"):
        plain_folder(tmp_path, files_per_case=2)


@pytest.mark.parametrize(
    "find", [decathlon, nih_pancreas, plain_folder, lambda folder: patient_folders(folder, ("flair",), "seg")]
)
def test_empty_and_missing_folders(tmp_path, find):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError) as error:
            find(folder)
        assert str(error.value).startswith(str(folder)) and "\n" not in str(error.value)


def test_patients_of_cases():
    cases = [Case(name, name, ()) for name in ("p1_a", "p1_b", "p2_a")]
    assert [case.patient for case in with_patients(cases, r"(p\d)_.")] == ["p1", "p1", "p2"]
    with pytest.raises(ValueError, match="misses 'p1_b'"):
        with_patients(cases, "(p1_a|p2_a)")
    with pytest.raises(ValueError, match="one group in parentheses"):
        with_patients(cases, ".*")


def test_files_that_do_not_fit(tmp_path):
    image, label = save(tmp_path / "image.nii.gz"), save(tmp_path / "label.nii.gz", (4, 4, 4))
    with pytest.raises(ValueError, match=r"label\.nii\.gz: this must have the shape \(4, 4, 3\)"):
        read_case(Case("a", "a", (image,), label))
    with pytest.raises(ValueError, match=r"case a must have 3 channels\. Received 2 files"):
        read_case(Case("a", "a", (image, image)), channels=3)


def test_real_patients(real_data):
    cases = patient_folders(real_data("mri/brain_brats2013_2mm"), ("flair", "t1c"), "seg")
    assert len({case.patient for case in cases}) == 5
    image, label = read_case(cases[0], labels=(1, 2, 3, 4))
    assert image.array.shape == (120, 120, 77, 2) and label.array.max() == 4
    prostate = patient_folders(real_data("mri/prostate_prostatex_picai"), ("t2w", "adc"), "zones_yuan23")
    image, label = read_case(prostate[0], labels=(1, 2))
    # The apparent diffusion coefficient comes from a grid of a fourth of the resolution; the gland lies in its view.
    assert image.array.shape == (384, 384, 19, 2) and (image.array[..., 1][label.array > 0] > 0).mean() > 0.99
