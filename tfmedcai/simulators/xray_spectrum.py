"""What leaves an X-ray tube: the photons of a tungsten anode behind an aluminium filter, by their energy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre, polynomial

from tfmedcai.simulators.mass_attenuation import DENSITIES, mass_attenuation

# Softer photons do not get through the filter, and the tables end here.
_SOFTEST_KEV, _HARDEST_KEV = 10.0, 150.0
# alpha r_e^2 Z^2 N_A / A of tungsten in cm^2/g, and the rest energy of an electron in keV.
_CROSS_SECTION, _ELECTRON_KEV = 7.2974e-3 * 2.8179e-13**2 * 74**2 * 6.0221e23 / 183.84, 511.0
# Electrons on their way into tungsten: initial energy in keV, constant of Thomson and Whiddington in keV^2 cm^2/g.
_START_KEV, _SLOWING = (50.0, 75.0, 100.0, 150.0), (0.54e6, 0.625e6, 0.70e6, 0.84e6)
# Stopping power in keV cm^2/g: constant, exponential part and its decay per keV.
_STOPPING = (2024.1, 10361.0, 0.04695)
# Bremsstrahlung: photons per electron, their rise per keV, and the polynomial in photon by electron energy. The first
# two are 1000 times the printed values: so continuum and lines have the measured ratio with energies in keV.
_YIELD, _YIELD_RISE, _SHAPE = 36.85, 0.029, (1.0, -5.049, 10.847, -10.516, 3.842)
# Characteristic lines: edge in keV, photons per electron, exponent of the overvoltage, and keV and share of each line.
_EDGE_KEV, _LINE_YIELD, _LINE_EXPONENT = 69.525, 1.349e-3, 1.648
_LINES = ((57.98, 0.2592), (59.32, 0.45), (67.2, 0.1521), (69.1, 0.0387))
_NODES, _WEIGHTS = (values / 2 for values in legendre.leggauss(24))


class Spectrum(NamedTuple):
    """Photons by energy.

    Attributes:
        energies_kev: `(bins,)` float64, mean energy of each bin.
        photons: `(bins,)` float64, share of all photons; they add up to 1.
    """

    energies_kev: np.ndarray
    photons: np.ndarray


def tube_spectrum(kvp: float, aluminium_mm: float = 2.5, anode_deg: float = 12.0, step_kev: float = 2.0) -> Spectrum:
    """Computes the spectrum of a tube with tungsten anode and constant voltage: bremsstrahlung and the four K lines.

    Both arise at depths that follow from how electrons slow down, and are weakened on the way out of the anode.

    Args:
        kvp: voltage of the tube in kV, above 10 and up to 150.
        aluminium_mm: total filtration in mm of aluminium.
        anode_deg: angle between the anode's surface and the central ray.
        step_kev: width of a bin; the last one is what is left of it.

    Returns:
        The `Spectrum` from 10 keV on.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Tucker, Barnes, Chakraborty, Semiempirical model for generating tungsten target x-ray spectra, Medical Physics
        18, 1991; constants of the electrons' range: Birch and Marshall, Physics in Medicine and Biology 24, 1979.

    >>> spectrum = tube_spectrum(80.0)
    >>> round((spectrum.energies_kev * spectrum.photons).sum().item())
    43
    """
    checks = {
        "kvp": (_SOFTEST_KEV < kvp <= _HARDEST_KEV, "above 10 and at most 150 kV", kvp),
        "aluminium_mm": (aluminium_mm >= 0, "0 mm or more", aluminium_mm),
        "anode_deg": (0 < anode_deg <= 90, "above 0 and at most 90 deg", anode_deg),
        "step_kev": (step_kev > 0, "above 0 keV", step_kev),
    }
    for name, (valid, expected, value) in checks.items():
        if not valid:
            raise ValueError(f"`{name}` must be {expected}. Received {value!r}.")
    count = int(np.ceil((kvp - _SOFTEST_KEV) / step_kev))
    edges = np.minimum(_SOFTEST_KEV + step_kev * np.arange(count + 1), kvp)
    middles = (edges[1:] + edges[:-1]) / 2
    sine = np.sin(np.radians(anode_deg))
    energies = np.concatenate([middles, [kev for kev, _ in _LINES]])
    photons = np.concatenate([_bremsstrahlung(middles, kvp, sine) * np.diff(edges), _characteristic(kvp, sine)])
    photons *= np.exp(-mass_attenuation("aluminium", energies) * DENSITIES["aluminium"] * aluminium_mm / 10)
    bins = np.minimum(np.searchsorted(edges, energies, side="right") - 1, count - 1)
    totals = np.bincount(bins, photons, count)
    return Spectrum(np.bincount(bins, photons * energies, count) / totals, totals / totals.sum())


def _bremsstrahlung(energies: np.ndarray, kvp: float, sine: float) -> np.ndarray:
    """Returns photons per electron and keV, `(n,)`: the integral over the energies that a slowing electron has."""
    span = (kvp - energies)[:, np.newaxis]
    electrons = energies[:, np.newaxis] + span * (_NODES + 0.5)
    emitted = (_YIELD + _YIELD_RISE * kvp) * polynomial.polyval(energies[:, np.newaxis] / electrons, _SHAPE)
    stopping = _STOPPING[0] + _STOPPING[1] * np.exp(-_STOPPING[2] * electrons)
    passed = (kvp**2 - electrons**2) / np.interp(kvp, _START_KEV, _SLOWING)
    escaping = np.exp(-mass_attenuation("tungsten", energies)[:, np.newaxis] * passed / sine)
    rate = emitted * escaping * (electrons + _ELECTRON_KEV) / electrons / stopping
    return _CROSS_SECTION / energies * np.sum(span * _WEIGHTS * rate, axis=1)


def _characteristic(kvp: float, sine: float) -> np.ndarray:
    """Returns photons per electron of each of `_LINES`."""
    energies, shares = np.array(_LINES).T
    overvoltage = max(kvp / _EDGE_KEV - 1.0, 0.0)
    deepest = max(kvp**2 - _EDGE_KEV**2, 0.0) / np.interp(kvp, _START_KEV, _SLOWING)
    places = _NODES + 0.5
    escaping = np.exp(-mass_attenuation("tungsten", energies)[:, np.newaxis] * deepest * places / sine)
    return _LINE_YIELD * overvoltage**_LINE_EXPONENT * shares * np.sum(1.5 * (1 - places**2) * _WEIGHTS * escaping, 1)
