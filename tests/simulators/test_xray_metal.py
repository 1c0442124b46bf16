import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.pose import image_pose_from_pose, pose_from_image_pose, rotation_matrix
from tfmedcai.simulators.xray_draws import Draws
from tfmedcai.simulators.xray_metal import INSTRUMENTS, optical_depth
from tfmedcai.simulators.xray_solids import Rays

CAMERA = Camera.from_c_arm(pixel_mm=0.235, image_size=(160, 200))


def render(name, angle, tilt, draw=0, change=lambda parameters: None, finest_mm=0.14):
    wanted = tf.constant([[110.3, 72.6, angle, tilt, 0.14]])
    pose = pose_from_image_pose(wanted, CAMERA, roll=1.0)
    slopes = CAMERA.rays()
    rays = Rays(slopes[0, :, 0], slopes[:, :1, 1], rotation_matrix(pose)[0], pose[0, 3:])
    parameters = INSTRUMENTS[name].sample(Draws(draw, 1))
    change(parameters)
    parameters = tf.nest.map_structure(tf.constant, parameters)
    depth = optical_depth(INSTRUMENTS[name], parameters, rays, finest_mm)
    return depth.numpy(), image_pose_from_pose(pose, CAMERA)[0].numpy(), parameters


def straightened(image, label, reach=90, step=0.25):
    """Samples the image in the frame of its label: rows across, columns along, px from the origin."""
    along, across = np.meshgrid(np.arange(-reach, reach, step), np.arange(-30, 30, step))
    angle = label[2]
    rows = label[1] - along * math.sin(angle) + across * math.cos(angle)
    columns = label[0] + along * math.cos(angle) + across * math.sin(angle)
    return map_coordinates(image, [rows, columns], order=1, cval=0.0), along, across


def symmetrical(parameters):
    """Takes away what is not symmetrical about the axis: threads, flutes, the sleeve of a wire."""
    if "detail" in parameters:
        parameters["detail"][0][3] = 0.0
    elif len(parameters["near"]) == 1:
        for cylinder, _ in parameters["far"][1:]:
            cylinder[3] = 0.0


@pytest.mark.parametrize("name", INSTRUMENTS)
@pytest.mark.parametrize(("angle", "tilt"), [(0.5, 0.0), (2.9, 0.8), (-1.6, -0.7)])
def test_the_axis_of_what_is_drawn_is_that_of_the_label(name, angle, tilt):
    image, label, _ = render(name, angle, tilt, change=symmetrical)
    straight, along, across = straightened(image, label)
    # Beside the head of the screw, and behind the point of the wire.
    low, high = {"screw": (0.9, 3.0), "guide_wire": (-11.5, -7.0)}.get(name, (-7.5, -5.0))
    millimetres = along[0] * 0.14 / math.cos(tilt)
    part = (millimetres > low) & (millimetres < high)
    centres = (straight * across).sum(0)[part] / straight.sum(0)[part]
    slope, offset = np.polyfit(along[0, part], centres, 1)
    assert abs(centres.mean()) < 0.1, "px beside the axis"
    assert abs(offset) < 0.3, "px beside the origin"
    assert abs(math.degrees(math.atan(slope))) < 0.5


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_nothing_near_the_origin_lies_outside_the_window(name):
    for draw, tilt in enumerate((0.0, 1.0)):
        np.testing.assert_allclose(render(name, 0.8, tilt, draw)[0], render(name, 0.8, tilt, draw, finest_mm=0.03)[0])


@pytest.mark.parametrize("name", ["guide_wire", "drill", "robot"])
def test_a_tool_ends_at_the_origin(name):
    for draw in range(3):
        image, label, _ = render(name, 0.5, 0.0, draw)
        straight, along, across = straightened(image, label)
        middle = straight[np.abs(across[:, 0]) < 1].mean(0)
        # The points of wire and drill are too thin to be seen for the last tenths of a millimetre.
        seen = along[0, middle > 0.02 * middle.max()].max()
        assert -0.4 / 0.14 < seen < 1.0
        assert middle[along[0] > 1.5].max() == 0


def test_the_flat_nose_of_a_robot_is_a_step_at_the_origin():
    for draw in range(3):
        image, label, _ = render("robot", 0.5, 0.0, draw)
        straight, along, across = straightened(image, label)
        profile = straight[np.abs(across[:, 0]) < 1].mean(0)
        nose = profile[(along[0] > -3.0) & (along[0] < -1.5)].mean()
        edge = np.interp(0.5 * nose, profile[::-1][: profile.size // 2], along[0, ::-1][: profile.size // 2])
        assert abs(edge) < 0.3


def test_the_head_of_a_screw_is_centred_at_the_origin():
    for draw in range(3):
        image, label, parameters = render("screw", 0.5, 0.0, draw)
        straight, along, _ = straightened(image, label)
        thickness = float(parameters["detail"][0][1]) / 0.14
        profile = straight.sum(0)
        back = along[0, np.argmax(profile > 0.5 * profile[np.abs(along[0]) < 2].mean())]
        assert abs(back + thickness / 2) < 1.0


@pytest.mark.parametrize(
    ("name", "from_mm", "to_mm", "least", "most"),
    [("guide_wire", -8.0, -7.0, 1.0, 3.0), ("drill", -4.0, -3.0, 0.6, 3.2), ("screw", 2.0, 3.0, 0.9, 1.9)],
)
def test_thickness_is_in_mm(name, from_mm, to_mm, least, most):
    image, label, _ = render(name, 0.5, 0.0, change=symmetrical if name == "guide_wire" else lambda parameters: None)
    straight, along, across = straightened(image, label)
    profile = straight[:, (along[0] > from_mm / 0.14) & (along[0] < to_mm / 0.14)].max(1)
    inside = across[profile > 0.1 * profile.max(), 0]
    assert least - 0.15 < (inside.max() - inside.min()) * 0.14 < most + 0.15


def test_the_sleeve_of_a_guide_wire_begins_behind_the_tip():
    starts = []
    for draw in range(200):
        cylinder, faces = INSTRUMENTS["guide_wire"].sample(Draws(draw))["far"][1]
        assert cylinder[0] > np.hypot(*cylinder[1:3])
        starts.append(-faces[0, 3] / faces[0, 0])
    assert 5 <= min(starts) and np.mean(np.array(starts) <= 15) > 0.7
