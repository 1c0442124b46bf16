"""What a CT is made of: mass densities of air, soft tissue and bone, and attenuation, from Hounsfield units."""

from __future__ import annotations

import itertools

import tensorflow as tf

# The channels of `tissues_from_hu`, by their names in the tables of `mass_attenuation`.
TISSUES = ("air", "soft_tissue", "bone")
# Hounsfield units and mass density in g/cm^3 of the corners of the calibration; it goes on straight after the last.
_CALIBRATION = ((-1000.0, 0.00121), (-98.0, 0.93), (14.0, 1.03), (23.0, 1.031), (1600.0, 1.9642))
# ProST's numbers for water and air at 40 keV, in 1/mm.
_WATER, _AIR = 0.02683, 0.02485e-4


def density_from_hu(hu: tf.Tensor) -> tf.Tensor:
    """Converts Hounsfield units to mass density, by straight lines between measured tissues.

    Args:
        hu: `(...)` float, Hounsfield units; below -1000 is air.

    Returns:
        `(...)` float, g/cm^3.

    Reference:
        Schneider, Bortfeld, Schlegel, Physics in Medicine and Biology 45, 2000: its corners, without the step down at
        100 HU.

    >>> [round(value, 3) for value in density_from_hu([-1000.0, 14.0, 1600.0]).numpy().tolist()]
    [0.001, 1.03, 1.964]
    """
    hu = tf.convert_to_tensor(hu)
    density, last = _CALIBRATION[0][1] + tf.zeros_like(hu), 0.0
    # A sum of ramps needs neither a search nor a gather, and has its derivative.
    for (low, start), (high, end) in itertools.pairwise(_CALIBRATION):
        slope = (end - start) / (high - low)
        density += (slope - last) * tf.nn.relu(hu - low)
        last = slope
    return density


def tissues_from_hu(
    hu: tf.Tensor, thresholds: tuple[float, float] = (-800.0, 350.0), width: float = 100.0
) -> tf.Tensor:
    """Splits a CT into the mass densities of air, soft tissue and bone.

    Around a threshold a voxel holds both materials, in shares that change linearly, so that the derivative knows of it
    and partial volumes are not called one or the other; 1 HU of width leaves the hard steps of DeepDRR.

    Args:
        hu: `(...)` float, Hounsfield units.
        thresholds: HU between air and soft tissue, and between soft tissue and bone.
        width: HU over which one material replaces the next.

    Returns:
        `(..., 3)` float, g/cm^3 of `TISSUES`; they add up to `density_from_hu`. Its line integrals over mm are 10 times
        those in g/cm^2.

    Raises:
        ValueError: if the thresholds are closer than the width.

    Reference:
        Unberath et al., DeepDRR, MICCAI 2018 (thresholds as in its code).

    >>> [round(value, 3) for value in tissues_from_hu(350.0).numpy().tolist()]
    [0.0, 0.612, 0.612]
    """
    if not 0 < width <= thresholds[1] - thresholds[0]:
        raise ValueError(
            f"`width` must be above 0 HU and at most the distance of the thresholds. Received {width} and {thresholds}."
        )
    hu = tf.convert_to_tensor(hu)
    beyond_air, bone = (tf.clip_by_value((hu - threshold) / width + 0.5, 0.0, 1.0) for threshold in thresholds)
    shares = tf.stack([1.0 - beyond_air, beyond_air - bone, bone], axis=-1)
    return shares * density_from_hu(hu)[..., tf.newaxis]


def attenuation_from_hu(hu: tf.Tensor) -> tf.Tensor:
    """Converts Hounsfield units to attenuation on the scale of 40 keV, as ProST does: up to -130 HU there is nothing.

    Args:
        hu: `(...)` float, Hounsfield units.

    Returns:
        `(...)` float, 1/mm.

    Reference:
        Gao et al., ProST, IEEE Transactions on Medical Imaging 43, 2024, as in its code.

    >>> [round(value, 5) for value in attenuation_from_hu([-200.0, 870.0]).numpy().tolist()]
    [0.0, 0.02683]
    """
    return (_WATER - _AIR) / 1000 * tf.nn.relu(tf.convert_to_tensor(hu) + 130.0)
