"""The one picture of the frames: patient, volume, C-arm, image, and the pose between them."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rigid import inverse, rotated
from tfmedcai.reports.style import GREY, INK, PALETTE, styled

C_ARM, VOLUME, IMAGE = PALETTE[:3]
# Shorter than C-arms are, so that the patient is not small beside it.
CAMERA = Camera.from_c_arm(640.0, 1.0, (340, 340), source_isocentre_mm=400.0)
SOURCE = np.array([0.0, 0.0, -400.0])  # in the frame of the C-arm
ZERO = np.zeros(6)
MOVED = np.array([0.4, 0.0, 0.0, 0.0, -75.0, 55.0])  # rad and mm: an example of a pose
HALF_MM = 115.0  # half of the side of the volume that is drawn
AXIS_MM = 160.0  # length of the axes
# Where the reader stands, in the frame of the volume: to the left of the patient, before him and above.
_READER = np.array([1.0, -0.55, -0.65])
_RIGHT = np.cross([0.0, -1.0, 0.0], _READER) / np.hypot(*_READER[[0, 2]])
_UP = np.cross(_READER, _RIGHT) / np.linalg.norm(_READER)
# A patient of strokes in mm: his nose and his feet point to the front, his left hand is up.
_CIRCLE = np.linspace(0, 2 * np.pi, 25)
PATIENT = tuple(
    np.array(stroke, float)
    for stroke in (
        np.stack([16 * np.sin(_CIRCLE), -72 - 19 * np.cos(_CIRCLE), 0 * _CIRCLE], axis=1),
        [[0, -76, 0], [0, -70, -22], [0, -68, 0]],
        [[0, -53, 0], [0, 15, 0]],
        [[-70, -15, 0], [-33, -40, 0], [0, -44, 0], [33, -40, 0], [62, -55, 0], [62, -92, 0]],
        [[-33, 94, -28], [-33, 94, 0], [-18, 15, 0], [18, 15, 0], [33, 94, 0], [33, 94, -28]],
    )
)
_HALO = [withStroke(linewidth=2.5, foreground="white")]


@styled
def c_arm_figure() -> Figure:
    """Returns a figure of the frames: a C-arm in pose zero, its image, and the same C-arm in another pose.

    >>> len(c_arm_figure().axes)
    3
    """
    figure = Figure(figsize=(12.0, 5.0), layout="constrained", facecolor="white")
    still, image, moved = figure.subplots(1, 3, width_ratios=(1.5, 0.9, 1.5))
    _draw_scene(still, ZERO)
    _draw_axes(still, ZERO, C_ARM, ("x: left", "y: feet", "z: back"))
    _draw_lengths(still)
    still.set_title("pose zero looks at the patient from the front (AP)")
    _draw_image(image)
    _draw_scene(moved, MOVED)
    _draw_axes(moved, ZERO, VOLUME, ("x", "y", "z"), length=105.0)
    _draw_axes(moved, MOVED, C_ARM, ("x", "y", "z"))
    _arrow(moved, ZERO[3:], MOVED[3:], INK, "t", past=0.6)
    moved.set_title("a pose (r, t) moves the C-arm")
    rotation, translation = (", ".join(f"{number:g}" for number in part) for part in (MOVED[:3], MOVED[3:]))
    figure.supxlabel(
        "A point that lies at g for the C-arm (blue) lies at p = R(r) g + t for the volume (orange). "
        f"Here r = ({rotation}) rad, t = ({translation}) mm.",
        fontsize=10,
    )
    return figure


def seen(pose: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    """Finds where the image of `CAMERA` shows points, as the picture draws them.

    Args:
        pose: `(6,)` of the C-arm: rotation vector in rad, translation in mm.
        points_mm: `(n, 3)` mm in the frame of the volume.

    Returns:
        `(n, 2)` px: column, row.
    """
    return CAMERA.project(_moved(inverse(pose).numpy(), points_mm) - SOURCE).numpy()


def _moved(pose: np.ndarray, points_mm: np.ndarray) -> np.ndarray:
    return rotated(pose[:3], points_mm).numpy() + pose[3:]


def _flat(points_mm: np.ndarray) -> np.ndarray:
    """Finds where the picture shows points of the volume's frame, x and y."""
    return points_mm @ np.stack([_RIGHT, _UP], axis=1)


def _on_detector(pixels: np.ndarray, pose: np.ndarray) -> np.ndarray:
    from_source = CAMERA.unproject(pixels, CAMERA.source_detector_mm).numpy()
    return _moved(pose, from_source + SOURCE)


def _line(axes: Axes, points_mm: np.ndarray, **style) -> None:
    axes.plot(*_flat(points_mm).T, **{"linewidth": 1.2, "solid_capstyle": "round"} | style)


def _write(axes: Axes, place: np.ndarray, text: str, colour: str, **style) -> None:
    middle = {"ha": "center", "va": "center"}
    x, y = place
    axes.text(x, y, text, color=colour, path_effects=_HALO, clip_on=False, **middle | style)


def _arrow(axes: Axes, start: np.ndarray, end: np.ndarray, colour: str, text: str, past: float = 1.12) -> None:
    """Draws an arrow between points of the volume's frame, and its name at that part of its length."""
    tail, tip = _flat(start), _flat(end)
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11}
    axes.annotate("", tuple(tip), tuple(tail), arrowprops=look)
    _write(axes, tail + past * (tip - tail), text, colour)


def _draw_axes(axes: Axes, pose: np.ndarray, colour: str, names: tuple[str, str, str], length: float = AXIS_MM) -> None:
    for end, name in zip(length * np.eye(3), names, strict=True):
        _arrow(axes, pose[3:], _moved(pose, end), colour, name)


def _draw_scene(axes: Axes, pose: np.ndarray) -> None:
    """Draws the volume, the patient in it, source and detector, and the image on that."""
    height, width = CAMERA.image_size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]]) - 0.5
    detector = _on_detector(corners, pose)
    source = _moved(pose, SOURCE)
    axes.fill(*_flat(detector).T, color=IMAGE, alpha=0.12, linewidth=0)
    _line(axes, detector, color=IMAGE)
    for corner in detector[:4]:
        _line(axes, np.stack([source, corner]), color=GREY, linewidth=0.7, alpha=0.7)
    for stroke in PATIENT:
        _line(axes, _on_detector(seen(pose, stroke), pose), color=IMAGE, linewidth=1.4)
    for axis, low, high in itertools.product(range(3), (-1, 1), (-1, 1)):
        edge = np.insert(np.array([[low, high], [low, high]]), axis, [-1, 1], axis=1)
        _line(axes, HALF_MM * edge, color=VOLUME, linewidth=0.7, alpha=0.7)
    for stroke in PATIENT:
        _line(axes, stroke, color=VOLUME, linewidth=2.2)
    axes.plot(*_flat(detector[0]), "o", color=IMAGE, markersize=5)
    axes.plot(*_flat(source), "o", color=C_ARM, markersize=8)
    axes.annotate("source", tuple(_flat(source)), (0, 9), textcoords="offset points", color=C_ARM, ha="center")
    axes.set_aspect("equal")
    axes.set_axis_off()


def _draw_lengths(axes: Axes) -> None:
    """Draws how far isocentre and detector are from the source, below a C-arm in pose zero."""
    source = -CAMERA.source_isocentre_mm
    for below, end, name in (
        (1.7, 0.0, "source_isocentre_mm"),
        (2.1, source + CAMERA.source_detector_mm, "source_detector_mm"),
    ):
        ends = np.array([[0.0, below * HALF_MM, z] for z in (source, end)])
        _line(axes, ends, color=GREY, marker="|", markersize=8, linewidth=0.9)
        run, rise = np.diff(_flat(ends), axis=0)[0]
        angle = float(np.degrees(np.arctan2(rise, run)))
        place = _flat(ends.mean(axis=0))
        _write(axes, place, name, INK, rotation=angle, rotation_mode="anchor", fontsize=9.5)


def _draw_image(axes: Axes) -> None:
    """Draws the image of pose zero and its pixels."""
    height, width = CAMERA.image_size
    for stroke in PATIENT:
        axes.plot(*seen(ZERO, stroke).T, color=IMAGE, linewidth=2)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    axes.set_title("its image")
    axes.grid(False)
    axes.spines[:].set(visible=True, color=IMAGE, linewidth=1.2)
    look = {"arrowstyle": "-|>", "color": C_ARM, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
    for end in ((0.3 * width, 0.0), (0.0, 0.3 * height)):
        axes.annotate("", end, (0.0, 0.0), arrowprops=look, annotation_clip=False)
    axes.plot(0.0, 0.0, "o", color=IMAGE, markersize=6, clip_on=False)
    axes.plot(*CAMERA.principal_point_px, "+", color=INK, markersize=10)
    for x, y, words, colour in (
        (0.02, 0.04, "pixel (0, 0)", IMAGE),
        (0.32, 0.04, "x, columns", C_ARM),
        (0.02, 0.34, "y, rows", C_ARM),
        (0.02, 0.96, "right side", VOLUME),
        (0.78, 0.96, "left side", VOLUME),
        (0.53, 0.46, "principal_point", INK),
    ):
        _write(axes, np.array([x * width, y * height]), words, colour, ha="left")
