"""The camera: similar triangles, pixels that are not square, other sizes, and mirrored images."""

from dataclasses import replace

import numpy as np
import pytest

from tfmedcai.geometry.camera import NOMINAL_C_ARM, Camera
from tfmedcai.geometry.pose import image_pose_from_pose, pose_from_image_pose

# The central ray meets the detector left of and below the image.
OBLIQUE = Camera.from_c_arm(1020.0, (0.2, 0.4), (300, 401), (-35.25, 420.5), 620.0)


def points(count=5):
    return np.random.default_rng(0).uniform([-50, -50, 400], [50, 50, 800], (2, count, 3))


def test_c_arm_has_its_principal_point_in_the_middle():
    camera = Camera.from_c_arm(source_detector_mm=1020.0, pixel_mm=0.2, image_size=(300, 401))
    assert camera == Camera(1020.0, (0.2, 0.2), (200.0, 149.5), (300, 401))
    assert camera.focal_length_px == (5100.0, 5100.0)


def test_the_nominal_c_arm():
    assert NOMINAL_C_ARM.image_size == (1536, 1536) and NOMINAL_C_ARM.source_detector_mm == 1020
    np.testing.assert_allclose(NOMINAL_C_ARM.project([0.0, 297.79, 1020.0]), [767.5, 767.5 + 1535], atol=1e-3)


def test_projects_by_similar_triangles():
    camera = Camera.from_c_arm(source_detector_mm=1000.0, pixel_mm=0.5, image_size=(101, 201))
    # 12 mm right and 3 mm up at 600 mm are 20 mm right and 5 mm up on the detector at 1000 mm.
    np.testing.assert_allclose(camera.project([12.0, -3.0, 600.0]), [100 + 40, 50 - 10], rtol=1e-6)
    assert camera.resolution_at(600.0) == pytest.approx(0.3)
    assert camera.depth_at(0.3) == pytest.approx(600.0)


def test_pixels_need_not_be_square_nor_the_central_ray_meet_the_image():
    # 10 mm right and down at half the distance are 20 mm on the detector, 100 px of 0.2 mm and 50 px of 0.4 mm.
    np.testing.assert_allclose(OBLIQUE.project([10.0, 10.0, 510.0]), [-35.25 + 100, 420.5 + 50], rtol=1e-6)


@pytest.mark.parametrize("camera", [Camera.from_c_arm(), OBLIQUE, replace(OBLIQUE, mirrored=True)])
def test_unproject_inverts_project(camera):
    np.testing.assert_allclose(camera.unproject(camera.project(points()), points()[..., 2]), points(), atol=1e-9)


def test_rays_pass_through_their_pixels():
    for camera in (Camera.from_c_arm(image_size=(4, 6)), replace(OBLIQUE, image_size=(4, 6))):
        rays = camera.rays().numpy()
        assert rays.shape == (4, 6, 3)
        x, y = np.meshgrid(np.arange(6), np.arange(4))
        np.testing.assert_allclose(camera.project(rays * 700), np.stack([x, y], axis=-1), atol=1e-3)


def test_a_mirrored_image_is_the_flipped_one():
    camera = Camera.from_c_arm(image_size=(300, 401), principal_point_px=(150.0, 149.5))
    mirrored = replace(camera, mirrored=True, principal_point_px=(400 - 150.0, 149.5))
    plain, flipped = (which.project(points()).numpy() for which in (camera, mirrored))
    np.testing.assert_allclose(flipped, [400, 0] + [-1, 1] * plain, atol=1e-9)


def test_another_size_shows_the_same_view():
    # The mean of blocks of pixels lies in the middle of the pixel that they become.
    small = OBLIQUE.resized((75, 100))
    assert small.image_size == (75, 100) and small.pixel_mm == pytest.approx((0.2 * 4.01, 1.6))
    expected = (OBLIQUE.project(points()) + 0.5) * [100 / 401, 1 / 4] - 0.5
    np.testing.assert_allclose(small.project(points()), expected, atol=1e-9)
    assert small.source_isocentre_mm == 620.0


def test_a_pose_in_the_image_needs_square_pixels_in_their_place():
    for camera in (OBLIQUE, replace(NOMINAL_C_ARM, mirrored=True)):
        with pytest.raises(ValueError, match="must be square, and the image not mirrored"):
            image_pose_from_pose([[0.0] * 5 + [600.0]], camera)
        with pytest.raises(ValueError, match="must be square, and the image not mirrored"):
            pose_from_image_pose([[0.0] * 4 + [0.15]], camera)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pixel_mm": 0.0}, r"`pixel_mm` \(mm\) and .* must be positive"),
        ({"pixel_mm": (0.2, -0.2)}, "must be positive"),
        ({"source_detector_mm": -1.0}, "must be positive"),
        ({"image_size": (0, 5)}, "must be positive"),
        ({"principal_point_px": (float("nan"), 0.0)}, "`principal_point_px` must be finite"),
        ({"source_isocentre_mm": 1000.0}, r"between 0 and source_detector_mm=1000\.0\. Received 1000\.0"),
    ],
)
def test_says_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        Camera.from_c_arm(**values)
