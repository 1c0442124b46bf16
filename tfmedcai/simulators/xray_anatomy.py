"""The patient around the instrument: optical depth of soft tissue and bone, the same anatomy for the same subject."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfmedcai.simulators.xray_draws import Draws
from tfmedcai.simulators.xray_solids import ellipsoid_chords, ellipsoid_coefficients

# Effective attenuation in 1/mm, at about 75 kVp, beyond that of the soft tissue whose place bone takes.
SPONGY_BONE, CORTICAL_BONE = 0.010, 0.030
_LIMBS, _TUBES, _LUMPS = 3, 3, 6
_BONES = _TUBES + _LUMPS
_TILE = 512
# Keeps subjects apart from the streams of data sets, which have other numbers in this place.
_STREAM = 1_000
_TEXEL_MM = 0.4


@functools.cache
def textures(size: int = _TILE) -> np.ndarray:
    """Makes tiles of noise that repeat without a seam: trabecular bone, air cells, clouds of soft tissue.

    Args:
        size: edge of a tile in px.

    Returns:
        `(size, size, 3)` float32, each channel with mean 0 and standard deviation 1.

    >>> textures(64).shape
    (64, 64, 3)
    """
    generator = np.random.default_rng(7)
    down, across = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")

    def filtered(gain: np.ndarray) -> np.ndarray:
        field = np.fft.irfft2(np.fft.rfft2(generator.standard_normal((size, size))) * gain, s=(size, size))
        return (field - field.mean()) / field.std()

    radius = np.maximum(np.hypot(down, across), 1.0 / size)
    trabecular = filtered(np.exp(-((radius - 0.10) ** 2) / 0.004) * np.exp(-((down / 0.08) ** 2)) + 0.02 / radius)
    cells = np.maximum(filtered(np.exp(-((radius - 0.05) ** 2) / 0.0008)), -0.3)
    fields = [trabecular, (cells - cells.mean()) / cells.std(), filtered(radius**-1.6)]
    return np.stack(fields, axis=-1).astype(np.float32)


def _turn(angles: np.ndarray | float, axis: int) -> np.ndarray:
    matrices = np.zeros((*np.shape(angles), 3, 3))
    first, second = [k for k in range(3) if k != axis]
    matrices[..., axis, axis] = 1.0
    matrices[..., first, first] = matrices[..., second, second] = np.cos(angles)
    matrices[..., first, second], matrices[..., second, first] = -np.sin(angles), np.sin(angles)
    return matrices


@functools.lru_cache(maxsize=4096)
def _subject(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws the solids of a subject: shapes, centres and densities, limbs first, and the strength of three textures."""
    draws, count = Draws(20_201, number, _STREAM), _LIMBS + _BONES
    # Semi-axes in mm: limbs and tubes lie along their first axis, lumps of bone have any shape.
    width = [draws.vector(_LIMBS, 60, 140), draws.vector(_TUBES, 9, 22), draws.vector(_LUMPS, 6, 26)]
    length = [draws.vector(_LIMBS, 150, 400), draws.vector(_TUBES, 60, 200), draws.vector(_LUMPS, 6, 26)]
    width, length = np.concatenate(width), np.concatenate(length)
    axes = np.stack([length, width, width * draws.vector(count, 0.7, 1.3)], axis=-1)
    spread = np.repeat([25.0, 30.0, 36.0], [_LIMBS, _TUBES, _LUMPS])[:, np.newaxis]
    centres = draws.vector(3 * count, -1.0, 1.0).reshape(count, 3) * spread
    lean = np.concatenate([draws.vector(_LIMBS + _TUBES, -0.4, 0.4), draws.vector(_LUMPS, -1.5, 1.5)])
    frames = _turn(draws.vector(count, -np.pi, np.pi), 2) @ _turn(lean, 0)
    # A bone is a cortical solid less a core that the spongy bone refills.
    shell = np.minimum(draws.vector(_BONES, 0.8, 5.0), 0.3 * axes[_LIMBS:, 1])
    cortex = CORTICAL_BONE * draws.vector(_BONES, 0.4, 1.1)
    core = SPONGY_BONE * draws.vector(_BONES, -0.5, 1.5) - cortex
    # Where all limbs overlap, exp(-2.5) to exp(-4.5) of the beam is left.
    limbs = np.full(_LIMBS, draws.uniform(2.5, 4.5) / (2.0 * axes[:_LIMBS, 2].sum()))
    axes = np.concatenate([axes, axes[_LIMBS:] - shell[:, np.newaxis]])
    frames, centres = np.concatenate([frames, frames[_LIMBS:]]), np.concatenate([centres, centres[_LIMBS:]])
    density = np.concatenate([limbs, cortex, core])
    return np.swapaxes(frames, 1, 2) / axes[..., np.newaxis], centres, density, draws.vector(3)


def sample(draws: Draws, subject: int, origin: np.ndarray, texel: float) -> dict:
    """Draws a view of a subject: turned about the beam by any angle and about other axes by up to 25 deg, shifted.

    Args:
        draws: where the numbers come from.
        subject: the same number is the same anatomy.
        origin: `(3,)`, mm in the camera frame; the anatomy lies around it.
        texel: mm at that depth per pixel of the coarse grid that the anatomy is rendered on.

    Returns:
        Arrays for `optical_depth`.
    """
    shapes, centres, density, character = _subject(subject)
    turn = _turn(draws.angle(), 2) @ _turn(draws.uniform(-0.44, 0.44), 0) @ _turn(draws.angle(), 2)
    centres = centres @ turn.T + draws.vector(3, -22.0, 22.0) * draws.uniform() + origin
    step, angle = texel / _TEXEL_MM * draws.log_uniform(0.5, 2.0), draws.angle()
    cos, sin, (left, top) = step * np.cos(angle), step * np.sin(angle), draws.vector(2, 0.0, _TILE)
    strength = np.array([0.15, 0.2, 0.03]) * [character[0], character[1] ** 2, 1.0]
    return {
        "coefficients": ellipsoid_coefficients(shapes @ turn.T, centres),
        "density": density.astype(np.float32),
        "texture": np.array([[cos, -sin, left, sin, cos, top, 0.0, 0.0]], np.float32),
        "grain": strength.astype(np.float32),
    }


def optical_depth(parameters: dict, slopes_x: tf.Tensor, slopes_y: tf.Tensor) -> tf.Tensor:
    """Computes the optical depth of the patient.

    Args:
        parameters: what `sample` drew, as tensors.
        slopes_x: `(width,)` float, x of the rays per mm of depth.
        slopes_y: `(height, 1)` float, y of the rays per mm of depth.

    Returns:
        `(height, width)` float32, per mm of length by mm of depth, 0 in air.
    """
    depths = ellipsoid_chords(slopes_x, slopes_y, parameters["coefficients"])
    density = parameters["density"]
    soft, bone = (
        tf.tensordot(part, chords, 1)
        for part, chords in zip(tf.split(density, [_LIMBS, -1]), tf.split(depths, [_LIMBS, -1]), strict=True)
    )
    noise = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.constant(textures())[tf.newaxis],
        transforms=parameters["texture"],
        output_shape=tf.constant((slopes_y.shape[0], slopes_x.shape[0])),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="WRAP",
    )[0]
    noise = noise * parameters["grain"]
    return tf.nn.relu(soft * (1.0 + noise[..., 2]) + tf.nn.relu(bone) * (1.0 + noise[..., 0] + noise[..., 1]))
