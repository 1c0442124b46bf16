import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmedcai.data.folds import (
    Fold,
    PatientFolds,
    folds_by_subject,
    half_split,
    leave_one_out,
    patient_folds,
    split,
)


@given(count=st.integers(10, 500), seed=st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_every_image_is_in_exactly_one_part(count, seed):
    parts = split(count, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    assert abs(len(parts.training) - 0.7 * count) <= 1


def test_the_seed_decides():
    np.testing.assert_array_equal(split(50, seed=1).test, split(50, seed=1).test)
    assert split(50, seed=1).test.tolist() != split(50, seed=2).test.tolist()


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_split_are_refused(fractions):
    with pytest.raises(ValueError, match="`fractions` must be 3 numbers"):
        split(100, fractions)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="`count` must be enough"):
        split(3)
    assert [len(part) for part in split(3, (1.0, 0.0, 0.0))] == [3, 0, 0]


@given(subjects=st.lists(st.integers(0, 6), min_size=8, max_size=60), folds=st.integers(2, 4), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_no_subject_is_in_training_and_test(subjects, folds, seed):
    subjects = np.array([*subjects, 10, 11, 12, 13])
    parts = folds_by_subject(subjects, folds, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in parts])), np.arange(len(subjects)))
    for training, test in parts:
        assert not set(subjects[training]) & set(subjects[test])
        assert len(training) + len(test) == len(subjects)


@pytest.mark.parametrize("folds", [1, 3])
def test_too_few_subjects_are_refused(folds):
    with pytest.raises(ValueError, match="`folds` must be from 2 to the number of subjects, 2"):
        folds_by_subject([1, 1, 2], folds)


@given(
    owners=st.lists(st.sampled_from("abcdefg"), min_size=4, max_size=30),
    folds=st.integers(2, 4),
    seed=st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_no_patient_is_in_two_parts(tmp_path_factory, owners, folds, seed):
    patients = {f"case{index:02d}": owner for index, owner in enumerate([*owners, *"wxyz"])}
    made = patient_folds(patients, folds, seed)
    path = tmp_path_factory.mktemp("folds") / "folds.json"
    made.write(path)
    assert PatientFolds.read(path, patients) == made
    assert made == patient_folds(dict(reversed(patients.items())), folds, seed)
    for fold in made.folds:
        training, validation = ({patients[case] for case in part} for part in (fold.training, fold.validation))
        assert training and validation and not training & validation
        assert sorted(fold.training + fold.validation) == sorted(patients)
    assert sorted(case for fold in made.folds for case in fold.validation) == sorted(patients)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["patients"].update(a="pb"), "No patient may be in training and validation of a fold. Received pb"),
        (lambda e: e["folds"][0]["training"].pop(), "Every case must be in the training or validation part"),
        (lambda e: e["folds"].pop(), "Every case must be in the validation part of one fold"),
        (lambda e: e.pop("seed"), "these are no folds by patient .*'seed'"),
        (lambda e: e["folds"][0].update(validation=3), "these are no folds by patient"),
    ],
)
def test_an_edited_file_that_leaks_is_refused(tmp_path, change, message):
    path = tmp_path / "folds.json"
    patients = {name: f"p{name}" for name in "abcd"}
    patient_folds(patients, 2).write(path)
    for others in ({**patients, "e": "pe"}, {**patients, "a": "other"}):
        with pytest.raises(ValueError, match=r"these folds are of other cases; [ea] is new or gone"):
            PatientFolds.read(path, others)
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message) as error:
        PatientFolds.read(path, patients)
    assert str(error.value).startswith(str(path))


def test_folds_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: there is no such file"):
        PatientFolds.read(tmp_path / "none.json", {})
    with pytest.raises(ValueError, match="Every case"):
        PatientFolds({"a": "a"}, (Fold(("a",), ("b",)),), 0)


def test_half_of_every_sequence_comes_before_the_other():
    rng = np.random.default_rng(0)
    sequences, numbers = rng.choice(["a", "b", "c"], 60), rng.permutation(60)
    training, test = half_split(sequences, numbers)
    assert sorted([*training, *test]) == list(range(60))
    for name in "abc":
        first, second = (numbers[part][sequences[part] == name] for part in (training, test))
        assert first.max() < second.min() and 0 <= len(second) - len(first) <= 1


def test_each_group_is_left_out_once():
    groups = ["s2", "s1", "s2", "s3"]
    assert [test.tolist() for _, test in leave_one_out(groups)] == [[1], [0, 2], [3]]
    assert all(not set(training) & set(test) for training, test in leave_one_out(groups))
    with pytest.raises(ValueError, match="2 or more names"):
        leave_one_out(["a", "a"])
