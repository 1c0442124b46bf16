"""Instruments as metal: how much there is, and where."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.simulators.mass_attenuation import mass_attenuation
from tfmedcai.simulators.xray_draws import Draws
from tfmedcai.simulators.xray_metal import INSTRUMENTS
from tfmedcai.simulators.xray_overlay import instrument_grams

CAMERA = Camera.from_c_arm(1000.0, 0.2, (96, 128))


def test_a_wire_seen_from_the_side_is_as_thick_as_it_is():
    # Its axis points left from the middle of the image, so that the shaft is cut by the column 3 mm left of it.
    pose = tf.constant([0.0, 0.0, 0.0, 0.0, 0.0, 500.0])
    grams = instrument_grams("guide_wire", Draws(3), pose, CAMERA, "titanium").numpy()[..., 0]
    radius, _, _, per_mm = INSTRUMENTS["guide_wire"].sample(Draws(3))["near"][0][0]
    column = round(63.5 - 4.0 / 0.1)
    np.testing.assert_allclose(grams[:, column].max(), 2 * radius * per_mm / 0.7661, rtol=0.01)
    assert abs(np.count_nonzero(grams[:, column]) - 2 * radius / 0.1) <= 2
    np.testing.assert_array_equal(grams[:, 66:], 0)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_an_instrument_lies_where_its_pose_is_projected(instrument):
    pose = tf.constant([0.1, -0.3, 0.2, 2.0, -1.5, 600.0])
    grams = instrument_grams(instrument, Draws(5), pose, CAMERA).numpy()[..., 0]
    column, row = CAMERA.project(pose[np.newaxis, 3:]).numpy()[0].round().astype(int)
    assert grams.min() == 0 and grams[row - 4 : row + 5, column - 4 : column + 5].max() > 0.05


def test_metals_are_as_opaque_at_60_kev():
    pose = tf.constant([0.1, -0.3, 0.2, 2.0, -1.5, 600.0])
    grams = {metal: instrument_grams("screw", Draws(5), pose, CAMERA, metal) for metal in ("iron", "titanium")}
    np.testing.assert_allclose(
        *(grams[metal] * mass_attenuation(metal, 60.0).item() for metal in ("iron", "titanium")), rtol=1e-5
    )


def test_unknown_instruments():
    with pytest.raises(ValueError, match="`instrument` must be one of screw"):
        instrument_grams("spoon", Draws(1), tf.zeros(6), CAMERA)
