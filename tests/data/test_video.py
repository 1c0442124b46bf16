"""Video in and out: frames keep their numbers, damaged ones are left out and said, odd sizes are written."""

import numpy as np
import pytest

from tfmedcai.data.video import frame_rate, read_video, write_video


def numbered(count, size=(48, 64)):
    """Frames whose brightness says which they are."""
    return [np.full((*size, 3), 10 + 6 * number, np.uint8) for number in range(count)]


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_frames_come_back_in_order(tmp_path, suffix):
    path = tmp_path / f"video{suffix}"
    assert write_video(path, numbered(20), rate=25) == 20
    frames = list(read_video(path))
    assert [number for number, _ in frames] == list(range(20))
    np.testing.assert_allclose([image.mean() for _, image in frames], 10 + 6 * np.arange(20), atol=3)
    assert frame_rate(path) == 25 and frames[0][1].shape == (48, 64, 3) and frames[0][1].dtype == np.uint8


def test_odd_sizes_are_filled_up(tmp_path):
    write_video(tmp_path / "video.mp4", numbered(3, (33, 51)), rate=12.5)
    assert [image.shape for _, image in read_video(tmp_path / "video.mp4")] == [(34, 52, 3)] * 3
    assert frame_rate(tmp_path / "video.mp4") == 12.5


def test_damaged_frames_are_left_out_and_the_others_keep_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(256, size=(48, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = tmp_path / "video.mkv"
    write_video(path, frames, rate=25)
    whole = dict(read_video(path))
    data = bytearray(path.read_bytes())
    place = len(data) // 2
    data[place : place + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"video\.mkv: \d+ damaged frames are left out"):
        rest = dict(read_video(path))
    assert 0 < len(rest) < len(whole) and set(rest) <= set(whole)
    np.testing.assert_array_equal(rest[0], whole[0])


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for path in (tmp_path / "text.mp4", tmp_path / "nowhere.mp4"):
        with pytest.raises(ValueError, match=f"{path.name}: cannot read this video"):
            list(read_video(path))


def test_frames_of_another_size_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must have the shape of the first"):
        write_video(tmp_path / "video.mp4", [*numbered(1), *numbered(1, (32, 32))], 25)
