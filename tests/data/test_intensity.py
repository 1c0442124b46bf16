import numpy as np
import pytest

from tfmedcai.data.cases import patient_folders, read_case
from tfmedcai.data.intensity import clip, foreground, z_score
from tfmedcai.data.volumes import read_labels


def test_z_score_by_channel_inside_a_mask():
    rng = np.random.default_rng(0)
    image = rng.normal([50.0, -300.0], [2.0, 90.0], (12, 12, 12, 2))
    mask = np.zeros((12, 12, 12), bool)
    mask[2:9, 3:10, 1:11] = True
    scored = z_score(image, mask)
    assert scored.dtype == np.float32 and not scored[~mask].any()
    np.testing.assert_allclose(scored[mask].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scored[mask].std(axis=0), 1, atol=1e-6)
    assert image[0, 0, 0, 0] > 30  # the input is left alone


def test_z_score_of_integers_and_of_what_is_the_same_everywhere():
    image = np.zeros((4, 4, 4), np.int16)
    image[1:3] = 1000
    np.testing.assert_allclose(np.unique(z_score(image)), [-1, 1])
    np.testing.assert_array_equal(z_score(image, foreground(image)), 0)
    np.testing.assert_array_equal(z_score(image, np.zeros((4, 4, 4), bool)), 0)


def test_foreground_of_any_channel():
    image = np.full((3, 3, 3, 2), -7.0)
    image[1, 0, 0, 1] = 3
    np.testing.assert_array_equal(foreground(image)[:, 0, 0], [False, True, False])


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"`low` must be below `high`\. Received 5 and 5"):
        clip(np.zeros(3), 5, 5)
    with pytest.raises(ValueError, match=r"`mask` must have the grid of the volume, \(2, 2, 2\)"):
        z_score(np.zeros((2, 2, 2, 3)), np.zeros((2, 2, 3), bool))


def test_foreground_of_real_brains(real_data):
    case = patient_folders(real_data("mri/brain_brats2013_2mm"), ("flair", "t1c"), "brainmask")[0]
    image, _ = read_case(case)
    brain = read_labels(case.label).array > 0
    found = foreground(image.array)  # the background is the smallest value here, not 0
    assert (found & brain).sum() > 0.95 * (found | brain).sum()
    assert np.abs(z_score(image.array, found)[brain].mean(axis=0)).max() < 0.1
