"""Random changes of frames: joints and masks stay on what they mark, ranges are kept, draws can be replayed."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.data.keypoint_augmentation import KeypointAugmentation

STILL = {"rotate_deg": 0.0, "scale": (1.0, 1.0), "gamma": (1.0, 1.0), "colour": (1.0, 1.0)}
JOINTS = np.array([[20.0, 30.0], [90.0, 55.0], [np.nan, np.nan]], np.float32)


def marked(size=(96, 128)):
    """A frame with a soft spot at each joint, and its mask."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    frame, mask = np.zeros((*size, 3), np.float32), np.zeros(size, np.uint8)
    for number, (x, y) in enumerate(JOINTS[:2]):
        squares = (columns - x) ** 2 + (rows - y) ** 2
        frame[..., number] = 250 * np.exp(-squares / 18)
        mask[squares < 16] = number + 1
    return tf.constant(frame), tf.constant(mask), tf.constant(JOINTS)


def centre(weights):
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("number", range(6))
def test_spots_and_masks_stay_at_their_joints(number, flip):
    options = {"rotate_deg": 20.0, "scale": (0.8, 1.1), "gamma": (1.0, 1.0), "flip": flip}
    augmentation = KeypointAugmentation((110, 150), **options)
    draws = augmentation.draw((1, number))
    frame, mask, joints = (part.numpy() for part in augmentation.apply(draws, *marked()))
    for place in range(2):
        if np.all(joints[place] > 12) and np.all(joints[place] < (138, 98)):
            np.testing.assert_allclose(centre(frame[..., place].astype(float)), joints[place], atol=0.1)
            np.testing.assert_allclose(centre((mask == place + 1).astype(float)), joints[place], atol=0.4)
    assert np.isnan(joints[2]).all()


def test_nothing_changes_where_nothing_may():
    augmentation = KeypointAugmentation((96, 128), **STILL)
    frame, mask, joints = marked()
    made = augmentation.apply(augmentation.draw((0, 0)), frame, mask, joints)
    for part, before in zip(made, (frame, mask, joints), strict=True):
        np.testing.assert_allclose(part, before, atol=1e-3)


def test_a_mirror_image_swaps_left_and_right():
    augmentation = KeypointAugmentation((96, 128), flip=True, swapped=((0, 1),), **STILL)
    draws = augmentation.draw((0, 0))._replace(flip=tf.constant(True))
    frame, _, joints = augmentation.apply(draws, *marked())
    np.testing.assert_allclose(joints[:2], [[127 - 90, 55], [127 - 20, 30]], atol=1e-4)
    np.testing.assert_allclose(frame, marked()[0][:, ::-1], atol=1e-3)


def test_draws_keep_the_ranges_of_the_paper_and_can_be_replayed():
    augmentation = KeypointAugmentation((96, 96))
    draws = [augmentation.draw((3, number)) for number in range(300)]
    for name, low, high in (("scale", 1, 1.2), ("gamma", 0.9, 1.1), ("colour", 0.8, 1.2), ("corner", 0, 1)):
        values = np.array([getattr(draw, name) for draw in draws])
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high
    angles = np.degrees([draw.angle for draw in draws])
    assert -5 <= angles.min() < -4.5 and 4.5 < angles.max() <= 5
    assert not any(draw.flip for draw in draws)
    first, again = augmentation.apply(draws[0], *marked()), augmentation.apply(augmentation.draw((3, 0)), *marked())
    np.testing.assert_array_equal(first[0], again[0])


def test_the_crop_lies_in_the_enlarged_frame_and_the_rest_is_unknown():
    augmentation = KeypointAugmentation((96, 96), rotate_deg=0.0)
    white = tf.fill((96, 128, 3), tf.constant(255, tf.uint8)), tf.zeros((96, 128), tf.uint8), tf.constant(JOINTS)
    for number in range(20):
        _, mask, _ = augmentation.apply(augmentation.draw((0, number)), *white)
        assert not mask.numpy()[1:-1, 1:-1].any()
    turned = KeypointAugmentation((96, 128), **STILL | {"rotate_deg": 45.0})
    draws = turned.draw((0, 0))._replace(angle=tf.constant(0.7))
    frame, mask, _ = turned.apply(draws, *white)
    assert mask.numpy()[0, 0] == 255 and frame.numpy()[0, 0].max() == 0


def test_gamma_and_colours():
    augmentation = KeypointAugmentation((4, 4), **STILL)
    draws = augmentation.draw((0, 0))._replace(gamma=tf.constant(0.9), colour=tf.constant([0.8, 1.0, 1.2]))
    grey = tf.fill((4, 4, 3), tf.constant(100, tf.uint8))
    frame, _, _ = augmentation.apply(draws, grey, tf.zeros((4, 4), tf.uint8), tf.zeros((0, 2)))
    np.testing.assert_allclose(frame[1, 1], 255 * (100 / 255) ** 0.9 * np.array([0.8, 1.0, 1.2]), rtol=1e-5)


def test_it_runs_in_a_pipeline():
    augmentation, sample = KeypointAugmentation((64, 64)), marked()
    pipeline = tf.data.Dataset.range(3).map(lambda n: augmentation.apply(augmentation.draw(tf.stack([0, n])), *sample))
    assert [part.shape for part in next(iter(pipeline))] == [(64, 64, 3), (64, 64), (3, 2)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": (1.2, 1.0)}, "`scale` must be"),
        ({"crop": (0, 4)}, "`crop` must be"),
        ({"rotate_deg": -1}, "`rotate_deg` must be"),
        ({"swapped": ((0, 1), (1, 2))}, "`swapped` must be pairs"),
    ],
)
def test_bad_ranges(options, says):
    with pytest.raises(ValueError, match=says):
        KeypointAugmentation(**{"crop": (8, 8)} | options)


def test_bad_shapes():
    augmentation = KeypointAugmentation((8, 8), swapped=((0, 5),))
    frame, mask, joints = marked()
    with pytest.raises(ValueError, match="must be places among 3 joints"):
        augmentation.apply(augmentation.draw((0, 0)), frame, mask, joints)
    with pytest.raises(ValueError, match=r"`frame`, `mask` and `joints` must be"):
        augmentation.apply(augmentation.draw((0, 0)), frame[..., :1], mask, joints)
