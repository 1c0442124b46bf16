"""Surgical instruments in an X-ray image of a patient: their metal, as one more material along each ray."""

from __future__ import annotations

import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.simulators.mass_attenuation import mass_attenuation
from tfmedcai.simulators.xray_draws import Draws
from tfmedcai.simulators.xray_metal import INSTRUMENTS, optical_depth
from tfmedcai.simulators.xray_solids import Rays

# Where the attenuation per mm that instruments are drawn with is that of their metal.
_ENERGY_KEV = 60.0


def instrument_grams(instrument: str, draws: Draws, pose: tf.Tensor, camera: Camera, metal: str = "iron") -> tf.Tensor:
    """Draws an instrument and computes how much metal lies along each ray.

    It comes on top of the tissue whose place it takes, which at 60 keV attenuates 2 % as much as steel, 6 % as much as
    titanium.

    Args:
        instrument: one of `INSTRUMENTS`.
        draws: where its dimensions come from; those of one key are always the same instrument.
        pose: `(6,)` float32, known: rotation vector in rad, translation in mm, instrument frame to camera frame.
        camera: the `Camera`.
        metal: "iron" (steel) or "titanium"; the amount is such that the instrument is as opaque at 60 keV in either.

    Returns:
        `(height, width, 1)` float32, g/cm^2: a channel for `XRayPhysics.intensity`.

    Raises:
        ValueError: if there is no such instrument.

    >>> pose = tf.constant([0.0, 0.0, 0.0, 0.0, 0.0, 600.0])
    >>> instrument_grams("screw", Draws(3), pose, Camera.from_c_arm(image_size=(64, 96))).shape
    TensorShape([64, 96, 1])
    """
    if instrument not in INSTRUMENTS:
        raise ValueError(f"`instrument` must be one of {', '.join(INSTRUMENTS)}. Received {instrument!r}.")
    kind, rays = INSTRUMENTS[instrument], Rays.from_camera(camera, pose)
    parameters = tf.nest.map_structure(tf.constant, kind.sample(draws))
    depth = optical_depth(kind, parameters, rays, float(camera.resolution_at(pose[5])))
    return (depth * rays.length_per_depth() / mass_attenuation(metal, _ENERGY_KEV).item())[..., tf.newaxis]
