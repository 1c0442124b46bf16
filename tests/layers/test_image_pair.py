"""The input of networks that compare images."""

import keras
import numpy as np
import pytest

from tfmedcai.layers.image_pair import moving_and_target


def test_the_last_channel_is_the_target():
    images, moving, target = moving_and_target((4, 6, 3), 1, False, "prost")
    values = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    split = keras.Model(images, [moving, target])(values)
    np.testing.assert_array_equal(split[0], values[..., :2])
    np.testing.assert_array_equal(split[1], values[..., 2:])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (((4, 6, 1), 1, False), "two channels or more"),
        (((4, 6), 1, False), "two channels or more"),
        (((4, 6, 2), 0, False), "`outputs` positive"),
        (((4, 6, 2), 1, True), "`per_pixel` must be False: prost gives one vector"),
    ],
)
def test_what_does_not_fit(wrong, message):
    with pytest.raises(ValueError, match=message):
        moving_and_target(*wrong, "prost")
