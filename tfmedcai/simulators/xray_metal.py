"""Surgical instruments as X-rays see them: screw, guide wire, drill and robot as solids in their own frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from tfmedcai.simulators.xray_draws import Draws
from tfmedcai.simulators.xray_solids import Rays, chord, convex, paste, sampled_chord

# Thickness in mm over which the surface of a sampled solid fades: samples are not much closer.
_SOFT_MM = 0.06


@dataclass(frozen=True)
class Instrument:
    """What there is to know of one kind of instrument.

    Args:
        sample: draws one: a dictionary of arrays "near", "far" (solids: see `_solid`) and "detail", see `detail`.
        reach_mm: the solids near the origin and the detail lie within this distance of `centre_mm`.
        centre_mm: x of the middle of the near part.
        detail: the part without a closed form: function of its numbers and of x, y, z in mm (frame of the instrument),
            fraction of solid there; None for an instrument without.
        samples: points per ray in that part.
        handle: 0 to 1, how often a handle or plate is near.
    """

    sample: Callable[[Draws], dict]
    reach_mm: float
    centre_mm: float
    detail: Callable[..., tf.Tensor] | None = None
    samples: int = 0
    handle: float = 0.25


def optical_depth(instrument: Instrument, parameters: dict, rays: Rays, finest_mm: float) -> tf.Tensor:
    """Computes the optical depth of an instrument.

    Args:
        instrument: the `Instrument`.
        parameters: what its `sample` drew, as tensors.
        rays: the `Rays` of the whole image in the instrument frame.
        finest_mm: the finest resolution at the instrument that can occur, mm/px.

    Returns:
        `(height, width)` float, per mm of length by mm of depth.
    """
    size = math.ceil(2 * instrument.reach_mm / finest_mm) + 4
    part, corner = rays.window(tf.constant([instrument.centre_mm, 0.0, 0.0]), size)
    near = _total(part, parameters["near"])
    if instrument.detail:
        numbers = tf.unstack(parameters["detail"][0])
        around = convex(part, parameters["detail"][1][:3], parameters["detail"][2])
        near += parameters["detail"][1][3] * sampled_chord(
            around, part, lambda x, y, z: instrument.detail(numbers, x, y, z), instrument.samples
        )
    whole = paste(near, corner, (rays.slopes_y.shape[0], rays.slopes_x.shape[0]))
    return whole + _total(rays, parameters["far"]) if parameters["far"] else whole


def _total(rays: Rays, solids: list[tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
    total = tf.zeros((rays.slopes_y.shape[0], rays.slopes_x.shape[0]))
    for cylinder, faces in solids:
        total += cylinder[3] * chord(convex(rays, cylinder[:3], faces))
    return total


def _solid(radius: float, density: float, faces: list, axis: tuple[float, float] = (0.0, 0.0)) -> tuple:
    """Describes a cut cylinder: `(4,)` radius, y, z of its axis in mm, density in 1/mm; `(n, 4)` its faces."""
    return np.array([radius, *axis, density], np.float32), np.array(faces, np.float32)


def _front(limit: float) -> list[float]:
    return [1.0, 0.0, 0.0, limit]


def _back(limit: float) -> list[float]:
    return [-1.0, 0.0, 0.0, -limit]


def _fill(radius: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value((radius - distance) * (1.0 / _SOFT_MM) + 0.5, 0.0, 1.0)


def _sample_screw(draws: Draws) -> dict:
    """Draws a bone screw, 4-6 mm long and 1-1.7 mm thick: head around the origin, thread and tip along +x."""
    head_radius, head = draws.uniform(0.85, 1.4), draws.uniform(0.7, 1.3)
    core, thread, pitch = draws.uniform(0.38, 0.6), draws.uniform(0.12, 0.26), draws.uniform(0.45, 0.95)
    tip, taper = draws.uniform(4.0, 6.0) - head / 2, draws.uniform(0.8, 1.6)
    sink, dome, socket = draws.uniform(0.0, 0.55), draws.uniform(0.0, 0.9), draws.uniform(0.0, 0.5)
    numbers = [head_radius, head, core, thread, pitch, tip, taper, sink, dome, socket]
    around = _solid(max(head_radius, core + thread), draws.log_uniform(0.4, 1.2), [_front(tip), _back(-head / 2)])
    return {"near": [], "far": [], "detail": (np.array(numbers, np.float32), *around)}


def _screw(numbers: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Says how much of each point is inside the screw that `numbers` of `_sample_screw` describe."""
    head_radius, head, core, thread, pitch, tip, taper, sink, dome, socket = numbers
    distance = tf.sqrt(y * y + z * z + 1e-9)
    phase = (2 * math.pi / pitch) * x
    helix = 0.5 + 0.5 * (y * tf.cos(phase) + z * tf.sin(phase)) / distance
    left = tf.clip_by_value((tip - x) / taper, 0.0, 1.0)
    shaft = (core + thread * helix) * (left * (2.0 - left))
    place = tf.clip_by_value(x / head, -0.5, 0.5)
    cap = head_radius * (1.0 - sink * (place + 0.5)) * tf.sqrt(1.0 - dome * tf.square(tf.minimum(2.0 * place, 0.0)))
    hole = tf.where(x < 0.1 * head, _fill(socket * head_radius, distance), 0.0)
    return tf.nn.relu(_fill(tf.where(x < head / 2, cap, shaft), distance) - hole)


def _sample_guide_wire(draws: Draws) -> dict:
    """Draws a guide wire, 1-3 mm thick: point of 4 faces at the origin, shaft along -x, sleeve from 5-15 mm behind."""
    radius, density, point = draws.uniform(0.5, 1.5), draws.log_uniform(0.4, 1.4), 7.0
    uneven = draws.chance(0.6)
    # Steep enough for the faces to end within the near part.
    steepness = draws.uniform(0.22, 0.6) + uneven * draws.vector(4, 0.0, 0.3)
    blunt, first = draws.uniform(0.0, 0.25), draws.uniform(0.0, np.pi)
    azimuths = first + (np.arange(4) + draws.vector(4, -0.2, 0.2)) * (np.pi / 2)
    rise, flat = np.sin(steepness), np.cos(steepness)
    point_faces = np.stack([rise, flat * np.cos(azimuths), flat * np.sin(azimuths), blunt * rise], axis=-1).tolist()
    tip = _solid(radius, density, [_front(0.0), _back(-point), *point_faces])
    return {"near": [tip], "far": [_solid(radius, density, [_front(-point)]), *_sleeve(draws, radius)]}


def _sleeve(draws: Draws, wire_radius: float) -> list:
    start = -draws.uniform(5.0, 15.0) - draws.chance(0.25) * draws.uniform(5.0, 60.0)
    radius = wire_radius + draws.uniform(0.8, 4.5)
    play = (radius - wire_radius) * draws.uniform(0.0, 0.9) * draws.chance(0.6)
    azimuth, lean, bevel = draws.angle(), draws.uniform(-0.6, 0.6), draws.uniform(0.4, 1.1)
    faces = []
    for angle, shift in ((lean, 0.0), (lean + bevel, 0.5 * radius)):
        across = (math.sin(angle) * math.cos(azimuth + 1.0), math.sin(angle) * math.sin(azimuth + 1.0))
        faces.append([math.cos(angle), *across, start * math.cos(angle) + shift])
    axis = (play * math.cos(azimuth), play * math.sin(azimuth))
    sleeve = _solid(radius, draws.log_uniform(0.2, 0.8), faces, axis)
    grip = _front(start - draws.uniform(8.0, 40.0))
    return [sleeve, _solid(radius + draws.uniform(1.0, 8.0), draws.log_uniform(0.03, 0.4), [grip])]


def _sample_drill(draws: Draws) -> dict:
    """Draws a drill, 1-3.2 mm thick: point at the origin, flutes (7-12 mm) and shank along -x, chuck behind."""
    radius, flutes, lead = draws.uniform(0.5, 1.6), draws.uniform(7.0, 12.0), draws.uniform(4.0, 9.0)
    density = draws.log_uniform(0.35, 1.2)
    numbers = [radius, flutes, lead * radius, draws.uniform(0.3, 0.6), draws.uniform(0.9, 1.9)]
    bit = _solid(radius, density, [_front(0.0), _back(-flutes)])
    collar, metal = -draws.uniform(18.0, 45.0), draws.log_uniform(0.15, 0.6)
    body = collar - draws.uniform(3.0, 8.0)
    far = [
        _solid(radius, density, [_front(-flutes)]),
        _solid(radius + draws.uniform(1.0, 3.0), metal, [_front(collar), _back(body)]),
        _solid(draws.uniform(5.0, 9.0), metal, [_front(body)]),
    ]
    return {"near": [], "far": far, "detail": (np.array(numbers, np.float32), *bit)}


def _drill(numbers: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Says how much of each point is inside the bit that `numbers` of `_sample_drill` describe."""
    radius, flutes, lead, groove, point = numbers
    square = y * y + z * z + 1e-9
    phase = (4 * math.pi / lead) * x
    wave = ((y * y - z * z) * tf.cos(phase) + 2.0 * y * z * tf.sin(phase)) / square
    fade = (groove / 1.2) * tf.clip_by_value((x + flutes) * 0.5, 0.0, 1.0)
    return _fill(tf.minimum(radius * (1.0 - fade * tf.nn.relu(wave + 0.2)), -x * point), tf.sqrt(square))


def _sample_robot(draws: Draws) -> dict:
    """Draws a drilling capsule, 8-12 mm long: nose at the origin, two segments with dense rings, cable along -x."""
    radius, nose, length = draws.uniform(1.2, 2.2), draws.uniform(0.6, 1.6), draws.uniform(8.0, 12.0)
    wall, waist = draws.uniform(0.15, 0.4), -length * draws.uniform(0.4, 0.6)
    shell, dense = draws.log_uniform(0.12, 0.5), draws.log_uniform(0.5, 1.6)

    def piece(radius: float, density: float, back: float, front: float) -> tuple:
        return _solid(radius, density, [_front(front), _back(back)])

    near = [piece(draws.uniform(0.35, 0.8) * radius, shell, -nose, 0.0)]
    for back, front in ((waist + 0.3, -nose), (-length, waist - 0.3)):
        near.append(piece(radius, shell, back, front))
        near.append(piece(radius - wall, -0.8 * shell, back + wall, front - wall))
    near.append(piece(0.6 * radius, shell, waist - 0.3, waist + 0.3))
    near.append(piece(draws.uniform(0.2, 0.45) * radius, dense, -0.9 * length, -nose))
    for ring in (waist * 0.5, waist * 0.9):
        near.append(piece(radius, dense, ring - 0.35, ring))
        near.append(piece(0.8 * radius, -dense, ring - 0.35, ring))
    return {"near": near, "far": [_solid(draws.uniform(0.3, 0.8), draws.log_uniform(0.2, 0.8), [_front(-length)])]}


# Instrument name -> how to draw and to render it.
INSTRUMENTS = MappingProxyType(
    {
        "screw": Instrument(_sample_screw, reach_mm=3.8, centre_mm=2.4, detail=_screw, samples=24),
        "guide_wire": Instrument(_sample_guide_wire, reach_mm=4.3, centre_mm=-3.5, handle=0.6),
        "drill": Instrument(_sample_drill, reach_mm=6.8, centre_mm=-6.0, detail=_drill, samples=16, handle=0.4),
        "robot": Instrument(_sample_robot, reach_mm=7.0, centre_mm=-6.0),
    }
)
