"""Simulated endoscopy: reproducible video, masks and joints that fit each other and the picture."""

import numpy as np
import pytest

from tfmedcai.simulators.endoscopy import EndoscopyScene, simulate

SMALL = (96, 128)
PLACES = ("retina", "abdomen")


@pytest.mark.parametrize("place", PLACES)
def test_the_same_numbers_give_the_same_frame_and_others_another(place):
    scene = EndoscopyScene(place, SMALL)
    first = simulate(scene, 3, 7)
    assert first.image.dtype == np.uint8 and first.mask.dtype == np.uint8
    for part, again in zip(first, simulate(scene, 3, 7), strict=True):
        np.testing.assert_array_equal(part, again)
    assert np.abs(simulate(scene, 4, 7).image.astype(int) - first.image).mean() > 3


@pytest.mark.parametrize("place", PLACES)
def test_neighbouring_frames_are_alike_and_distant_ones_have_moved(place):
    scene = EndoscopyScene(place, SMALL, absence=0.0)
    joints = np.stack([simulate(scene, 1, frame).joints[:, 1] for frame in range(0, 60, 2)])
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    assert np.nanmax(steps) < 6 and np.nanmax(np.ptp(joints, axis=0)) > 10


@pytest.mark.parametrize("place", PLACES)
def test_joints_lie_on_their_parts(place):
    scene, on = EndoscopyScene(place, SMALL, absence=0.0), []
    for frame in range(0, 200, 10):
        made = simulate(scene, 2, frame)
        for instrument in made.joints:
            for x, y in instrument[np.isfinite(instrument).all(-1)]:
                on.append(made.mask[round(y), round(x)] > 0)
    assert len(on) > 40 and np.mean(on) > 0.9


def test_absent_instruments_leave_nothing():
    made = simulate(EndoscopyScene("abdomen", SMALL, absence=1.0), 0, 0)
    assert not made.mask.any() and np.isnan(made.joints).all()
    present = simulate(EndoscopyScene("abdomen", SMALL, absence=0.0), 0, 0)
    assert set(np.unique(present.mask)) == {0, 1, 2}
    # The left instrument comes from the left.
    assert present.joints[0, 0, 0] < present.joints[0, 1, 0] and present.joints[1, 0, 0] > present.joints[1, 1, 0]


def test_the_pupil_hides_what_is_behind_it():
    made = simulate(EndoscopyScene("retina", SMALL, absence=0.0, highlights=0.0), 0, 0)
    assert made.image[:6, :6].mean() < 0.3 * made.image[30:66, 46:82].mean()
    assert not made.mask[:6].any()


def test_highlights_and_noise():
    plain = simulate(EndoscopyScene("abdomen", SMALL, highlights=0.0, noise=0.0), 5, 5).image
    wet = simulate(EndoscopyScene("abdomen", SMALL, highlights=1.0, noise=0.0), 5, 5).image
    noisy = simulate(EndoscopyScene("abdomen", SMALL, highlights=0.0, noise=6.0), 5, 5).image
    assert (wet > plain + 60.0).any()
    assert np.std(noisy.astype(float) - plain) == pytest.approx(6.0, abs=0.5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"place": "knee"}, "`place` must be one of retina, abdomen"),
        ({"image_size": (8, 64)}, "`image_size` must be height and width from 16 px"),
        ({"absence": 1.5}, "`absence` must be from 0 to 1"),
        ({"noise": -1.0}, "`noise` must be 0 or more"),
    ],
)
def test_bad_settings(options, says):
    with pytest.raises(ValueError, match=says):
        EndoscopyScene(**options)
