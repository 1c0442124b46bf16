"""The picture of the frames shows what the projector does, in every axis."""

import itertools

import numpy as np
import pytest

from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.reports.c_arm_figure import (
    AXIS_MM,
    C_ARM,
    CAMERA,
    IMAGE,
    MOVED,
    PATIENT,
    VOLUME,
    ZERO,
    c_arm_figure,
    seen,
)

LEFT_HAND = PATIENT[3][-1]
TOES = PATIENT[4][-1]


@pytest.fixture(scope="module")
def figure():
    return c_arm_figure()


def of_colour(axes, colour):
    return [one.get_xydata() for one in axes.lines if one.get_color() == colour]


def arrows(axes, colour):
    """Tails and tips of arrows by the first letter of their names, which are written after them."""
    made = [one for one in axes.texts if getattr(one, "arrow_patch", None) and not one.get_text()]
    names = [one.get_text()[0] for one in axes.texts if one.get_color() == colour and one.get_text()[0] in "xyz"]
    of_it = [one for one in made if one.arrowprops["color"] == colour]
    return {name: np.array([one.get_position(), one.xy]) for name, one in zip(names, of_it, strict=False)}


def test_the_patient_stands_as_volumes_do():
    """x to the left, y to the feet, z to the back: the raised hand is left, nose and toes are before the rest."""
    assert LEFT_HAND[0] > 0 and LEFT_HAND[1] < -80
    assert TOES[1] > 80 and TOES[2] < 0
    assert PATIENT[1][1, 2] < 0


def test_marked_points_are_seen_where_the_projector_shows_them():
    size, spacing = 61, 4.0
    places = np.round(np.stack([LEFT_HAND, TOES / 3, PATIENT[1][1]]) / spacing)
    volumes = np.zeros((3, size, size, size, 1), np.float32)
    for volume, index in zip(volumes, places[:, ::-1].astype(int) + size // 2, strict=True):
        volume[tuple(index)] = 1.0
    project = ProjectiveSpatialTransformer(CAMERA, (spacing,) * 3, differentiable=False)
    images = project([volumes, np.tile([ZERO, MOVED], (3, 1, 1))])[..., 0].numpy()
    rows, columns = np.indices(images.shape[2:])
    for place, views in zip(places * spacing, images, strict=True):
        for pose, image in zip((ZERO, MOVED), views, strict=True):
            expected = np.average(columns, weights=image), np.average(rows, weights=image)
            np.testing.assert_allclose(seen(pose, place[np.newaxis])[0], expected, atol=0.2)


def test_the_image_has_the_left_hand_at_its_upper_right(figure):
    image = figure.axes[1]
    hand = of_colour(image, IMAGE)[3][-1]
    np.testing.assert_allclose(hand, seen(ZERO, LEFT_HAND[np.newaxis])[0])
    assert hand[0] > 200 and hand[1] < 100
    assert image.get_ylim() == (339.5, -0.5) and image.get_xlim() == (-0.5, 339.5)
    places = {text.get_text(): text.get_position() for text in image.texts}
    assert places["left side"][0] > places["right side"][0] + 200


def test_the_shadow_lies_where_rays_through_the_patient_end(figure):
    """In the picture too, which is parallel: hand, shadow and source on one line, by the same ratio."""
    for axes in (figure.axes[0], figure.axes[2]):
        patient = of_colour(axes, VOLUME)[-len(PATIENT) :]
        shadows = of_colour(axes, IMAGE)[1 : 1 + len(PATIENT)]
        (source,) = (line[0] for line in of_colour(axes, C_ARM))
        for stroke, shadow in zip(patient, shadows, strict=True):
            along, whole = stroke - source, shadow - source
            np.testing.assert_allclose(along[:, 0] * whole[:, 1], along[:, 1] * whole[:, 0], atol=1e-6 * 640**2)
            assert (np.linalg.norm(whole, axis=1) > np.linalg.norm(along, axis=1)).all()


def test_axes_are_those_of_the_frames(figure):
    """Arrows are parallel projections, so their tips add up as the vectors do that they stand for."""
    still, moved = (arrows(axes, C_ARM) for axes in (figure.axes[0], figure.axes[2]))
    of_volume = {name: np.ptp(ends, axis=0) * np.sign(ends[1] - ends[0]) / AXIS_MM for name, ends in still.items()}
    basis = np.stack([of_volume[name] for name in "xyz"])
    turn = np.array([[1, 0, 0], [0, np.cos(0.4), -np.sin(0.4)], [0, np.sin(0.4), np.cos(0.4)]])
    assert MOVED[:3].tolist() == [0.4, 0, 0]
    for number, name in enumerate("xyz"):
        tail, tip = moved[name]
        np.testing.assert_allclose(tail, MOVED[3:] @ basis, atol=1e-6)
        np.testing.assert_allclose(tip - tail, AXIS_MM * turn[:, number] @ basis, atol=1e-6)
    # x comes to the reader, to the right and down; y goes down; z to the right.
    assert basis[0, 0] > 0 > basis[0, 1] and basis[1, 0] == pytest.approx(0) and basis[1, 1] < 0 < basis[2, 0]


def test_it_is_a_picture_without_overlaps_of_its_panels(figure, tmp_path):
    figure.savefig(tmp_path / "frames.png", dpi=50)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(not a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all((box.min >= figure.bbox.min).all() and (box.max <= figure.bbox.max).all() for box in boxes)
