"""Frames: joints and masks as they are known, pictures of any kind, and what cannot be read is left out and said."""

import numpy as np
import pytest
from PIL import Image

from tfmedcai.data.frames import UNKNOWN, Frame, pictures_in, read_frames, read_picture
from tfmedcai.data.video import write_video
from tfmedcai.geometry.capsules import Part


def saved(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return path


def test_joints_that_are_outside_absent_or_unknown(tmp_path):
    points = {"a": (3.0, 4.0), "b": (64.0, 4.0), "c": (np.nan, np.nan)}
    places, known = Frame("s", "g", 0, tmp_path, points).places(["d", "c", "b", "a"], (48, 64))
    np.testing.assert_array_equal(places, [[np.nan] * 2] * 3 + [[3, 4]])
    assert known.tolist() == [False, True, True, True]


def test_masks_are_drawn_read_or_unknown(tmp_path):
    image = tmp_path / "a.png"
    assert (Frame("s", "g", 0, image).labels((4, 5)) == UNKNOWN).all()
    assert not Frame("s", "g", 0, image, parts=()).labels((4, 5)).any()
    assert Frame("s", "g", 0, image, parts=(Part(2, (0, 1), (4, 1), 1),)).labels((4, 5))[1].tolist() == [2] * 5
    mask = saved(tmp_path / "mask.png", np.arange(20, dtype=np.uint8).reshape(4, 5))
    assert Frame("s", "g", 0, image, mask=mask).labels((4, 5))[1, 2] == 7
    with pytest.raises(ValueError, match=r"mask\.png: must be a grey 8-bit picture of 6 x 4 px"):
        Frame("s", "g", 0, image, mask=mask).labels((4, 6))


def test_pictures_of_any_kind_become_colours(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    colours = np.stack([grey, grey + 1, grey + 2], -1)
    alpha = np.concatenate([colours, np.full((3, 4, 1), 128, np.uint8)], -1)
    for array, expected in ((grey, np.repeat(grey[..., None], 3, -1)), (colours, colours), (alpha, colours)):
        np.testing.assert_array_equal(read_picture(saved(tmp_path / "p.png", array)), expected)
    sixteen = saved(tmp_path / "p.png", grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(sixteen), np.repeat(grey[..., None], 3, -1))


def test_damaged_pictures_are_left_out_and_said(tmp_path):
    good = saved(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 broken")
    frames = [Frame("s", "g", number, path) for number, path in enumerate(pictures_in(tmp_path))]
    with pytest.warns(UserWarning, match=r"b\.jpg: cannot read this picture .* The frame is left out"):
        read = list(read_frames(frames))
    assert [frame.image for frame, _ in read] == [good]


def test_frames_of_a_video_are_found_by_number(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, [np.full((32, 32, 3), 20 * number, np.uint8) for number in range(10)], 25)
    frames = [Frame("s", "g", number, path) for number in (7, 2, 30)]
    with pytest.warns(UserWarning, match=r"frames \[30\] are not there"):
        read = [(frame.number, round(image.mean() / 20)) for frame, image in read_frames(frames)]
    assert read == [(2, 2), (7, 7)]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        pictures_in(tmp_path / "nowhere")
