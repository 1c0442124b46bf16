"""Simulated video of eye and belly surgery: tissue, highlights, blur, articulated instruments with masks and joints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tfmedcai.geometry.capsules import drawn
from tfmedcai.simulators.endoscopy_instruments import Instrument, Wave, new_look, paint, parts_of
from tfmedcai.simulators.endoscopy_tissue import highlights, organs, retina
from tfmedcai.simulators.xray_draws import Draws

PLACES = ("retina", "abdomen")
SPEED = 0.008  # changes of direction in a frame


@dataclass(frozen=True)
class EndoscopyScene:
    """Settings of the simulator.

    Raises:
        ValueError: if a number is out of its range.
    """

    # "retina": one thin instrument behind a pupil; "abdomen": up to two thick ones, from the left and from the right.
    place: str = "retina"
    # Height and width in px.
    image_size: tuple[int, int] = (480, 640)
    # Share of the time for which an instrument is not in the picture.
    absence: float = 0.1
    # Reflections of wet tissue: 0 none, 1 many.
    highlights: float = 0.5
    # Largest standard deviation of the blur, as a part of the height.
    blur: float = 0.003
    # Standard deviation of the noise of the camera, of 255.
    noise: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", tuple(self.image_size))  # settings files have lists
        checks = {
            "place": (self.place in PLACES, f"one of {', '.join(PLACES)}"),
            "image_size": (len(self.image_size) == 2 and min(self.image_size) >= 16, "height and width from 16 px"),
            "absence": (0 <= self.absence <= 1, "from 0 to 1"),
            "highlights": (0 <= self.highlights <= 1, "from 0 to 1"),
            "blur": (self.blur >= 0, "0 or more"),
            "noise": (self.noise >= 0, "0 or more"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)!r}.")


class SimulatedFrame(NamedTuple):
    """One frame of a video.

    Attributes:
        image: `(height, width, 3)` uint8, red, green, blue.
        mask: `(height, width)` uint8: 0 tissue, 1 shaft, 2 jaws.
        joints: `(instruments, 4, 2)` float64: x and y in px of shaft, joint, tip_1 and tip_2; of the retina one
            instrument, of the abdomen the left and the right one. NaN: not in the picture. The place of the shaft is
            where it comes into the picture, or into the pupil.
    """

    image: np.ndarray
    mask: np.ndarray
    joints: np.ndarray


class _Sequence(NamedTuple):
    """What the frames of a sequence share; view is where light falls, from 0 to 1."""

    tissue: np.ndarray
    view: Callable[[float], np.ndarray]
    instruments: list[Instrument]
    presence: list[Wave]
    light: float
    tint: np.ndarray


def simulate(scene: EndoscopyScene, sequence: int, frame: int) -> SimulatedFrame:
    """Makes one frame.

    Args:
        scene: the settings.
        sequence: the same number is the same patient, camera and instruments.
        frame: time in frames; neighbours are alike.

    Returns:
        The frame; the same for the same arguments.

    >>> made = simulate(EndoscopyScene("abdomen", (48, 64)), sequence=1, frame=5)
    >>> made.image.shape, made.mask.shape, made.joints.shape
    ((48, 64, 3), (48, 64), (2, 4, 2))
    """
    height = scene.image_size[0]
    course, draws = _sequence(scene, sequence), Draws(7, sequence, frame)
    view = course.view(frame)
    image = _moved(course.tissue, frame, scene)
    image = image + highlights(draws, scene.image_size, scene.highlights)[..., np.newaxis] * (1 - image)
    mask, joints = np.zeros(scene.image_size, np.uint8), np.full((len(course.instruments), 4, 2), np.nan)
    for number, (instrument, presence) in enumerate(zip(course.instruments, course.presence, strict=True)):
        if presence(frame) < scene.absence:
            continue
        places = instrument.joints(frame, height)
        parts = parts_of(places, instrument.look, height)
        paint(image, parts, instrument.look, course.light)
        mask = np.where(own := drawn(parts, scene.image_size), own, mask)
        joints[number] = _visible(places, view)
    # Behind the pupil nothing is seen, so nothing is marked.
    mask = np.where(view > 0.5, mask, 0).astype(np.uint8)
    image = _camera(image * course.light * view[..., np.newaxis] * course.tint, scene, draws)
    return SimulatedFrame(image, mask, joints)


@functools.lru_cache(maxsize=4)
def _sequence(scene: EndoscopyScene, number: int) -> _Sequence:
    height, width = scene.image_size
    draws = Draws(3, PLACES.index(scene.place), number)
    padded = (int(1.15 * height), int(1.15 * width))
    if scene.place == "retina":
        radius = height * draws.uniform(0.28, 0.42)
        x, y = (Wave(draws, 0.42 * edge, 0.58 * edge, SPEED) for edge in (width, height))
        tissue, thick, sides = retina(draws, padded), (0.022, 0.04), [draws.chance(0.5) * 2 - 1]
        middle, reach = np.array([width, height]) / 2, 0.6 * radius
        regions, view = (
            [(*(middle - reach), *(middle + reach))],
            functools.partial(_pupil, scene.image_size, x, y, radius),
        )
    else:
        tissue, thick, sides = organs(draws, padded), (0.07, 0.13), [-1, 1]
        regions = [(0.1 * width, 0.25 * height, 0.55 * width, 0.85 * height),
                   (0.45 * width, 0.25 * height, 0.9 * width, 0.85 * height)]  # fmt: skip
        view = functools.partial(_vignette, scene.image_size, draws.uniform(0.3, 0.8))
    instruments = [
        Instrument(draws, new_look(draws, thick), side, region, SPEED)
        for side, region in zip(sides, regions, strict=True)
    ]
    presence = [Wave(draws, 0.0, 1.0, SPEED / 2) for _ in instruments]
    return _Sequence(tissue, view, instruments, presence, draws.uniform(0.75, 1.05), draws.vector(3, 0.9, 1.1))


def _pupil(size: tuple[int, int], x: Wave, y: Wave, radius: float, time: float) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    distance = np.hypot(columns - x(time), rows - y(time))
    return 0.04 + 0.96 / (1 + np.exp((distance - radius) / (0.015 * size[0])))


def _vignette(size: tuple[int, int], strength: float, time: float) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, edge) for edge in size)
    return 1.02 / (1 + strength * 0.7 * (columns**2 + rows[:, np.newaxis] ** 2))


def _visible(places: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Cuts the shaft off where it comes into view, and leaves out joints that are outside."""
    height, width = view.shape

    def seen(x: float, y: float) -> bool:
        column, row = round(x), round(y)
        return 0 <= column < width and 0 <= row < height and bool(view[row, column] > 0.5 * view.max())

    start, joint = places[0], places[1]
    steps = joint + np.linspace(0, 1, 3 * height)[:, np.newaxis] * (start - joint)
    inside = [place for place in steps if seen(*place)]
    start = inside[-1] if inside and seen(*joint) else [np.nan, np.nan]
    rest = [place if seen(*place) else [np.nan, np.nan] for place in places[1:]]
    return np.array([start, *rest])


def _moved(tissue: np.ndarray, time: float, scene: EndoscopyScene) -> np.ndarray:
    """Lets the tissue breathe: a window that wanders over a larger picture."""
    waves = (0.5 + 0.5 * np.sin(2 * np.pi * SPEED * rate * time) for rate in (1, 0.7))
    slack = np.subtract(tissue.shape[:2], scene.image_size)
    row, column = (int(gap * wave) for gap, wave in zip(slack, waves, strict=True))
    return tissue[row : row + scene.image_size[0], column : column + scene.image_size[1]].copy()


def _camera(image: np.ndarray, scene: EndoscopyScene, draws: Draws) -> np.ndarray:
    sigma = draws.uniform(0.3, 1.0) * scene.blur * scene.image_size[0]
    blurred = ndimage.gaussian_filter(image, (sigma, sigma, 0)) * 255
    spread = scene.noise * 3**0.5  # of uniform numbers with that standard deviation
    noise = draws.vector(image.size, -spread, spread).reshape(image.shape)
    return np.clip(np.round(blurred + noise), 0, 255).astype(np.uint8)
