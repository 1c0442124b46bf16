"""Edges lie where the rendering changes, over an unchanged X-ray image."""

import itertools

import numpy as np
import pytest

from tfmedcai.reports.registration_overlay import course_frames, overlay_edges, overlay_figure

RADIOGRAPH = np.tile(np.linspace(0, 1, 80), (64, 1))


def box(left, top):
    image = np.zeros((64, 80))
    image[top : top + 20, left : left + 24] = 2.5
    return image


def yellow(picture):
    return (picture == (255, 214, 10)).all(axis=-1)


def test_edges_are_where_the_rendering_changes():
    picture = overlay_edges(RADIOGRAPH, box(30, 20))
    assert picture.dtype == np.uint8 and picture.shape == (512, 640, 3)
    rows, columns = np.nonzero(yellow(picture))
    # The edge of pixel i is at i, in pixels of 1/8.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((160, 319, 240, 431), abs=3)
    inside = (rows > 170) & (rows < 310) & (columns > 250) & (columns < 420)
    assert not inside.any()
    # Two px wide along the whole outline, but for its round corners.
    assert 2 * 2 * (160 + 192) * 0.85 < len(rows) < 2 * 2 * (160 + 192) * 1.1
    grey = picture[~yellow(picture)]
    assert (grey == grey[:, :1]).all()
    assert picture[500, :, 0].tolist() == sorted(picture[500, :, 0]) and set(picture[500, [0, -1], 0]) == {0, 255}


def test_the_unit_of_the_rendering_and_weak_edges_do_not_matter():
    expected = yellow(overlay_edges(RADIOGRAPH, box(30, 20)))
    for scale in (1e-6, 1e6):
        np.testing.assert_array_equal(yellow(overlay_edges(RADIOGRAPH, scale * box(30, 20))), expected)
    faint = yellow(overlay_edges(RADIOGRAPH, box(30, 20) + 0.05 * box(2, 40)))
    assert not faint[350:].any() and faint.any()


def test_a_rendering_of_nothing_has_no_edges():
    for nothing in (np.zeros((64, 80)), np.ones((64, 80))):
        assert not yellow(overlay_edges(RADIOGRAPH, nothing)).any()
    assert not overlay_edges(nothing, nothing).any()


def test_large_images_keep_their_size_and_any_colour_will_do():
    image = np.zeros((520, 600))
    image[100:200, 100:200] = 1
    picture = overlay_edges(image, image, "#00ff00")
    assert picture.shape == (520, 600, 3)
    assert (picture == (0, 255, 0)).all(axis=-1)[150, 98:103].any()


def test_the_figure_shows_the_image_alone_and_each_rendering():
    figure = overlay_figure(RADIOGRAPH, {"start": box(10, 10), "found": box(30, 20)})
    assert [axes.get_title() for axes in figure.axes] == ["X-ray image", "start", "found"]
    shown = [yellow(axes.images[0].get_array()) for axes in figure.axes]
    assert not shown[0].any()
    np.testing.assert_array_equal(shown[2], yellow(overlay_edges(RADIOGRAPH, box(30, 20))))
    figure.draw_without_rendering()


def test_frames_come_one_by_one_with_their_labels():
    frames = course_frames(RADIOGRAPH, (box(left, 20) for left in itertools.count(30)))
    first, second = itertools.islice(frames, 2)
    assert first.shape == second.shape == (512, 640, 3) and (first != second).any()
    plain = overlay_edges(RADIOGRAPH, box(30, 20))
    changed = np.argwhere((first != plain).any(axis=-1))
    assert len(changed) and changed.max() < 200
    (named,) = course_frames(RADIOGRAPH, [box(30, 20)], ["3.2 mm"])
    assert (named != first).any()


def test_says_what_is_wrong():
    for wrong in (np.zeros((64, 81)), np.zeros((64, 80, 1))):
        with pytest.raises(ValueError, match="one size"):
            overlay_edges(RADIOGRAPH, wrong)
    with pytest.raises(ValueError, match="shorter"):
        list(course_frames(RADIOGRAPH, 2 * [box(30, 20)], ["only one"]))
