"""From optical depth to the picture on the monitor: scatter, blur, noise, grey values."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfmedcai.simulators.xray_draws import Draws

_TAPS, _GRAIN_TAPS = 9, 5
# Scatter and uneven gain change slowly: they are computed on a grid this many times coarser.
_POOL = 16


def gaussian(sigma: float, taps: int = _TAPS) -> np.ndarray:
    """Returns the `(taps,)` weights of a Gaussian filter of standard deviation `sigma` + 0.1 px; they add up to 1."""
    places = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-0.5 * (places / (sigma + 0.1)) ** 2)
    return weights / weights.sum()


def sample(draws: Draws, image_size: tuple[int, int], blur_px: tuple[float, float], strength: float) -> dict:
    """Draws exposure, blur, noise and grey values, and boxes that are corrupted.

    Args:
        draws: where the numbers come from.
        image_size: (height, width) in px.
        blur_px: smallest and largest standard deviation of the blur in px.
        strength: 0 to 1, width of the random ranges and how often there is corruption.

    Returns:
        Arrays for `expose`, `detect`, `display` and `disturb`.
    """
    grain = [gaussian(draws.around(0.55, 0.3, 0.9, strength), _GRAIN_TAPS) for _ in range(2)]
    values = {
        "scatter": draws.around(0.25, 0.1, 0.5, strength),
        "uneven": 1.0 + strength * draws.vector(16, -0.15, 0.15).reshape(4, 4),
        "aim": draws.around(0.5, 0.3, 0.7, strength),
        "latitude": draws.around(0.3, 0.15, 0.5, strength),
        "blur": gaussian(draws.uniform(*blur_px), _TAPS),
        # Weights of unit energy keep the variance of the noise.
        "grain": [weights / np.linalg.norm(weights) for weights in grain],
        "quantum": 0.03 * draws.log_uniform(0.4, 2.5) ** strength,
        "electronic": 0.006 * draws.uniform(0.0, 2.0),
        "level": draws.around(0.5, 0.32, 0.7, strength),
        "contrast": draws.around(0.32, 0.15, 0.55, strength),
        "gamma": draws.around(0.4, 0.1, 1.0, strength),
        "invert": draws.chance(0.04 * strength),
        "stretch": (draws.log_uniform(0.6, 2.2) - 1.0) * draws.chance(0.35 * strength),
        # Relative to `level`: tissue at the instrument is neither black nor white after the stretch.
        "pivot": draws.uniform(-0.15, 0.15),
        "wide": _box(draws, image_size, 0.15, 0.8),
        "covers": draws.vector(2, 0.1, 0.9) * (draws.vector(2) < 0.25 * strength),
        "colours": draws.vector(2),
        "boxes": [_box(draws, image_size, 0.015, 0.1) for _ in range(2)],
    }
    return tf.nest.map_structure(lambda value: np.asarray(value, np.float32), values)


def _box(draws: Draws, image_size: tuple[int, int], smallest: float, largest: float) -> list[np.ndarray]:
    """Draws a soft-edged rectangle; edges as fractions of the image; returns its profile along rows and columns."""
    sides = []
    for count in image_size:
        length = draws.log_uniform(smallest, largest) * count
        distance = np.abs(np.arange(count) - draws.uniform() * count) - length / 2
        sides.append(np.clip(0.5 - distance / 3.0, 0.0, 1.0))
    return sides


def smooth(image: tf.Tensor, weights_x: tf.Tensor, weights_y: tf.Tensor) -> tf.Tensor:
    """Filters an image along rows and columns; the border is mirrored.

    Args:
        image: `(..., height, width)` float.
        weights_x: `(taps,)` float, the same odd number of weights as `weights_y`.
        weights_y: `(taps,)` float.

    Returns:
        `(..., height, width)` float.
    """
    height, width = image.shape[-2:]
    taps = weights_x.shape[0]
    half = taps // 2
    padded = tf.pad(image, [[0, 0]] * (image.shape.rank - 2) + [[half, half]] * 2, "SYMMETRIC")
    # A sum of shifted images: a convolution of one channel is ten times slower here.
    rows = tf.add_n([weight * padded[..., k : k + height, :] for k, weight in enumerate(tf.unstack(weights_y, taps))])
    return tf.add_n([weight * rows[..., k : k + width] for k, weight in enumerate(tf.unstack(weights_x, taps))])


def enlarge(image: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Enlarges a coarse image bilinearly; the areas of pixels are aligned, not the centres of those in the corners.

    Args:
        image: `(h, w, channels)` float.
        image_size: (height, width) in px.

    Returns:
        `(height, width, channels)` float32.
    """
    return image if tuple(image.shape[:2]) == tuple(image_size) else tf.image.resize(image, image_size)


def expose(parameters: dict, optical_depth: tf.Tensor, near: tf.Tensor, pixel: tf.Tensor) -> tf.Tensor:
    """Computes the detected intensity: transmission with scatter and uneven gain, relative to the exposure control.

    The exposure control aims at a quantile of the image, but not so that tissue at the instrument is under- or
    overexposed: a surgeon looks there.

    Args:
        parameters: what `sample` drew, as tensors.
        optical_depth: `(height, width)` float.
        near: scalar, optical depth of the tissue at the instrument, without the instrument.
        pixel: `(2,)` int, row and column of the instrument.

    Returns:
        `(height, width)` float, 1 where the grey value is medium.
    """
    transmitted = tf.exp(-optical_depth)
    pooled = tf.nn.avg_pool2d(transmitted[tf.newaxis, ..., tf.newaxis], _POOL, _POOL, "SAME")[0, ..., 0]
    wide = tf.constant(gaussian(2.0, _TAPS), tf.float32)
    # Zeros around: no scatter comes from where there is no beam.
    veil = smooth(tf.pad(pooled, [[4, 4], [4, 4]]), wide, wide)[4:-4, 4:-4]
    gain = enlarge(parameters["uneven"][..., tf.newaxis], tuple(pooled.shape))[..., 0]
    share = parameters["scatter"]
    fields = enlarge(tf.stack([share * veil * gain, (1.0 - share) * gain], axis=-1), tuple(optical_depth.shape))
    levels = tf.sort(tf.reshape(pooled, (-1,)))
    quantile = tf.gather(levels, tf.cast(parameters["aim"] * float(levels.shape[0] - 1), tf.int32))
    veil_here, gain_here = tf.unstack(tf.gather_nd(fields, pixel))
    here = veil_here + gain_here * tf.exp(-near) + 1e-6
    reference = tf.clip_by_value(
        quantile, here * tf.exp(-0.5 * parameters["latitude"]), here * tf.exp(parameters["latitude"])
    )
    return (fields[..., 0] + fields[..., 1] * transmitted) / reference


def detect(parameters: dict, intensity: tf.Tensor, seed: tf.Tensor, noise: float) -> tf.Tensor:
    """Adds the blur of focal spot and scintillator and quantum noise, whose grain the scintillator makes coherent.

    Quantum noise is the normal approximation of a Poisson count, good above some 20 quanta a pixel.

    Args:
        parameters: what `sample` drew, as tensors.
        intensity: `(height, width)` float, 1 where the grey value is medium.
        seed: `(2,)` int, of the noise field.
        noise: multiplies the noise; 0 for none.

    Returns:
        `(height, width)` float, 0 or more.
    """
    blurred = smooth(intensity, parameters["blur"], parameters["blur"])
    if noise == 0:
        return blurred
    field = tf.random.stateless_normal(tuple(intensity.shape), seed=seed)
    field = noise * smooth(field, parameters["grain"][0], parameters["grain"][1])
    variance = blurred * tf.square(parameters["quantum"]) + tf.square(parameters["electronic"])
    return tf.nn.relu(blurred + tf.sqrt(variance) * field)


def display(parameters: dict, intensity: tf.Tensor) -> tf.Tensor:
    """Maps intensity to grey values as a monitor shows them, metal dark: between logarithmic and linear.

    Args:
        parameters: what `sample` drew, as tensors.
        intensity: `(height, width)` float, 1 where the grey value is medium.

    Returns:
        `(height, width)` float in [0, 1].
    """
    gamma = parameters["gamma"]
    grey = parameters["level"] + parameters["contrast"] * (tf.maximum(intensity, 0.01) ** gamma - 1.0) / gamma
    return tf.abs(parameters["invert"] - tf.clip_by_value(grey, 0.0, 1.0))


def disturb(parameters: dict, grey: tf.Tensor) -> tf.Tensor:
    """Stretches the contrast of a large box and corrupts small ones, to make networks robust.

    Args:
        parameters: what `sample` drew, as tensors.
        grey: `(height, width)` float in [0, 1].

    Returns:
        `(height, width)` float in [0, 1].
    """
    rows, columns = parameters["wide"]
    pivot = tf.abs(parameters["invert"] - parameters["level"] - parameters["pivot"])
    grey += (parameters["stretch"] * rows)[:, tf.newaxis] * columns * (grey - pivot)
    for k, (rows, columns) in enumerate(parameters["boxes"]):
        grey += (parameters["covers"][k] * rows)[:, tf.newaxis] * columns * (parameters["colours"][k] - grey)
    return tf.clip_by_value(grey, 0.0, 1.0)
