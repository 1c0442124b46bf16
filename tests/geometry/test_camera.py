"""Tests of the camera."""

import numpy as np
import pytest

from tfmedcai.geometry.camera import Camera


def test_c_arm_has_its_principal_point_in_the_middle():
    camera = Camera.from_c_arm(source_detector_mm=1020.0, pixel_mm=0.2, image_size=(300, 401))
    assert camera == Camera(5100.0, (200.0, 149.5), 1020.0, (300, 401))


def test_projects_by_similar_triangles():
    camera = Camera.from_c_arm(source_detector_mm=1000.0, pixel_mm=0.5, image_size=(101, 201))
    # 12 mm right and 3 mm up at 600 mm are 20 mm right and 5 mm up on the detector at 1000 mm.
    np.testing.assert_allclose(camera.project([12.0, -3.0, 600.0]), [100 + 40, 50 - 10], rtol=1e-6)
    assert camera.resolution_at(600.0) == pytest.approx(0.3)


def test_unproject_inverts_project():
    camera = Camera.from_c_arm()
    points = np.random.default_rng(0).uniform([-50, -50, 400], [50, 50, 800], (2, 5, 3))
    np.testing.assert_allclose(camera.unproject(camera.project(points), points[..., 2]), points, atol=1e-9)


def test_rays_pass_through_their_pixels():
    camera = Camera.from_c_arm(image_size=(4, 6))
    rays = camera.rays().numpy()
    assert rays.shape == (4, 6, 3)
    x, y = np.meshgrid(np.arange(6), np.arange(4))
    np.testing.assert_allclose(camera.project(rays * 700), np.stack([x, y], axis=-1), atol=1e-3)


def test_refuses_lengths_that_are_not_positive():
    with pytest.raises(ValueError, match="pixel_mm"):
        Camera.from_c_arm(pixel_mm=0.0)
    with pytest.raises(ValueError, match="must be positive"):
        Camera.from_c_arm(source_detector_mm=-1.0)
