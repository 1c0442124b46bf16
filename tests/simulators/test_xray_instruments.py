import math

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tfmedcai.geometry.landmarks import LANDMARKS_MM, project_landmarks
from tfmedcai.geometry.pose import image_pose_from_pose
from tfmedcai.simulators.xray_instruments import XRayScene, dataset, simulate

PLAIN = XRayScene(
    "robot",
    image_size=(176, 192),
    depth_mm=(560, 680),
    max_tilt_deg=40,
    margin_px=70,
    anatomy=0,
    noise=0,
    domain_randomisation=0,
)
VARIED = XRayScene("guide_wire", image_size=(96, 128), domain_randomisation=1.0, subjects=(7, 9))


@pytest.fixture(scope="module")
def varied():
    return [{name: value.numpy() for name, value in sample.items()} for sample in dataset(VARIED, 24, seed=3)]


def test_a_sample_has_the_promised_form(varied):
    for sample in varied:
        assert sample["image"].shape == (96, 128) and sample["image"].dtype == np.float32
        assert 0 <= sample["image"].min() and sample["image"].max() <= 1
        assert sample["image_pose"].shape == (5,) and sample["pose"].shape == (6,)
        assert sample["subject"].dtype == np.int64


@pytest.mark.parametrize("index", [0, 11])
def test_an_image_alone_is_that_of_the_data_set(varied, index):
    alone = simulate(VARIED, seed=3, index=index)
    for name, value in varied[index].items():
        np.testing.assert_allclose(alone[name], value, rtol=1e-5, atol=1e-5)


def test_seeds_and_indices_give_other_images(varied):
    assert len({sample["image"].tobytes() for sample in varied}) == len(varied)
    assert np.abs(simulate(VARIED, seed=4, index=0)["image"] - varied[0]["image"]).mean() > 0.01


def test_labels_agree_with_each_other_and_with_the_settings(varied):
    image_poses = np.stack([sample["image_pose"] for sample in varied])
    poses = np.stack([sample["pose"] for sample in varied])
    np.testing.assert_allclose(image_pose_from_pose(poses, VARIED.camera), image_poses, rtol=1e-5)
    assert image_poses[:, :2].min() > 19.9 and (image_poses[:, :2] < [127 - 19.9, 95 - 19.9]).all()
    assert np.abs(image_poses[:, 3]).max() <= math.radians(60.01) and np.ptp(image_poses[:, 2]) > 5
    assert 0.10 < image_poses[:, 4].min() < 0.12 and 0.2 < image_poses[:, 4].max() < 0.22
    assert {int(sample["subject"]) for sample in varied} == {7, 8}


def test_axis_and_origin_in_the_image_are_those_of_the_landmarks():
    for index in range(6):
        sample = simulate(PLAIN, seed=5, index=index)
        image, label = 0.5 - sample["image"].numpy(), sample["image_pose"].numpy()
        landmarks = project_landmarks(label[np.newaxis], LANDMARKS_MM["robot"])[0].numpy()
        origin, back = landmarks[0], landmarks[2] - landmarks[0]
        unit, reach = back / np.linalg.norm(back), np.linalg.norm(back)
        # Straightened: columns run along the axis, from ahead of the nose to 7 mm behind it, rows across it.
        along, across = np.meshgrid(np.arange(-12, 7 / 3 * reach, 0.1), np.arange(-22, 22.01, 0.1))
        columns = origin[0] + along * unit[0] - across * unit[1]
        rows = origin[1] + along * unit[1] + across * unit[0]
        straight = map_coordinates(image, [rows, columns], order=1)
        # Scatter makes the background uneven.
        dark = np.maximum(straight - 0.25 * straight.max(), 0.0)[:, along[0] > 0.6 * reach]
        centres = (dark * across[:, :1]).sum(0) / dark.sum(0)
        slope, offset = np.polyfit(along[0, along[0] > 0.6 * reach], centres, 1)
        assert abs(offset) < 0.3, "px beside the origin"
        assert abs(math.degrees(math.atan(slope))) < 0.5


def test_domain_randomisation_makes_images_differ_in_brightness(varied):
    plain = [simulate(PLAIN, seed=0, index=index)["image"].numpy().mean() for index in range(8)]
    assert np.std(plain) < 0.03 < 0.08 < np.std([sample["image"].mean() for sample in varied])


def test_an_empty_data_set_is_empty():
    assert list(dataset(VARIED, 0, seed=0)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instrument": "spoon"}, "`instrument` must be one of screw, guide_wire, drill, robot. Received 'spoon'"),
        ({"image_size": (40, 512)}, r"`image_size` must be \(height, width\) in px, each more than twice"),
        ({"blur_px": (1.0,)}, r"`blur_px` must be two numbers. Received \(1.0,\)"),
        ({"pixel_mm": 0.0}, "`pixel_mm` must be more than 0 mm. Received 0.0"),
        ({"depth_mm": (500.0, 1200.0)}, "`depth_mm` must be"),
        ({"max_tilt_deg": 80}, "`max_tilt_deg` must be from 0 to 60 deg. Received 80"),
        ({"subjects": (3, 3)}, "`subjects` must be"),
        ({"blur_px": (1.0, 5.0)}, "`blur_px` must be"),
        ({"noise": -1.0}, "`noise` must be 0 or more"),
        ({"anatomy": -1.0}, "`anatomy` must be 0 or more"),
        ({"domain_randomisation": 1.5}, "`domain_randomisation` must be from 0 to 1. Received 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        XRayScene(**changes)


def test_settings_from_a_file_have_lists_and_are_the_same():
    assert hash(XRayScene(image_size=[64, 96])) == hash(XRayScene(image_size=(64, 96)))


def test_negative_seeds_and_counts_are_refused():
    with pytest.raises(ValueError, match="`seed` and `index` must not be negative"):
        simulate(VARIED, seed=-1, index=0)
    with pytest.raises(ValueError, match="`count` and `seed` must not be negative"):
        dataset(VARIED, count=-2, seed=0)
