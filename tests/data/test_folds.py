import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmedcai.data.folds import folds_by_subject, split


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
