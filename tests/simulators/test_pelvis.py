"""Simulated pelves: the same number is the same subject, bones lie where they belong."""

import numpy as np
import pytest
from scipy import ndimage

from tfmedcai.simulators.pelvis import LABELS, PelvisScene, simulate

SCENE = PelvisScene((48, 48, 48), (6.25, 6.25, 6.25))


@pytest.fixture(scope="module")
def subjects():
    return [simulate(SCENE, number) for number in (0, 0, 1)]


def test_subjects_are_reproducible_and_differ(subjects):
    for a, b in zip(subjects[0], subjects[1], strict=True):
        np.testing.assert_array_equal(a, b)
    bones = [subject.labels > 0 for subject in subjects]
    overlap = 2 * np.sum(bones[0] & bones[2]) / (np.sum(bones[0]) + np.sum(bones[2]))
    assert 0.3 < overlap < 0.9


@pytest.mark.parametrize("number", [0, 2])
def test_anatomy(subjects, number):
    hu, labels = subjects[number]
    assert set(np.unique(labels)) == {0, *LABELS}
    back, feet, left = (dict(zip(LABELS, axis, strict=True)) for axis in zip(*_middles(labels), strict=True))
    for bone in (1, 4):  # to the left of its twin
        assert left[bone] - left[bone + 1] > 100
        assert abs(feet[bone] - feet[bone + 1]) < 25
    assert feet[6] < feet[3] < feet[4], "vertebrae, sacrum, femurs downwards"
    assert back[3] > max(back[4], back[5]), "the sacrum lies behind the hip joints"
    assert hu[labels > 0].mean() > 250 > hu[labels == 0].mean()
    assert hu[0, 0, 0] < -900


def test_without_variety_there_is_one_shape():
    plain = PelvisScene((24, 24, 24), (12.5,) * 3, variety=0.0)
    np.testing.assert_array_equal(simulate(plain, 0).labels, simulate(plain, 1).labels)


def _middles(labels):
    return [(np.array(ndimage.center_of_mass(labels == number)) - 23.5) * 6.25 for number in LABELS]


@pytest.mark.parametrize("wrong", [{"size": (8, 8)}, {"spacing_mm": (1.0, 0.0, 1.0)}, {"variety": -1.0}])
def test_wrong_settings(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        PelvisScene(**wrong)
