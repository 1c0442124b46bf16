"""Simulated CT volumes of the pelvis with labelled bones, another subject for every number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tfmedcai.simulators.organ_anatomy import Grid, smooth_field

LABELS = {1: "left hip", 2: "right hip", 3: "sacrum", 4: "left femur", 5: "right femur", 6: "vertebrae"}
_CORTEX_MM = 3.0
# Hounsfield units: mean, spread between subjects, texture.
_AIR, _FAT, _MUSCLE, _GAS, _SPONGY, _CORTEX = (
    *((-1000, 0, 0), (-100, 8, 10), (55, 6, 12), (-850, 30, 30)),
    *((230, 40, 60), (850, 110, 90)),
)
# Bones of one side as thick lines: label of the left one, ends in mm (to the side, feet, back), radius in mm. The
# origin lies in the middle between the hip joints, 30 mm above them.
_LINES = (
    *((1, (70, -14, 32), (90, 24, 4), 17), (1, (82, 42, -22), (14, 52, -50), 9), (1, (10, 44, -50), (10, 68, -48), 9)),
    *((1, (13, 68, -46), (58, 98, 6), 8), (1, (90, 48, 12), (62, 98, 14), 14), (1, (58, -24, 48), (80, -14, 22), 12)),
    *((4, (92, 32, 0), (92, 32, 0), 23), (4, (92, 32, 0), (136, 62, 6), 13), (4, (138, 58, 8), (138, 66, 8), 19)),
    (4, (134, 70, 6), (116, 330, 0), 15),
)  # fmt: skip


@dataclass(frozen=True)
class PelvisScene:
    """Settings of the simulator.

    Raises:
        ValueError: if a number is out of its range.
    """

    # Voxels along depth (to the back), height (to the feet) and width (to the left).
    size: tuple[int, int, int] = (128, 128, 128)
    # Mm between them; the size times this is what is seen: 300 mm show the whole pelvis.
    spacing_mm: tuple[float, float, float] = (2.33, 2.33, 2.33)
    # Multiplies the differences in shape from subject to subject.
    variety: float = 1.0

    def __post_init__(self) -> None:
        for name in ("size", "spacing_mm"):  # settings files have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        checks = {
            "size": (len(self.size) == 3 and min(self.size) > 1, "three numbers of voxels, 2 or more"),
            "spacing_mm": (len(self.spacing_mm) == 3 and min(self.spacing_mm) > 0, "three numbers above 0 mm"),
            "variety": (self.variety >= 0, "0 or more"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)!r}.")


class Pelvis(NamedTuple):
    """One subject, seen from the front: in the frame of `layers/projector.py`.

    Attributes:
        hu: `(depth, height, width)` float32, Hounsfield units.
        labels: `(depth, height, width)` uint8, names in `LABELS`.
    """

    hu: np.ndarray
    labels: np.ndarray


def simulate(scene: PelvisScene, subject: int) -> Pelvis:
    """Makes one subject.

    Args:
        scene: the settings.
        subject: the same number is the same subject.

    Returns:
        The volume.

    >>> sample = simulate(PelvisScene((32, 32, 32), (9.4, 9.4, 9.4)), subject=3)
    >>> sample.hu.shape, sorted(set(sample.labels.ravel().tolist()))
    ((32, 32, 32), [0, 1, 2, 3, 4, 5, 6])
    """
    rng, grid = np.random.default_rng([20_240, subject]), Grid(scene.size, scene.spacing_mm)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(*grid, strict=True)]
    back, feet, left = np.meshgrid(*axes, indexing="ij")
    places = np.stack([left, feet, back]).astype(np.float32)
    fat = _body(rng, places, scene.variety)
    places = _posed(rng, places, scene.variety)
    places += np.stack([smooth_field(rng, grid, 70.0) for _ in range(3)]) * (3.0 * scene.variety)
    labels = _bones(rng, places, scene.variety)
    # Distances within a bone say where its hard shell is.
    inside = ndimage.distance_transform_edt(labels > 0, sampling=scene.spacing_mm)
    shell = (labels > 0) & (inside <= max(_CORTEX_MM, *scene.spacing_mm))
    gas = (smooth_field(rng, grid, 28.0) > 1.5) & (fat < 0.6) & (places[1] < 20) & (places[2] < 15) & (labels == 0)
    kinds = np.select([shell, labels > 0, gas, fat > 1, fat > 0.86], [5, 4, 3, 0, 1], 2)
    table = np.array([_AIR, _FAT, _MUSCLE, _GAS, _SPONGY, _CORTEX], np.float32)
    means = rng.normal(table[:, 0], table[:, 1]).astype(np.float32)
    hu = means[kinds] + table[kinds, 2] * smooth_field(rng, grid, 12.0)
    return Pelvis(ndimage.gaussian_filter(hu, 0.5), labels)


def _body(rng: np.random.Generator, places: np.ndarray, variety: float) -> np.ndarray:
    """Says how far out of the trunk, or of the nearer thigh, places are: 1 is the skin."""
    left, feet, back = places
    build = np.exp(rng.normal(0, 0.06 * variety, 2))
    trunk = ((np.abs(left) / (180 * build[0])) ** 2.4 + (np.abs(back - 5) / (115 * build[1])) ** 2.4) ** (1 / 2.4)
    thigh = np.hypot((np.abs(left) - 92) / (88 * build[0]), back / (95 * build[1]))
    return np.where(feet < 100, trunk, np.minimum(np.maximum(trunk, (feet - 100) / 40), thigh))


def _posed(rng: np.random.Generator, places: np.ndarray, variety: float) -> np.ndarray:
    """Takes places to those of the mean pelvis: of another size, lying tilted and a little aside."""
    pitch, roll, turn = rng.normal(0, np.radians([6, 2, 2]) * variety)
    c, s = np.cos([pitch, roll, turn]), np.sin([pitch, roll, turn])
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    size = np.exp(rng.normal(0, 0.06 * variety, 3))
    moved = places - rng.normal(0, 6 * variety, 3).reshape(3, 1, 1, 1)
    return (np.tensordot(about_x @ about_y @ about_z, moved, 1) / size.reshape(3, 1, 1, 1)).astype(np.float32)


def _bones(rng: np.random.Generator, places: np.ndarray, variety: float) -> np.ndarray:
    """Lays bones into the mean pelvis; `(depth, height, width)` uint8, numbers of `LABELS`."""
    labels = np.zeros(places.shape[1:], np.uint8)
    _spine(rng, places, labels, variety)
    jitter = {(label, index): rng.normal(0, 2 * variety, (2, 3)) for index, (label, *_) in enumerate(_LINES)}
    widths = np.exp(rng.normal(0, 0.07 * variety, len(_LINES)))
    flare = rng.normal(0, 0.08 * variety, 2)
    for label, mirror in ((0, 1), (1, -1)):
        side = places * np.array([mirror, 1, 1]).reshape(3, 1, 1, 1)
        labels[_wing(side, flare)] = 1 + label
        socket = _far(side, (92, 32, 0))
        medial = (side[0] - 92) + 0.7 * (side[1] - 32) < 14
        labels[(socket < 33) & (socket > 26) & medial] = 1 + label
        for index, (number, start, end, radius) in enumerate(_LINES):
            ends = np.array([start, end]) + jitter[number, index] * (number == 1)
            near = _line(side, ends) < radius * widths[index]
            # The joint is a gap, and so is what bones of one side leave to the other.
            labels[near & ((number == 4) | (socket > 26))] = number + label
    return labels


def _spine(rng: np.random.Generator, places: np.ndarray, labels: np.ndarray, variety: float) -> None:
    """Sets the curved, tapering sacrum with its holes, and the last vertebrae."""
    left, feet, back = places
    bend = 46 + 0.006 * (feet + 5) ** 2 * (1 + 0.3 * rng.normal(0, variety)) - 0.2 * feet
    width = np.clip(56 - 0.42 * (feet + 50), 9, 60)
    sacrum = (np.abs(left) / width) ** 2.5 + ((back - bend) / np.clip(20 - 0.11 * (feet + 50), 7, 30)) ** 2 < 1
    holes = (np.hypot(np.abs(left) - 0.45 * width, np.mod(feet + 40, 24) - 12) < 4.5) & (feet < 40)
    labels[sacrum & (feet > -52) & (feet < 72) & ~holes] = 3
    level = np.mod(feet + 74 + 17, 36) - 18
    above = (feet < -56) & (np.abs(level) < 14)
    centre = 26 + 0.25 * (feet + 74)
    labels[above & ((left / 25) ** 2 + ((back - centre) / 18) ** 2 < 1)] = 6
    labels[above & (np.abs(left) < 4) & (back - centre > 30) & (back - centre < 58) & (np.abs(level) < 9)] = 6
    labels[above & (np.abs(left) < 42) & (np.abs(back - centre - 24) < 5) & (np.abs(level) < 5)] = 6


def _wing(side: np.ndarray, flare: np.ndarray) -> np.ndarray:
    """The blade of the ilium: a thin bowl that opens to the front and the middle."""
    normal = np.array([0.80 + flare[0], 0.22 + flare[1], -0.50])
    normal /= np.linalg.norm(normal)
    along = np.cross(normal, (0.0, 1.0, 0.0))
    along /= np.linalg.norm(along)
    away = side - np.array([92, -42, 20]).reshape(3, 1, 1, 1)
    u, v, w = (np.tensordot(axis, away, 1) for axis in (normal, along, np.cross(normal, along)))
    bowl = u + 0.0022 * (v**2 + w**2) - 4
    rim = (v / 70) ** 2 + (w / 62) ** 2
    return (np.abs(bowl) < 4.5 + 4 * rim**3) & (rim < 1)


def _far(places: np.ndarray, centre: tuple[float, float, float]) -> np.ndarray:
    return np.linalg.norm(places - np.reshape(centre, (3, 1, 1, 1)), axis=0)


def _line(places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Distances from a straight line between two ends."""
    start, way = ends[0].reshape(3, 1, 1, 1), ends[1] - ends[0]
    part = np.clip(np.tensordot(way, places - start, 1) / max(way @ way, 1e-6), 0, 1)
    return np.linalg.norm(places - start - way.reshape(3, 1, 1, 1) * part, axis=0)
