"""From what lies along each ray to the picture of a detector: all energies of the beam, scatter, noise, grey values."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfmedcai.simulators.mass_attenuation import DENSITIES, mass_attenuation
from tfmedcai.simulators.materials import TISSUES
from tfmedcai.simulators.random_fields import normal
from tfmedcai.simulators.xray_detector import gaussian, smooth
from tfmedcai.simulators.xray_spectrum import Spectrum, tube_spectrum

# The largest grey value, a quarter above the open field: noise there is not cut off.
_FULL_SCALE = 1.25
# The square root has no derivative at 0, behind thick metal.
_TINY = 1e-12


@dataclass(frozen=True)
class XRayPhysics:
    """A tube and a detector; turns line integrals into images.

    Made of TensorFlow operations only, with derivatives of any order and fit for XLA.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Unberath et al., DeepDRR, MICCAI 2018, for the steps; here scatter is a convolution, without a network.

    >>> physics = XRayPhysics(materials=("soft_tissue", "iron"), kvp=70.0)
    >>> grams = tf.constant([20.0, 1.5]) * tf.ones((1, 48, 64, 2))
    >>> physics.intensity(grams, seed=(0, 7)).shape
    TensorShape([1, 48, 64, 1])
    """

    # What the channels are; instruments are more channels, of "iron" or "titanium".
    materials: tuple[str, ...] = TISSUES
    # Voltage of the tube in kV.
    kvp: float = 80.0
    # Total filtration in mm of aluminium.
    aluminium_mm: float = 2.5
    # Photons per pixel that would come without an object; inf for no quantum noise.
    photons: float = 1e5
    # Scattered by primary energy behind a wide object, per unit of its optical depth; 0 for none. About 0.15 with a
    # grid, 0.8 without one.
    scatter: float = 0.15
    # Standard deviation of how far scatter spreads, in px.
    scatter_px: float = 40.0
    # Standard deviation of the detector's blur, in px.
    blur_px: float = 0.5
    # Standard deviation of the electronic noise, 1 is the open field.
    electronic: float = 5e-5
    # Of a grey value; 0 keeps real numbers.
    bits: int = 14

    def __post_init__(self) -> None:
        object.__setattr__(self, "materials", tuple(self.materials))  # settings files have lists
        checks = {
            "materials": (set(self.materials) <= set(DENSITIES), f"among {', '.join(DENSITIES)}"),
            "photons": (self.photons > 0, "above 0"),
            "scatter": (self.scatter >= 0, "0 or more"),
            "scatter_px": (self.scatter_px >= 1, "1 px or more"),
            "blur_px": (0 <= self.blur_px <= 2, "from 0 to 2 px"),
            "electronic": (self.electronic >= 0, "0 or more"),
            "bits": (0 <= self.bits <= 16, "from 0 to 16"),
        }
        for name, (valid, expected) in checks.items():
            if not valid:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)!r}.")

    @property
    def spectrum(self) -> Spectrum:
        """The `Spectrum` of the tube."""
        return _spectrum(self.kvp, self.aluminium_mm)

    def intensity(self, grams: tf.Tensor, seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
        """Computes the image of a detector that adds up energy.

        Quantum noise is the normal approximation of a Poisson count at each energy, good above some 20 photons. It
        comes before the detector's blur, which makes it coherent and smaller; electronic noise comes after.

        Args:
            grams: `(batch, rows, columns, materials)` float, line integrals of the density in g/cm^2; rows and columns
                known.
            seed: `(2,)` int, of the noise; the same seed, the same image.

        Returns:
            `(batch, rows, columns, 1)` float, 1 without an object.
        """
        grams = tf.convert_to_tensor(grams)
        primary, spread = transmitted(grams, self.spectrum, self.materials)
        veil = scattered(primary, self.scatter, self.scatter_px)
        # Scattered photons have the energies of the open beam.
        variance = spread + _spread(self.spectrum) * veil
        noise = tf.cast(normal(tf.concat([[2], tf.shape(primary)], axis=0), seed), grams.dtype)
        quantum, electronic = tf.unstack(noise)
        counted = primary + veil + tf.sqrt((variance + _TINY) / self.photons) * quantum
        weights = tf.constant(gaussian(self.blur_px), grams.dtype)
        detected = smooth(counted, weights, weights) + self.electronic * electronic
        return self._grey_values(detected)[..., tf.newaxis]

    def _grey_values(self, detected: tf.Tensor) -> tf.Tensor:
        clipped = tf.clip_by_value(detected, 0.0, _FULL_SCALE)
        if self.bits == 0:
            return clipped
        step = _FULL_SCALE / (2**self.bits - 1)
        # The derivative is that without steps.
        return clipped + tf.stop_gradient(step * tf.round(clipped / step) - clipped)


@functools.lru_cache(maxsize=64)
def _spectrum(kvp: float, aluminium_mm: float) -> Spectrum:
    return tube_spectrum(kvp, aluminium_mm)


def _spread(spectrum: Spectrum) -> float:
    """Returns the mean square of a photon's energy by the square of its mean, 1 for one energy."""
    energies, photons = spectrum
    return float(np.sum(photons * energies**2) / np.sum(photons * energies) ** 2)


def transmitted(grams: tf.Tensor, spectrum: Spectrum, materials: tuple[str, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the energy that arrives on straight lines, by the law of Beer and Lambert for each bin of the spectrum.

    Args:
        grams: `(..., materials)` float, line integrals of the density in g/cm^2.
        spectrum: of the beam.
        materials: what the channels are, by their names in the tables of `mass_attenuation`.

    Returns:
        Two `(...)` float: the energy, 1 without an object; and its variance for one photon without an object, which by
        the number of photons is that of the image.

    Raises:
        ValueError: if channels and materials differ in number, or a material is not in the tables.

    >>> one_energy = Spectrum(np.array([60.0]), np.array([1.0]))
    >>> round(transmitted([10.0], one_energy, ("soft_tissue",))[0].numpy().item(), 4)  # exp(-2.048)
    0.129
    """
    grams = tf.convert_to_tensor(grams)
    if grams.shape[-1] != len(materials):
        raise ValueError(
            f"`grams` must have one channel for each of {', '.join(materials)}. Received shape {grams.shape}."
        )
    energies, photons = spectrum
    coefficients = np.stack([mass_attenuation(material, energies) for material in materials])
    share = photons * energies / np.sum(photons * energies)
    weights = np.stack([share, share * energies / np.sum(photons * energies)], axis=-1)
    left = tf.exp(-tf.tensordot(grams, tf.constant(coefficients, grams.dtype), 1))
    energy, variance = tf.unstack(tf.tensordot(left, tf.constant(weights, grams.dtype), 1), axis=-1)
    return energy, variance


def scattered(primary: tf.Tensor, ratio: float, width_px: float) -> tf.Tensor:
    """Estimates scatter: each ray gives off in proportion to what it still has and to what it has lost, smoothed.

    Behind a wide plate of optical depth p the ratio of scatter to primary is `ratio` * p. What leaves the image is
    lost, and nothing comes from outside.

    Args:
        primary: `(batch, rows, columns)` float, 1 without an object; rows and columns known.
        ratio: scattered by primary energy per unit of optical depth.
        width_px: standard deviation of the Gaussian that scatter spreads by, in px.

    Returns:
        `(batch, rows, columns)` float.

    Reference:
        Ohnesorge, Flohr, Klingenbeck-Regn, European Radiology 9, 1999: source term -primary * log(primary).
    """
    rows, columns = (
        tf.constant(np.exp(-0.5 * (np.subtract.outer(places, places) / width_px) ** 2), primary.dtype)
        for places in map(np.arange, primary.shape[1:])
    )
    source = -ratio / (2 * math.pi * width_px**2) * tf.math.xlogy(primary, primary)
    return tf.einsum("ij,bjk,kl->bil", rows, source, columns)


def log_attenuation(intensity: tf.Tensor, darkest: float = 1e-4) -> tf.Tensor:
    """Turns intensity into what looks like line integrals of the attenuation.

    Args:
        intensity: any shape, float, 1 without an object.
        darkest: what is darker counts as this.

    Returns:
        float of the same shape, 0 without an object.

    >>> round(log_attenuation(tf.exp(-2.5)).numpy().item(), 4)
    2.5
    """
    return -tf.math.log(tf.maximum(intensity, darkest))
