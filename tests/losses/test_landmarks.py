"""Losses of landmarks: the paper's peaks and sums, and nothing from what nobody marked."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.losses.landmarks import SegmentationAndHeatmaps, SquaredDistance, heatmaps, peak

NAN = float("nan")


@pytest.mark.parametrize(("sigma", "value"), [(5.0, 0.0797884561), (7.0, 0.0569917543)])
def test_the_peak_lies_at_the_landmark(sigma, value):
    drawn = heatmaps(np.array([[[20.0, 31.0], [NAN, NAN]]]), (48, 64), sigma).numpy()
    assert drawn.shape == (1, 48, 64, 2)
    assert np.unravel_index(drawn[0, ..., 0].argmax(), (48, 64)) == (31, 20)
    assert drawn[0, ..., 0].max() == pytest.approx(value, rel=1e-7) == pytest.approx(peak(sigma))
    assert not drawn[..., 1].any()


def test_a_heatmap_is_the_formula_at_the_stride_of_the_maps():
    drawn = heatmaps([[[9.0, 5.0]]], (10, 12), 1.5, stride=2).numpy()[0, ..., 0]
    rows, columns = np.mgrid[:10, :12]
    # Pixel 9 of the image is centred at (9 + 0.5) / 2 - 0.5 of the map.
    squares = (columns - 4.25) ** 2 + (rows - 2.25) ** 2
    np.testing.assert_allclose(drawn, np.exp(-squares / 4.5) / np.sqrt(2 * np.pi * 2.25), rtol=1e-5)


def test_the_loss_is_the_sum_of_equations_1_and_2():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(3, size=(2, 6, 8)), rng.normal(size=(2, 6, 8, 3))
    maps, found = rng.normal(size=(2, 2, 6, 8, 2))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    picked = np.take_along_axis(probabilities, labels[..., None], -1)
    expected = -np.log(picked).sum((1, 2, 3)) / 48 + 0.7 / 2 * ((maps - found) ** 2).sum((1, 2, 3))
    loss = SegmentationAndHeatmaps(2, weight=0.7, reduction="none")
    given = np.concatenate([labels[..., None], maps], -1), np.concatenate([logits, found], -1)
    np.testing.assert_allclose(loss(*given), expected, rtol=1e-5)
    alone = SegmentationAndHeatmaps(2, reduction="none")(given[0], found)
    np.testing.assert_allclose(alone, ((maps - found) ** 2).sum((1, 2, 3)) / 2, rtol=1e-5)


def test_the_unknown_adds_nothing_and_has_no_gradient():
    target = np.zeros((1, 4, 4, 3), np.float32)
    target[..., 0], target[..., 1] = 255, NAN
    predicted = tf.Variable(np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = SegmentationAndHeatmaps(2)(target, predicted)
    gradient = tape.gradient(loss, predicted).numpy()
    assert float(loss) == pytest.approx(float(tf.reduce_sum(predicted[..., 3] ** 2) / 2), rel=1e-5)
    assert not gradient[..., :3].any() and np.isfinite(gradient).all() and gradient[..., 3].any()


def test_squared_distance_without_a_missing_joint():
    true, predicted = np.array([[1.0, 2.0, NAN, NAN]]), np.array([[3.0, 3.0, 50.0, 60.0]])
    assert float(SquaredDistance(weight=2.0)(true, predicted)) == pytest.approx(10.0)


@pytest.mark.parametrize("loss", [SegmentationAndHeatmaps(3, weight=0.5), SquaredDistance(0.3)])
def test_a_loss_survives_saving(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()


def test_bad_arguments():
    with pytest.raises(ValueError, match="`landmarks` must be 1 or more"):
        SegmentationAndHeatmaps(0)
    with pytest.raises(ValueError, match=r"must have 1 \+ 2 channels"):
        SegmentationAndHeatmaps(2)(np.zeros((1, 4, 4, 4)), np.zeros((1, 4, 4, 4)))
    with pytest.raises(ValueError, match="`sigma` must be above 0"):
        heatmaps([[[0.0, 0.0]]], (4, 4), 0)
