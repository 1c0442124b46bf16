"""Registers volumes to X-ray images by a trained network, in the graph: volumes on any grid, images of any camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from tfmedcai.config.registration import SimilaritySettings
from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.geodesic import geodesic_gradient, riemannian_gradient
from tfmedcai.geometry.pose_updates import deepim_update, geodesic_step
from tfmedcai.geometry.rigid import compose, inverse
from tfmedcai.inference.pose_descent import descend
from tfmedcai.layers.projector import grid_from_source, line_integrals
from tfmedcai.layers.ray_sums import Grid
from tfmedcai.losses.pose_gradients import scaled_gradient
from tfmedcai.models.pose_similarity import Parts, parts_of

HERE = (0.0,) * 6
STEP, GRADIENT = 7, 6  # numbers that DeepIM and DMW give


class Cases(NamedTuple):
    """Some poses of one volume.

    Attributes:
        volume: `(1, depth, height, width, 1)` float32, attenuation in 1/mm.
        target: `(poses, rows, columns, 1)` float32, from 0 to 1 but for what randomisation adds.
        moving_pose: `(poses, 6)` float32, where the registration starts.
        target_pose: `(poses, 6)` float32, where the target was taken.
    """

    volume: tf.Tensor
    target: tf.Tensor
    moving_pose: tf.Tensor
    target_pose: tf.Tensor


class Answer(NamedTuple):
    """What a registration came to.

    Attributes:
        pose: `(n, 6)`, rotation vector in rad, translation in mm.
        similarity: `(n,)`, lower is more alike; of a network that regresses, the length of its last answer.
        poses: `(steps + 1, n, 6)`, the way there.
        similarities: `(steps + 1, n)`.
    """

    pose: tf.Tensor
    similarity: tf.Tensor
    poses: tf.Tensor
    similarities: tf.Tensor


class Seen(NamedTuple):
    """One X-ray image of each case, as a network takes it.

    Attributes:
        targets: `(n, rows, columns, 1)` float from 0 to 1.
        intrinsics: `(6,)` float of these, see `intrinsics_of`.
        relative: `(6,)` float, where the C-arm stood in the frame of the pose's.
    """

    targets: tf.Tensor
    intrinsics: tf.Tensor
    relative: tf.Tensor


def intrinsics_of(camera: Camera) -> tf.Tensor:
    """Returns `(6,)` float32: source to detector, pitch along x and y, principal point x and y, source to isocentre."""
    numbers = (camera.source_detector_mm, *camera.pixel_mm, *camera.principal_point_px, camera.source_isocentre_mm)
    return tf.constant(numbers, tf.float32)


def regridded(volumes: tf.Tensor, spacing_mm: tf.Tensor, shape: tuple[int, int, int], new_mm: float) -> tf.Tensor:
    """Brings volumes onto the grid of a network, around the same middle.

    Args:
        volumes: `(batch, depth, height, width)` float; zero beyond them.
        spacing_mm: `(3,)` float, size of a voxel along them in mm.
        shape: voxels of the new grid.
        new_mm: their size.

    Returns:
        `(batch, *shape)`: means over new voxels where these are larger, else interpolated linearly.
    """
    for axis, size in enumerate(shape):
        count, ratio = tf.shape(volumes)[1], new_mm / spacing_mm[axis]
        place = (tf.range(size, dtype=tf.float32) - (size - 1) / 2) * ratio + (tf.cast(count, tf.float32) - 1) / 2
        reach = tf.maximum(ratio, 1.0)
        away = place[:, tf.newaxis] - tf.range(tf.cast(count, tf.float32))
        weights = tf.nn.relu(1 - tf.abs(away) / reach) / reach
        volumes = tf.tensordot(volumes, weights, [[1], [1]])  # its axis goes to the end, the next is first
    return volumes


def seen_by(
    model: keras.Model, images: tf.Tensor, intrinsics: tf.Tensor, relative: tf.Tensor | Sequence[float] = HERE
) -> Seen:
    """Brings images to the size that a network takes.

    Args:
        model: a registration network.
        images: `(n, rows, columns)` float, bone bright.
        intrinsics: `(6,)` float, see `intrinsics_of`.
        relative: `(6,)` float, where the C-arm stood in the frame of the pose's.

    Returns:
        The view; its intrinsics are those of the smaller images.
    """
    size = parts_of(model).projector.camera.image_size
    ratios = tf.cast(tf.shape(images)[1:], tf.float32)[::-1] / tf.constant(size[::-1], tf.float32)
    small = normalised(tf.image.resize(images[..., tf.newaxis], size, antialias=True))
    pitch, point = intrinsics[1:3] * ratios, (intrinsics[3:5] + 0.5) / ratios - 0.5
    shrunk = tf.concat([intrinsics[:1], pitch, point, intrinsics[5:]], axis=0)
    return Seen(small, shrunk, tf.cast(relative, tf.float32))


def normalised(images: tf.Tensor) -> tf.Tensor:
    """Stretches each image `(images, rows, columns, 1)` from 0 to 1."""
    low, high = (reduce(images, axis=(1, 2, 3), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    return tf.math.divide_no_nan(images - low, high - low)


def regresses(model: keras.Model) -> bool:
    """Whether a registration network gives a step or a gradient, and no similarity."""
    return model.output_shape[-1] in (STEP, GRADIENT)


def answers(
    model: keras.Model, volumes: tf.Tensor, views: Sequence[Seen], *, xla: bool = True
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what a network says of poses `(n, 6)` -> `(n, values)`; arguments are those of `register`."""
    parts = parts_of(model)
    features = volumes if parts.volume_net is None else parts.volume_net(volumes, training=False)

    def values(poses: tf.Tensor) -> tf.Tensor:
        given = []
        for view in views:
            moving = _projected(features, compose(poses, view.relative), parts, view.intrinsics, xla)
            given.append(parts.image_net(tf.concat([moving, view.targets], axis=-1), training=False))
        return tf.add_n(given) / len(given)

    return values


def register(
    model: keras.Model,
    volumes: tf.Tensor,
    views: Sequence[Seen],
    start: tf.Tensor,
    descent: SimilaritySettings,
    *,
    xla: bool = True,
) -> Answer:
    """Registers volumes to images.

    Args:
        model: a trained registration network.
        volumes: `(volumes, depth, height, width, 1)` float, attenuation in 1/mm on the grid of the network.
        views: images of the size that the network takes, of which a similarity is the mean.
        start: `(n, 6)` float, rotation vector in rad, translation in mm; a multiple of the volumes.
        descent: how similarities are descended, and the most steps of networks that regress.
        xla: whether projections are compiled, which graphs for servers must not be.

    Returns:
        The `Answer`.

    Raises:
        ValueError: if there are several views for a network that regresses.
    """
    values = answers(model, volumes, views, xla=xla)
    if regresses(model):
        if len(views) > 1:
            raise ValueError(f"`views` must be one: {model.name} regresses from one image. Received {len(views)}.")
        return _stepped(values, start, views[0].intrinsics[5], descent)
    found = descend(lambda poses: values(poses)[:, 0], start, **descent.descent())
    return Answer(found.pose, found.cost, found.poses, found.costs)


def _projected(features: tf.Tensor, poses: tf.Tensor, parts: Parts, intrinsics: tf.Tensor, xla: bool) -> tf.Tensor:
    projector, shape = parts.projector, tuple(features.shape[1:4])
    rows, columns = (tf.range(size, dtype=tf.float32) for size in projector.camera.image_size)
    right = (columns - intrinsics[3]) * intrinsics[1] / intrinsics[0]
    down = (rows - intrinsics[4]) * intrinsics[2] / intrinsics[0]
    x, y = tf.meshgrid(right, down)
    of_volumes = tf.reshape(poses, (tf.shape(features)[0], -1, 6))
    matrices = grid_from_source(of_volumes, shape, projector.spacing_mm, intrinsics[5], projector.isocentre)
    rays = tf.stack([x, y, tf.ones_like(x)], axis=-1)
    pictures = line_integrals(features, matrices, rays, Grid(shape, xla=xla), projector.step_mm, intrinsics[0])
    return tf.reshape(pictures, (-1, *pictures.shape[2:]))


def in_source_frame(pose: tf.Tensor, source_isocentre_mm: tf.Tensor | float) -> tf.Tensor:
    """Turns poses of a C-arm `(n, 6)` into those of the volume in the frame of the source."""
    return inverse(pose) + _depth(source_isocentre_mm)


def pointed(model: keras.Model, case: Cases, normaliser_mm: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds where a network leads from moving poses, and where it should.

    Args:
        model: a registration network.
        case: poses of a volume.
        normaliser_mm: mm that weigh as much as 1 rad.

    Returns:
        Two `(n, 6)`: gradients of the similarity and of the geodesic distance; of a network that regresses, gradients
        in the frame of the C-arm.
    """
    inputs, start, target = list(case[:3]), case.moving_pose, case.target_pose
    if not regresses(model):
        _, slope = model.pose_gradient(inputs)
        right = geodesic_gradient(start, target, normaliser_mm)
        return scaled_gradient(slope, normaliser_mm), scaled_gradient(right, normaliser_mm)
    camera = parts_of(model).projector.camera
    moved = _moved(start, model(inputs, training=False), camera.source_isocentre_mm, normaliser_mm)
    found, right = (scaled_gradient(riemannian_gradient(start, end), 1 / normaliser_mm) for end in (moved, target))
    return found, right


def _depth(source_isocentre_mm: tf.Tensor | float) -> tf.Tensor:
    return tf.concat([tf.zeros(5), tf.reshape(tf.cast(source_isocentre_mm, tf.float32), [1])], axis=0)


def _moved(
    pose: tf.Tensor, value: tf.Tensor, source_isocentre_mm: tf.Tensor | float, normaliser_mm: float
) -> tf.Tensor:
    """Moves poses by what a network regresses."""
    if value.shape[-1] == GRADIENT:
        return geodesic_step(pose, value, normaliser=normaliser_mm)
    return inverse(deepim_update(in_source_frame(pose, source_isocentre_mm), value) - _depth(source_isocentre_mm))


def _stepped(
    values: Callable[[tf.Tensor], tf.Tensor],
    start: tf.Tensor,
    source_isocentre_mm: tf.Tensor,
    descent: SimilaritySettings,
) -> Answer:
    """Makes the steps that a network regresses; the last pose is the answer."""

    def length(value: tf.Tensor) -> tf.Tensor:
        return tf.norm(tf.concat([value[:, :3], value[:, -3:]], axis=1), axis=1)

    def advance(index: tf.Tensor, poses: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, ...]:
        value = values(poses[index])
        moved = _moved(poses[index], value, source_isocentre_mm, descent.scale_mm)
        poses = tf.tensor_scatter_nd_update(poses, [[index + 1]], moved[tf.newaxis])
        return index + 1, poses, tf.tensor_scatter_nd_update(lengths, [[index]], length(value)[tf.newaxis])

    poses = tf.repeat(start[tf.newaxis], descent.steps + 1, axis=0)
    begun = tf.constant(0), poses, tf.zeros(tf.shape(poses)[:2])
    _, poses, lengths = tf.while_loop(lambda index, *_: index < descent.steps, advance, begun, parallel_iterations=1)
    lengths = tf.concat([lengths[:-1], length(values(poses[-1]))[tf.newaxis]], axis=0)
    return Answer(poses[-1], lengths[-1], poses, lengths)
