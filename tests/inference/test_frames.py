"""Frames of any size and number of channels, and points that stay where they are in the picture."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.inference.frames import as_colour, moved_points, normalised, resized


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_becomes_colour(channels):
    frame = np.random.default_rng(0).integers(256, size=(1, 4, 5, channels), dtype=np.uint8)
    traced = tf.function(as_colour, input_signature=[tf.TensorSpec((None, None, None, None), tf.uint8)])
    colour = traced(frame).numpy()
    assert colour.shape == (1, 4, 5, 3)
    np.testing.assert_array_equal(colour, frame[..., :3] if channels >= 3 else np.repeat(frame[..., :1], 3, -1))


def test_a_resized_frame_keeps_its_picture():
    rows, columns = np.mgrid[:40, :60].astype(np.float32)
    frame = np.stack([rows, columns, rows], -1)[None]
    for size in ((20, 30), (80, 120), (40, 60)):
        small = resized(tf.constant(frame), size).numpy()[0, 5:-5, 5:-5]
        y, x = np.mgrid[: size[0], : size[1]][:, 5:-5, 5:-5].astype(np.float32)
        places = moved_points(np.stack([x, y], -1), size, (40, 60)).numpy()
        np.testing.assert_allclose(small[..., [1, 0]], places, atol=0.02)


def test_normalised_is_about_standard():
    frame = normalised(np.full((2, 2, 3), 255, np.uint8)).numpy()
    assert frame.dtype == np.float32 and frame.max() == pytest.approx((255 - 103.939) / 58)
