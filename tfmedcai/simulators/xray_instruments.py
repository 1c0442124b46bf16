"""Simulated X-ray images of surgical instruments in bone, with their exact poses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.pose import image_pose_from_pose, pose_from_image_pose
from tfmedcai.simulators import xray_anatomy, xray_clutter, xray_collimation, xray_detector
from tfmedcai.simulators.xray_draws import Draws
from tfmedcai.simulators.xray_metal import INSTRUMENTS, optical_depth
from tfmedcai.simulators.xray_solids import Rays, paste


@dataclass(frozen=True)
class XRayScene:
    """Settings of the simulator.

    Raises:
        ValueError: if a number is out of its range.

    >>> XRayScene(instrument="guide_wire", pixel_mm=0.25).camera.focal_length_px
    (4000.0, 4000.0)
    """

    # "screw", "guide_wire", "drill" or "robot".
    instrument: str = "screw"
    # (height, width) in px.
    image_size: tuple[int, int] = (512, 512)
    # Edge of a detector pixel in mm.
    pixel_mm: float = 0.235
    # From the X-ray source to the detector, mm.
    source_detector_mm: float = 1000.0
    # From the source to the instrument along the central ray, (least, most) in mm.
    depth_mm: tuple[float, float] = (430.0, 930.0)
    # Largest angle between the axis of the instrument and the image plane, deg.
    max_tilt_deg: float = 60.0
    # The origin of the instrument stays this far inside the image and its collimation, px.
    margin_px: float = 20.0
    # Patients: numbers of the first and (not included) the last; use others for evaluation than for training.
    subjects: tuple[int, int] = (0, 100)
    # Multiplies the optical depth of the patient; 0 leaves the instrument in air.
    anatomy: float = 1.0
    # Multiplies the noise; 0 for none.
    noise: float = 1.0
    # Standard deviation of the blur, (least, most) in px.
    blur_px: tuple[float, float] = (0.7, 1.5)
    # 0 for plain images to 1 for widely varied ones: grey values, collimation, distractors, corruption.
    domain_randomisation: float = 0.5

    def __post_init__(self) -> None:
        # Settings files have lists, which cannot be hashed.
        for name in ("image_size", "depth_mm", "subjects", "blur_px"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != 2:
                raise ValueError(f"`{name}` must be two numbers. Received {getattr(self, name)!r}.")
        near, far = self.depth_mm
        checks = {
            "instrument": (self.instrument in INSTRUMENTS, f"one of {', '.join(INSTRUMENTS)}"),
            "image_size": (
                min(self.image_size) > 2 * self.margin_px,
                f"(height, width) in px, each more than twice margin_px={self.margin_px}",
            ),
            "pixel_mm": (self.pixel_mm > 0, "more than 0 mm"),
            "source_detector_mm": (self.source_detector_mm > 0, "more than 0 mm"),
            "depth_mm": (
                0 < near <= far <= self.source_detector_mm,
                f"(least, most) in mm from 0 to source_detector_mm={self.source_detector_mm}",
            ),
            "max_tilt_deg": (0 <= self.max_tilt_deg <= 60, "from 0 to 60 deg"),
            "margin_px": (self.margin_px >= 0, "0 px or more"),
            "subjects": (0 <= self.subjects[0] < self.subjects[1], "(first, end) with 0 <= first < end"),
            "anatomy": (self.anatomy >= 0, "0 or more"),
            "noise": (self.noise >= 0, "0 or more"),
            "blur_px": (0 <= self.blur_px[0] <= self.blur_px[1] <= 2, "(least, most) from 0 to 2 px"),
            "domain_randomisation": (0 <= self.domain_randomisation <= 1, "from 0 to 1"),
        }
        for name, (valid, expected) in checks.items():
            if not valid:
                raise ValueError(f"`{name}` must be {expected}. Received {getattr(self, name)!r}.")

    @property
    def camera(self) -> Camera:
        """The `Camera` that all images of these settings are taken with."""
        return Camera.from_c_arm(self.source_detector_mm, self.pixel_mm, self.image_size)


def simulate(settings: XRayScene, seed: int, index: int) -> dict[str, tf.Tensor]:
    """Simulates one X-ray image: a pure function of its arguments, whatever was simulated before.

    The optical depth of instrument, patient and distractors along each ray (Beer-Lambert) becomes an intensity with
    scatter, blur and noise, and that a picture.

    Args:
        settings: the `XRayScene`.
        seed: of the data set.
        index: of the image in the data set.

    Returns:
        "image": `(height, width)` float32 in [0, 1], metal dark (but for the few images that `domain_randomisation`
        inverts).
        "image_pose": `(5,)` float32: x px, y px, angle rad, tilt rad, resolution mm/px.
        "pose": `(6,)` float32: rotation vector rad, translation mm, instrument frame to camera frame.
        "subject": int64 scalar.

    Raises:
        ValueError: if `seed` or `index` is negative.

    >>> sample = simulate(XRayScene(image_size=(96, 128)), seed=1, index=0)
    >>> sample["image"].shape
    TensorShape([96, 128])
    """
    if min(seed, index) < 0:
        raise ValueError(f"`seed` and `index` must not be negative. Received {seed} and {index}.")
    # The same numbers on a machine with an accelerator: data pipelines run on the CPU.
    with tf.device("/CPU:0"):
        return _simulator(settings)(tf.constant(seed, tf.int64), tf.constant(index, tf.int64))


def dataset(settings: XRayScene, count: int, seed: int) -> tf.data.Dataset:
    """Simulates images in parallel, in order, and the same in every pass (to float32 rounding).

    Parameters are drawn in Python: the data set cannot be saved or sent to another process.

    Args:
        settings: the `XRayScene`.
        count: how many images.
        seed: of the data set.

    Returns:
        A `tf.data.Dataset` of what `simulate(settings, seed, index)` returns for index 0 to `count` - 1.

    Raises:
        ValueError: if `count` or `seed` is negative.
    """
    if min(count, seed) < 0:
        raise ValueError(f"`count` and `seed` must not be negative. Received {count} and {seed}.")
    function = _simulator(settings)
    return tf.data.Dataset.range(count).map(
        lambda index: function(tf.constant(seed, tf.int64), index), num_parallel_calls=tf.data.AUTOTUNE
    )


@functools.lru_cache(maxsize=64)
def _simulator(settings: XRayScene) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    example = _sample(settings, 0, 0)
    flat = tf.nest.flatten(example)

    def draw(seed: np.ndarray, index: np.ndarray) -> list[np.ndarray]:
        return tf.nest.flatten(_sample(settings, int(seed), int(index)))

    def function(seed: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.numpy_function(draw, [seed, index], [value.dtype for value in flat], stateful=False)
        shaped = [tf.ensure_shape(value, like.shape) for value, like in zip(values, flat, strict=True)]
        return _render(settings, tf.nest.pack_sequence_as(example, shaped), tf.stack([seed, index]))

    return tf.function(function, input_signature=[tf.TensorSpec((), tf.int64)] * 2, autograph=False)


def _sample(settings: XRayScene, seed: int, index: int) -> dict:
    """Draws all that is random of an image, but the noise; rendering is then deterministic."""
    camera, (height, width), margin = settings.camera, settings.image_size, settings.margin_px
    strength, draws = settings.domain_randomisation, Draws(seed, index)
    tilt, depth = math.radians(settings.max_tilt_deg), draws.uniform(*settings.depth_mm)
    place = np.array([draws.uniform(margin, count - 1 - margin) for count in (width, height)])
    resolution = camera.resolution_at(depth)
    wanted = [*place, draws.angle(), draws.uniform(-tilt, tilt), resolution]
    origin = np.array([*((place - camera.principal_point_px) * resolution), depth])
    subject = int(draws.uniform(*settings.subjects))
    instrument = INSTRUMENTS[settings.instrument]
    # Streams of their own: a number more here would otherwise change everything after it.
    streams = [Draws(seed, index, stream) for stream in range(1, 6)]
    return {
        "wanted": np.array(wanted, np.float32),
        "roll": np.float32(draws.angle()),
        "subject": np.int64(subject),
        "instrument": instrument.sample(streams[0]),
        "anatomy": xray_anatomy.sample(streams[1], subject, origin, resolution * _coarseness(settings)),
        "clutter": xray_clutter.sample(streams[2], strength, instrument.handle),
        "detector": xray_detector.sample(streams[3], settings.image_size, settings.blur_px, strength),
        "collimation": xray_collimation.sample(streams[4], settings.image_size, place, margin, strength),
    }


def _coarseness(settings: XRayScene) -> int:
    """Says how many pixels wide the pixels of the coarse grid are, on which whatever has no sharp edge is computed."""
    return 2 ** max(0, int(math.log2(max(settings.image_size) / 192)))


def _render(settings: XRayScene, scene: dict, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    camera = settings.camera
    pose = pose_from_image_pose(scene["wanted"][tf.newaxis], camera, roll=scene["roll"])
    image_pose, pose = image_pose_from_pose(pose, camera)[0], pose[0]
    rays = Rays.from_camera(camera, pose)
    around, near, edges = _surroundings(settings, scene, pose, image_pose)
    instrument = INSTRUMENTS[settings.instrument]
    depth = optical_depth(instrument, scene["instrument"], rays, camera.resolution_at(settings.depth_mm[0]))
    depth = (depth + around) * rays.length_per_depth()
    intensity = xray_detector.expose(scene["detector"], depth, near, _pixel(image_pose))
    intensity = xray_detector.detect(scene["detector"], intensity, seed, settings.noise)
    grey = xray_detector.display(scene["detector"], intensity)
    if settings.domain_randomisation > 0:
        grey = xray_detector.disturb(scene["detector"], grey)
        grey = xray_collimation.collimate(scene["collimation"], grey, edges)
    return {"image": grey, "image_pose": image_pose, "pose": pose, "subject": scene["subject"]}


def _pixel(image_pose: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(image_pose[1::-1]), tf.int32)


def _surroundings(
    settings: XRayScene, scene: dict, pose: tf.Tensor, image_pose: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the optical depth of patient and distractors, that at the instrument, and distances to the edges.

    What has no sharp edge, and the distances to what has, are computed on a coarse grid and enlarged.
    """
    size, factor = settings.image_size, _coarseness(settings)
    counts = [-(-count // factor) for count in size[::-1]]
    pixels = [
        (tf.range(count, dtype=tf.float32) + 0.5) * (full / count) - 0.5
        for count, full in zip(counts, size[::-1], strict=True)
    ]
    rays = Rays.from_camera(settings.camera, pose, pixels)
    # Distractors are laid out in mm at the depth of the instrument, its axis pointing along x.
    right, down = rays.slopes_x * pose[5] - pose[3], rays.slopes_y * pose[5] - pose[4]
    cos, sin = tf.cos(image_pose[2]), tf.sin(image_pose[2])
    x, y = right * cos - down * sin, right * sin + down * cos
    depth = settings.anatomy * xray_anatomy.optical_depth(scene["anatomy"], rays.slopes_x, rays.slopes_y)
    if settings.domain_randomisation > 0:
        depth += xray_clutter.folds(scene["clutter"]["folds"], x, y)
    layers = [depth[..., tf.newaxis], xray_clutter.distances(scene["clutter"]["shapes"], x, y)]
    layers.append(xray_collimation.edge_distance(scene["collimation"], *pixels)[..., tf.newaxis])
    layers = xray_detector.enlarge(tf.concat(layers, axis=-1), size)
    depth = layers[..., 0]
    near = tf.gather_nd(depth, _pixel(image_pose))
    if settings.domain_randomisation > 0:
        depth += xray_clutter.opacity(scene["clutter"]["shapes"], layers[..., 1:4], image_pose[4])
        for parameters in scene["clutter"]["staples"]:
            depth += paste(*xray_clutter.staple(parameters, image_pose[4], size), size)
    return depth, near, layers[..., 4]
