"""What lies behind the instruments of simulated endoscopy: a retina through the pupil, or organs of the abdomen."""

from __future__ import annotations

import numpy as np

from tfmedcai.geometry.capsules import beside
from tfmedcai.simulators.xray_draws import Draws

# Colours from 0 to 1: red, green, blue. Of each sequence one is drawn between the two.
RETINA = ((0.62, 0.45, 0.36), (0.55, 0.72, 0.80))
ORGANS = (
    ((0.50, 0.13, 0.13), (0.62, 0.20, 0.17)),  # liver
    ((0.80, 0.45, 0.45), (0.88, 0.58, 0.55)),  # serosa
    ((0.80, 0.58, 0.25), (0.90, 0.70, 0.38)),  # fat
)
BLOOD = np.array([0.45, 0.08, 0.10])


def smooth_noise(draws: Draws, size: tuple[int, int], period: float) -> np.ndarray:
    """Makes a random field whose hills have a width.

    Args:
        draws: source of randomness.
        size: height and width in px.
        period: about the distance of two hills, as a part of the height.

    Returns:
        `(height, width)` float64, about standard normal.
    """
    step = max(1.0, period * size[0] / 2)
    cells = [int(np.ceil(edge / step)) + 4 for edge in size]
    coarse = draws.vector(cells[0] * cells[1], -1.0, 1.0).reshape(cells)
    # The hills are Gaussians, which are interpolated along one axis and then along the other.
    rows, columns = (
        np.exp(-(((1.5 + np.arange(edge)[:, np.newaxis] / step) - np.arange(count)) ** 2))
        for edge, count in zip(size, cells, strict=True)
    )
    fine = rows @ coarse @ columns.T
    return fine / max(fine.std(), 1e-6)


def retina(draws: Draws, size: tuple[int, int]) -> np.ndarray:
    """Paints a fundus with an optic disc and branching vessels.

    Args:
        draws: source of randomness.
        size: height and width in px.

    Returns:
        `(height, width, 3)` float64 colours from 0 to 1.
    """
    base = np.array(RETINA[0]) + draws.uniform() * np.subtract(RETINA[1], RETINA[0])
    grain = 0.05 * smooth_noise(draws, size, 0.3) + 0.02 * smooth_noise(draws, size, 0.03)
    image = base * (1 + grain[..., np.newaxis])
    centre = np.array([draws.uniform(0.3, 0.7) * size[1], draws.uniform(0.3, 0.7) * size[0]])
    y, x = np.ogrid[: size[0], : size[1]]
    disc = np.exp(-((np.hypot(x - centre[0], y - centre[1]) / (0.05 * size[0])) ** 4))
    image += disc[..., np.newaxis] * np.array([0.25, 0.2, 0.1])
    return _with_vessels(draws, image, centre, count=9, width=0.008)


def organs(draws: Draws, size: tuple[int, int]) -> np.ndarray:
    """Paints patches of liver, serosa and fat with small vessels; arguments and result as of `retina`."""
    colours = [np.array(a) + draws.uniform() * np.subtract(b, a) for a, b in ORGANS]
    fields = np.stack([smooth_noise(draws, size, draws.uniform(0.6, 1.2)) for _ in colours])
    weights = np.exp(5 * (fields - fields.max(0)))
    image = np.einsum("khw,kc->hwc", weights / weights.sum(0), np.stack(colours))
    # Folds cast light and shade.
    relief = 0.6 * smooth_noise(draws, size, 0.35) + 0.3 * smooth_noise(draws, size, 0.1)
    image *= (1 + 0.14 * relief + 0.04 * smooth_noise(draws, size, 0.02))[..., np.newaxis]
    middle = draws.vector(2, 0.2, 0.8) * size[::-1]
    return _with_vessels(draws, image, middle, count=6, width=0.006)


def highlights(draws: Draws, size: tuple[int, int], amount: float) -> np.ndarray:
    """Makes small, bright reflections of wet tissue, gathered in spots.

    Args:
        draws: source of randomness.
        size: height and width in px.
        amount: 0 for none, 1 for many.

    Returns:
        `(height, width)` float64 from 0 to 1, how white a pixel becomes.
    """
    spots = smooth_noise(draws, size, draws.uniform(0.3, 0.6)) - (2.6 - 1.2 * amount)
    speckle = smooth_noise(draws, size, 0.025)
    return np.clip(1.5 * np.clip(spots, 0, 1) * np.clip(speckle, 0, 2), 0, 1) * min(1.0, 4 * amount)


def _with_vessels(draws: Draws, image: np.ndarray, root: np.ndarray, count: int, width: float) -> np.ndarray:
    """Lets vessels grow from a root, each a bent line that becomes thinner."""
    height = image.shape[0]
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    depth = np.zeros(image.shape[:2])
    for _ in range(count):
        place, angle = root.astype(float), draws.angle()
        for step in range(12):
            angle += draws.uniform(-0.5, 0.5)
            end = place + 0.07 * height * np.array([np.cos(angle), np.sin(angle)])
            radius = width * height * (1 - step / 14)
            _, distance, _ = beside(x, y, place, end)
            depth = np.maximum(depth, np.exp(-((distance / radius) ** 2)) * (1 - step / 16))
            place = end
    return image + 0.55 * depth[..., np.newaxis] * (BLOOD - image)
