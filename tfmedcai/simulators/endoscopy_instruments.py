"""Articulated instruments of simulated endoscopy: how they move, and how a shaft with two jaws is painted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfmedcai.geometry.capsules import Part, beside
from tfmedcai.simulators.xray_draws import Draws

SHAFT, JAWS = 1, 2  # labels of a mask
JOINTS = ("shaft", "joint", "tip_1", "tip_2")  # where the shaft comes into view or begins; its end; ends of the jaws
MARGIN = 0.06  # the joint stays this far inside the region, as a part of its size


class Look(NamedTuple):
    """What does not change during a sequence.

    Attributes:
        width: of the shaft, as a part of the image's height.
        jaw: length of a jaw, as a part of the height.
        slim: width of a jaw at its root over that of the shaft.
        shaft: colour of the shaft, red, green and blue from 0 to 1.
        metal: colour of the jaws.
        gloss: strength of the reflection along the shaft.
    """

    width: float
    jaw: float
    slim: float
    shaft: np.ndarray
    metal: np.ndarray
    gloss: float


class Wave:
    """A smooth random function of time between two values.

    Args:
        draws: source of randomness.
        low: least value.
        high: most value.
        speed: changes of direction in a frame, about.
    """

    def __init__(self, draws: Draws, low: float, high: float, speed: float):
        self.low, self.high = low, high
        self.rates = [speed * draws.uniform(0.5, 1.5) * factor for factor in (1.0, 2.3)]
        self.phases = [draws.angle() for _ in self.rates]

    def __call__(self, time: float) -> float:
        """Returns the value at a time in frames."""
        first, second = (
            np.sin(2 * np.pi * rate * time + phase) for rate, phase in zip(self.rates, self.phases, strict=True)
        )
        return self.low + (self.high - self.low) * (0.5 + 0.35 * first + 0.15 * second)


class Instrument:
    """One instrument of a sequence.

    Args:
        draws: source of randomness.
        look: sizes and colours.
        side: -1 if it comes from the left, 1 from the right.
        region: left, top, right and bottom of where the joint moves, in px.
        speed: changes of direction in a frame.
    """

    def __init__(
        self, draws: Draws, look: Look, side: int, region: tuple[float, float, float, float], speed: float = 0.01
    ):
        self.look, self.side = look, side
        left, top, right, bottom = region
        self.x = Wave(draws, left + MARGIN * (right - left), right - MARGIN * (right - left), speed)
        self.y = Wave(draws, top + MARGIN * (bottom - top), bottom - MARGIN * (bottom - top), speed)
        self.angle = Wave(draws, -0.7, 0.7, speed)
        self.bend = Wave(draws, -0.45, 0.45, speed)
        self.opening = Wave(draws, 0.04, 0.75, 2 * speed)

    def joints(self, time: float, height: int) -> np.ndarray:
        """Returns x and y of `JOINTS` in px, `(4, 2)`; the beginning of the shaft lies far outside."""
        joint = np.array([self.x(time), self.y(time)])
        # The shaft points away from its side.
        pointing = self.angle(time) + (np.pi if self.side > 0 else 0.0)
        jaws = [pointing + self.bend(time) + sign * self.opening(time) for sign in (-1, 1)]
        tips = [joint + self.look.jaw * height * np.array([np.cos(a), np.sin(a)]) for a in jaws]
        # On the screen the first tip is the left one for whoever looks along the instrument.
        return np.stack([joint - 3 * height * np.array([np.cos(pointing), np.sin(pointing)]), joint, *tips])


def new_look(draws: Draws, thick: tuple[float, float]) -> Look:
    """Draws sizes and colours.

    Args:
        draws: source of randomness.
        thick: least and most width of the shaft, as a part of the height.

    Returns:
        What an instrument looks like.
    """
    dark = draws.uniform(0.08, 0.45)
    return Look(
        width=draws.uniform(*thick),
        jaw=draws.uniform(1.6, 2.8) * draws.uniform(*thick) + 0.02,
        slim=draws.uniform(0.3, 0.6),
        shaft=dark * draws.vector(3, 0.9, 1.1),
        metal=draws.uniform(0.35, 0.7) * draws.vector(3, 0.92, 1.08),
        gloss=draws.uniform(0.2, 0.8),
    )


def parts_of(joints: np.ndarray, look: Look, height: int) -> list[Part]:
    """Returns what a mask is drawn from.

    Args:
        joints: `(2 + tips, 2)` x and y of shaft, joint and tips, px.
        look: widths.
        height: of the image, px.
    """
    shaft, joint, *tips = joints
    width = look.width * height
    return [Part(SHAFT, shaft, joint, width), *(Part(JAWS, joint, tip, look.slim * width) for tip in tips)]


def paint(image: np.ndarray, parts: list[Part], look: Look, light: float) -> None:
    """Paints an instrument and its soft shadow into an image.

    Args:
        image: `(height, width, 3)` colours from 0 to 1; changed in place.
        parts: of `parts_of`.
        look: colours.
        light: brightness.
    """
    offset = 0.6 * parts[0].width
    for part in parts:
        near, x, y = _surroundings(image, part, 2 * offset)
        _, distance, _ = beside(x - offset, y - offset, part.start, part.end)
        near *= (1 - 0.4 * np.clip(1.1 - distance / part.width, 0, 1))[..., np.newaxis]
    for part in parts:
        near, x, y = _surroundings(image, part, 1.0)
        along, distance, side = beside(x, y, part.start, part.end)
        radius = part.width / 2
        cover = np.clip(radius + 0.5 - distance, 0, 1)[..., np.newaxis]
        across = np.clip(side / radius, -1, 1)
        # A cylinder: dark at its edges, with a reflection a third of the way from its middle.
        shade = 0.35 + 0.65 * np.sqrt(1 - 0.95 * across**2)
        gloss = look.gloss * np.exp(-(((across + 0.35) / 0.18) ** 2))
        colour = look.shaft if part.label == SHAFT else look.metal
        if part.label == JAWS:
            gloss = gloss + 0.25 * (np.sin(40 * along) > 0.6)  # teeth
        painted = light * np.clip(colour * shade[..., np.newaxis] + 0.5 * gloss[..., np.newaxis], 0, 1)
        near += cover * (painted - near)


def _surroundings(image: np.ndarray, part: Part, margin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the box of an image around a part, to be changed in place, with the x and y of its pixels."""
    ends, size = np.array([part.start, part.end], float), image.shape[1::-1]
    low = np.clip(ends.min(0) - part.width - margin, 0, size).astype(int)
    high = np.clip(ends.max(0) + part.width + margin + 1, 0, size).astype(int)
    y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
    return image[low[1] : high[1], low[0] : high[0]], x, y
