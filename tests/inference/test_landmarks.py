"""Joints out of heatmaps and vectors: exact between pixels, in px of the frame whatever its size, with a mask."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.inference.landmarks import Reading, as_coordinates, coordinates, parts_of, peaks, track
from tfmedcai.losses.landmarks import heatmaps, peak

READING = Reading((48, 64), 2, peak(3.0))


def test_a_gaussian_is_found_between_the_pixels():
    rng = np.random.default_rng(0)
    points = rng.uniform(2, 30, size=(3, 4, 2)).astype(np.float32)
    places, values = peaks(heatmaps(points, (34, 34), 2.0))
    np.testing.assert_allclose(places, points, atol=2e-3)
    assert np.all(values > 0.85 * peak(2.0))


def test_at_the_border_and_without_a_peak():
    border = heatmaps([[[-3.0, 5.0]]], (12, 12), 2.0)
    assert np.all(np.abs(peaks(border)[0].numpy() - [0, 5]) <= 0.5)
    flat, values = peaks(tf.zeros((1, 8, 8, 3)) - 1.0)
    assert np.isfinite(flat).all() and np.all(values == -1)


def test_coordinates_are_read_as_they_are_written():
    points = np.random.default_rng(0).uniform(0, 40, size=(2, 3, 2)).astype(np.float32)
    vector = as_coordinates(points, (48, 64))
    assert vector.shape == (2, 6) and np.all(np.abs(as_coordinates([[[-0.5, 47.5]]], (48, 64))) == 1)
    np.testing.assert_allclose(coordinates(vector, (48, 64)), points, atol=1e-5)


@pytest.mark.parametrize(("size", "channels"), [((48, 64), 3), ((97, 131), 3), ((30, 41), 1), ((60, 50), 4)])
def test_joints_are_in_px_of_the_frame(size, channels):
    points = np.array([[[0.3 * size[1], 0.4 * size[0]], [0.7 * size[1], 0.2 * size[0]]]], np.float32)
    shrunk = (points + 0.5) * np.array([64 / size[1], 48 / size[0]], np.float32) - 0.5
    half = np.zeros((1, 24, 32, 1), np.float32)
    half[:, :, 16:] = 5

    def network(image):
        assert image.shape == (1, 48, 64, 3)
        return tf.concat([tf.zeros_like(half), half - 2.5, heatmaps(shrunk, (24, 32), 3.0, stride=2)], -1)

    traced = tf.function(lambda frames: track(network, frames, READING), autograph=False)
    found = traced(tf.zeros((1, *size, channels), tf.uint8))
    np.testing.assert_allclose(found["joints"], points, atol=0.05)
    assert np.all(found["confidence"] > 0.9)
    mask = found["mask"].numpy()[0]
    assert mask.shape == size and mask.dtype == np.uint8
    assert not mask[:, : int(0.48 * size[1])].any() and mask[:, int(0.52 * size[1]) + 1 :].all()


def test_three_classes_and_vectors():
    logits = tf.one_hot(tf.fill((1, 6, 8), 2), 3)
    vector = as_coordinates([[[5.0, 6.0], [7.0, 8.0]]], (48, 64))
    frames = tf.zeros((1, 48, 64, 3), tf.uint8)
    found = track(lambda image: [logits, vector], frames, READING)
    np.testing.assert_allclose(found["joints"], [[[5, 6], [7, 8]]], atol=1e-4)
    assert (found["mask"].numpy() == 2).all() and found["confidence"].numpy().tolist() == [[1, 1]]
    assert "mask" not in track(lambda image: vector, frames, READING)
    assert "mask" not in track(lambda image: heatmaps([[[5.0, 6.0]] * 2], (24, 32), 3.0), frames, READING)


def test_parts_of_an_answer():
    maps, vector = tf.zeros((1, 2, 2, 1)), tf.zeros((1, 4))
    assert parts_of(maps)[0] is maps and parts_of(maps)[1] is None
    assert parts_of([vector])[0] is None and parts_of([maps, vector])[1] is vector
