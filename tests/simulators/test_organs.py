import nibabel as nib
import numpy as np
import pytest

from tfmedcai.simulators.organ_anatomy import LABELS
from tfmedcai.simulators.organs import OrganScene, simulate

SMALL = OrganScene(size=(64, 52, 32), spacing=(5.2, 5.0, 6.0))


def test_every_patient_has_every_organ():
    for patient in range(4):
        sample = simulate(SMALL, patient)
        assert sample.image.shape == sample.label.shape == SMALL.size
        assert sample.image.dtype == np.int16 and sample.label.dtype == np.uint8
        assert set(LABELS) - {6} <= set(np.unique(sample.label))
    assert any((simulate(SMALL, patient).label == 6).any() for patient in range(4))


def test_the_number_of_the_patient_decides():
    first, again, other = (simulate(SMALL, patient) for patient in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.mean((first.label > 0) != (other.label > 0)) > 0.01
    bare = simulate(OrganScene(size=SMALL.size, spacing=SMALL.spacing, variety=0.0), 1).label
    still = simulate(OrganScene(size=SMALL.size, spacing=SMALL.spacing, variety=0.0), 2).label
    assert np.mean((bare == 2) != (still == 2)) < np.mean((first.label == 2) != (other.label == 2)) / 2


def test_grey_values_are_those_of_a_ct():
    sample = simulate(SMALL, 0)
    means = {name: sample.image[sample.label == number].mean() for number, name in LABELS.items()}
    assert 60 < means["liver"] < 150 and means["kidneys"] > means["liver"] and means["vertebrae"] > 100
    assert sample.image.min() == -1024 and (sample.image < -950).mean() > 0.15
    air = sample.image[:3, :3]
    assert np.abs(air.mean() + 1000) < 15


def test_noise_and_uneven_brightness():
    size, spacing = SMALL.size, SMALL.spacing
    plain, noisy = (simulate(OrganScene("ct", size, spacing, noise=n), 0) for n in (0.0, 1.0))
    np.testing.assert_array_equal(plain.label, noisy.label)
    difference = (noisy.image.astype(float) - plain.image)[noisy.label == 2]
    assert 5 < difference.std() < 30
    even, uneven = (simulate(OrganScene("mr", size, spacing, noise=0.0, bias=b), 0) for b in (0.0, 0.4))
    assert even.image.min() >= 0
    ratio = uneven.image[even.image > 200] / even.image[even.image > 200]
    assert 0.1 < np.log(ratio).std() < 0.8


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR"])
def test_orientation_and_spacing_of_the_files(orientation):
    scene = OrganScene(size=(40, 32, 20), spacing=(8.0, 8.0, 10.0), orientation=orientation)
    sample = simulate(scene, 0)
    assert "".join(nib.orientations.aff2axcodes(sample.affine)) == orientation
    reference = simulate(OrganScene(size=(40, 32, 20), spacing=(8.0, 8.0, 10.0), orientation="RAS"), 0)
    centres = []
    for one in (sample, reference):
        voxels = np.argwhere(one.label == 2).mean(axis=0)
        centres.append(nib.affines.apply_affine(one.affine, voxels))
    np.testing.assert_allclose(*centres, atol=1e-6)
    assert centres[0][0] > 20  # the liver is on the right


@pytest.mark.parametrize(
    "settings",
    [{"modality": "us"}, {"size": (4, 4)}, {"spacing": (1, 1, 0)}, {"orientation": "RAP"}, {"noise": -1}, {"bias": -1}],
)
def test_says_what_is_wrong(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
        OrganScene(**settings)
