"""Things that disturb: handles, plates, folds, thin wires and staples around the instrument."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfmedcai.simulators.xray_draws import Draws

_FOLDS = 4
_STAPLE_PX = 64


def _f32(**values: object) -> dict:
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def sample(draws: Draws, strength: float, handle: float) -> dict:
    """Draws distractors. Lengths are in mm at the depth of the instrument, x along its axis, y to the right of it.

    Args:
        draws: where the numbers come from.
        strength: 0 to 1, how often there are distractors.
        handle: 0 to 1, how often instruments of this kind come with a handle.

    Returns:
        Arrays for `distances`, `folds`, `opacity` and `staple`.
    """
    bend, heading = draws.log_uniform(15.0, 400.0), draws.angle()
    reach = bend + draws.uniform(1.0, 40.0)
    limbs = [_blob(draws) for _ in range(2)]
    shapes = _f32(
        starts=[limb[0] for limb in limbs],
        ends=[limb[1] for limb in limbs],
        radii=[limb[2] for limb in limbs],
        wire=[reach * np.cos(heading), reach * np.sin(heading), bend],
        # Handle, plate, thin wire: optical depth, and the width in mm over which it sets in (of the wire: thickness).
        amounts=[
            draws.log_uniform(1.0, 3.5) * draws.chance(handle * strength),
            draws.log_uniform(0.2, 1.6) * draws.chance(handle * strength),
            draws.log_uniform(0.1, 1.0) * draws.chance(0.2 * strength),
        ],
        widths=[draws.log_uniform(0.05, 2.0), draws.log_uniform(0.05, 2.0), draws.uniform(0.12, 0.4)],
    )
    return {"shapes": shapes, "folds": _folds(draws, strength), "staples": [_staple(draws, strength) for _ in range(2)]}


def _blob(draws: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws two joined tapering limbs of a handle that begins behind the tip, and keeps them off the tip."""
    points = [np.array([-draws.uniform(6.0, 28.0), draws.uniform(-8.0, 8.0)])]
    heading, radii = draws.angle(), draws.vector(3, 2.0, 10.0)
    for length in draws.vector(2, 10.0, 45.0):
        points.append(points[-1] + length * np.array([np.cos(heading), np.sin(heading)]))
        heading += draws.uniform(-1.2, 1.2)
    starts, ends = np.stack(points[:2]), np.stack(points[1:])
    radii = np.stack([radii[:2], radii[1:]])
    place = np.clip(-np.sum(starts * (ends - starts), 1) / np.sum((ends - starts) ** 2, 1), 0.0, 1.0)
    nearest = np.linalg.norm(starts + place[:, np.newaxis] * (ends - starts), axis=1)
    free = np.min(nearest - radii[:, 0] - place * (radii[:, 1] - radii[:, 0]))
    # Made thinner rather than moved: where they stand stays random.
    return starts, ends, radii - max(0.0, draws.uniform(2.5, 9.0) - free)


def _folds(draws: Draws, strength: float) -> dict:
    bend = np.exp(draws.vector(_FOLDS, np.log(12.0), np.log(800.0)))
    heading, reach = draws.vector(_FOLDS, -np.pi, np.pi), bend + draws.vector(_FOLDS, -35.0, 35.0)
    present = draws.vector(_FOLDS) < 0.6 * strength
    return _f32(
        centre_x=reach * np.cos(heading),
        centre_y=reach * np.sin(heading),
        bend=bend,
        amount=present * np.exp(draws.vector(_FOLDS, np.log(0.05), np.log(0.6))),
        sharpness=np.exp(draws.vector(_FOLDS, np.log(0.12), np.log(1.5))),
        # A cortex is a line more than a step.
        line=draws.vector(_FOLDS) < 0.4,
        thickness=np.exp(draws.vector(_FOLDS, np.log(0.3), np.log(3.0))),
    )


def _staple(draws: Draws, strength: float) -> dict:
    half, flat, turn, arc = draws.uniform(1.5, 3.5), draws.uniform(0.1, 0.8), draws.angle(), draws.uniform(1.8, 3.1)
    angles = np.linspace(-arc, arc, 5)
    points = half * np.stack([np.cos(angles) + draws.vector(5, -0.2, 0.2), flat * np.sin(angles)], axis=-1)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return _f32(
        starts=points[:-1],
        ends=points[1:],
        radii=np.full((4, 2), draws.uniform(0.1, 0.25)),
        amount=draws.log_uniform(0.3, 1.2) * draws.chance(0.3 * strength),
        place=draws.vector(2),
    )


def _capsules(x: tf.Tensor, y: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, radii: tf.Tensor) -> tf.Tensor:
    """Computes the signed distance to a union of `n` tapering capsules: `(height, width)` from `(n, 2)` each."""

    def column(values: tf.Tensor) -> tf.Tensor:
        return values[:, tf.newaxis, tf.newaxis]

    reach = ends - starts
    x, y = x - column(starts[:, 0]), y - column(starts[:, 1])
    reach_x, reach_y = column(reach[:, 0]), column(reach[:, 1])
    unit = 1.0 / column(tf.reduce_sum(reach * reach, axis=1) + 1e-6)
    place = tf.clip_by_value(x * (reach_x * unit) + y * (reach_y * unit), 0.0, 1.0)
    distance = tf.sqrt(tf.square(x - place * reach_x) + tf.square(y - place * reach_y))
    thickness = column(radii[:, 0]) + place * column(radii[:, 1] - radii[:, 0])
    return tf.reduce_min(distance - thickness, axis=0)


def distances(parameters: dict, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Computes signed distances to the sharp-edged distractors: a handle, a plate and a thin curved wire.

    Distances change slowly: they are computed on a coarse grid and enlarged before `opacity` draws the edges.

    Args:
        parameters: "shapes" of `sample`, as tensors.
        x: `(height, width)` float, mm.
        y: `(height, width)` float, mm.

    Returns:
        `(height, width, 3)` float, mm, negative inside (of the wire: on one side).
    """
    starts, ends, radii = parameters["starts"], parameters["ends"], parameters["radii"]
    handle, plate = (_capsules(x, y, starts[k], ends[k], radii[k]) for k in range(2))
    centre_x, centre_y, bend = tf.unstack(parameters["wire"])
    wire = tf.sqrt(tf.square(x - centre_x) + tf.square(y - centre_y)) - bend
    return tf.stack([handle, plate, wire], axis=-1)


def folds(parameters: dict, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Computes the optical depth behind edges of skin folds, covers and bones: steps and lines along wide arcs.

    Args:
        parameters: "folds" of `sample`, as tensors.
        x: `(height, width)` float, mm.
        y: `(height, width)` float, mm.

    Returns:
        `(height, width)` float, 0 or more.
    """
    fold = {name: value[:, tf.newaxis, tf.newaxis] for name, value in parameters.items()}
    distance = tf.sqrt(tf.square(x - fold["centre_x"]) + tf.square(y - fold["centre_y"])) - fold["bend"]
    step = tf.sigmoid(distance / fold["sharpness"])
    line = fold["line"] * tf.exp(-tf.abs(distance) / fold["thickness"])
    return tf.reduce_sum(fold["amount"] * (step + line), axis=0)


def opacity(parameters: dict, distance: tf.Tensor, pixel_mm: tf.Tensor) -> tf.Tensor:
    """Draws the distractors of `distances` as optical depth.

    Args:
        parameters: "shapes" of `sample`, as tensors.
        distance: `(height, width, 3)` float, mm.
        pixel_mm: scalar, resolution at the instrument, mm/px.

    Returns:
        `(height, width)` float, 0 or more.
    """
    (handle, plate, wire), amounts = tf.unstack(distance, axis=-1), tf.unstack(parameters["amounts"])
    widths = tf.unstack(parameters["widths"])
    total = amounts[2] * tf.clip_by_value((0.5 * widths[2] - tf.abs(wire)) / pixel_mm + 0.5, 0.0, 1.0)
    for shape, amount, width in zip((handle, plate), amounts[:2], widths[:2], strict=True):
        total += amount * tf.clip_by_value(0.5 - shape / (pixel_mm + width), 0.0, 1.0)
    return total


def staple(parameters: dict, pixel_mm: tf.Tensor, image_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the optical depth of a skin staple or clip: a thin wire bent in four pieces.

    Args:
        parameters: one of "staples" of `sample`, as tensors.
        pixel_mm: scalar, resolution, mm/px.
        image_size: (height, width) of the image in px.

    Returns:
        `(size, size)` float, and `(2,)` int32, row and column of its first pixel in the image.
    """
    size = min(_STAPLE_PX, *image_size)
    places = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * pixel_mm
    distance = _capsules(
        places[tf.newaxis], places[:, tf.newaxis], parameters["starts"], parameters["ends"], parameters["radii"]
    )
    patch = parameters["amount"] * tf.clip_by_value(0.5 - distance / pixel_mm, 0.0, 1.0)
    free = np.array(image_size, np.float32) - size
    return patch, tf.cast(parameters["place"] * free, tf.int32)
