"""One case of registration, a CT and views of it, as costs of poses at several resolutions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tfmedcai.data.anatomy import Anatomy
from tfmedcai.data.radiographs import Radiograph
from tfmedcai.geometry.rigid import compose, inverse, rotated
from tfmedcai.layers.line_sums import images
from tfmedcai.layers.projector import grid_from_source, scene_of
from tfmedcai.layers.ray_sums import Grid
from tfmedcai.losses.similarity import gradient_ncc, ncc, patch_gradient_ncc
from tfmedcai.simulators.materials import attenuation_from_hu

Cost = Callable[[tf.Tensor], tf.Tensor]
Similarity = Literal["ncc", "gradient_ncc", "patch_gradient_ncc"]

NO_HU = -130.0  # up to here `attenuation_from_hu` is 0
MULTIPLE = 8  # of voxels, so that patients of about one size share what was compiled
PARTS = 2  # of a population that are rendered side by side
HERE = (0.0,) * 6


class View(NamedTuple):
    """One X-ray image, and where its C-arm stood against that of the first view: `compose(pose, relative)`."""

    radiograph: Radiograph
    relative: Sequence[float] = HERE


class _Sight(NamedTuple):
    """A view as tensors."""

    fixed: tf.Tensor  # (1, rows, columns)
    mask: tf.Tensor | None  # (1, rows, columns)
    rays: tf.Tensor  # (3, rays)
    relative: tf.Tensor  # (6,)
    source_isocentre_mm: tf.Tensor
    source_detector_mm: tf.Tensor


class Level(NamedTuple):
    """A case at one resolution.

    Attributes:
        volume: `(depth, height, width)` float32, attenuation in 1/mm.
        voxel_mm: side of a voxel, `()` float32.
        views: the images.
        sights: the same, as tensors.
    """

    volume: tf.Tensor
    voxel_mm: tf.Tensor
    views: tuple[View, ...]
    sights: tuple[_Sight, ...]

    def cost(self, similarity: Similarity, patch_px: int = 4, *, differentiable: bool = False) -> Cost:
        """Says how unlike the images a volume makes are to those that were taken, the mean over all views.

        What it compiles depends on sizes alone, so that cases of the same sizes share it.

        Args:
            similarity: a function of `losses/similarity.py`.
            patch_px: radius of the patches of patch_gradient_ncc.
            differentiable: whether there is a gradient to the poses.

        Returns:
            Function of poses `(n, 6)`, rotation vector in rad and translation in mm, -> `(n,)`, lower is more alike.
        """

        def cost(poses: tf.Tensor) -> tf.Tensor:
            poses = tf.cast(poses, tf.float32)
            costs = [
                _cost(poses, self.volume, self.voxel_mm, sight, similarity, patch_px, differentiable)
                for sight in self.sights
            ]
            return tf.add_n(costs) / len(costs)

        return cost

    def images(self, poses: tf.Tensor) -> list[np.ndarray]:
        """Renders all views.

        Args:
            poses: `(n, 6)` float, of the first view's C-arm.

        Returns:
            For each view `(n, rows, columns)`, line integrals.
        """
        poses = tf.cast(poses, tf.float32)
        # One at a time: a function that takes one is there already.
        return [
            np.concatenate([_rendered(poses[n : n + 1], self.volume, self.voxel_mm, sight) for n in range(len(poses))])
            for sight in self.sights
        ]


@dataclass(frozen=True, eq=False)
class Problem:
    """A case: where is the C-arm, if these images are of this patient?

    Attributes:
        anatomy: the patient, in the middle what the C-arm's poses refer to.
        views: one or more X-ray images.

    Raises:
        ValueError: if there is no view, a camera has no isocentre, or a relative pose is not six finite numbers.
    """

    anatomy: Anatomy
    views: tuple[View, ...]

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("`views` must hold at least one X-ray image. Received none.")
        for view in self.views:
            if view.radiograph.camera.source_isocentre_mm is None:
                raise ValueError(
                    f"{view.radiograph.name}: its camera must say its `source_isocentre_mm`. Received None."
                )
            check_pose(view.relative, f"the relative pose of {view.radiograph.name}")

    def level(self, size: int, voxel_mm: float) -> Level:
        """Brings volume and images to a resolution.

        Args:
            size: longer side of the images in px; smaller ones stay as they are.
            voxel_mm: side of the voxels.

        Returns:
            The `Level`; the same one if asked again.
        """
        return _level(self, size, voxel_mm)

    def check_seen(self, pose: Sequence[float], count: int = 500) -> None:
        """Checks that the anatomy is seen in all views from a pose.

        Args:
            pose: `(6,)`, of the first view's C-arm.
            count: places of the anatomy that are looked for.

        Raises:
            ValueError: if the pose is not finite, or from it a detector shows none of them.
        """
        check_pose(pose, "the start pose")
        points = tf.constant(self.anatomy.points(count=count))
        for view in self.views:
            camera = view.radiograph.camera
            at = inverse(compose(tf.constant(pose, points.dtype), tf.constant(view.relative, points.dtype)))
            from_source = rotated(at[:3], points) + at[3:] + [0.0, 0.0, camera.source_isocentre_mm]
            px, rows_columns = camera.project(from_source).numpy(), camera.image_size
            inside = np.all((px > -0.5) & (px < np.array(rows_columns[::-1]) - 0.5), axis=1)
            if not np.any(inside & (from_source[:, 2].numpy() > 0)):
                raise ValueError(
                    f"{view.radiograph.name}: the start pose must show {self.anatomy.name} on the detector. "
                    "Received one from which its cone of rays misses it: give a nearer start, or landmarks."
                )


def prepared(anatomy: Anatomy, structures: Collection[int] = (), *, masked: bool = True) -> Anatomy:
    """Puts what is to be registered into the middle, where the C-arm turns about it, and cuts off empty borders.

    Args:
        anatomy: a patient.
        structures: labels of what is registered; none: all labels, or all of the CT if it has none.
        masked: whether the CT is blank outside of them.

    Returns:
        The anatomy with the same voxels around the middle of the structures' box, or of the CT without labels. Its
        attenuation is linear in HU, so that smoothing keeps line integrals.

    Raises:
        ValueError: if there are no such labels.
    """
    labels = anatomy.labels
    if structures and labels is None:
        raise ValueError("`structures` are labels of a label volume. Received a CT alone: give `--labels`.")
    if labels is not None:
        chosen = anatomy.masked(structures or range(1, 2 + int(labels.max())))
        anatomy = chosen if masked else replace(anatomy, labels=chosen.labels)
    anatomy = replace(anatomy, hu=np.maximum(anatomy.hu, NO_HU))
    found = np.argwhere(anatomy.hu > NO_HU)
    if not found.size:
        raise ValueError(f"{anatomy.name}: this must hold something above {NO_HU:g} HU. Received air alone.")
    centre = "middle" if labels is None else "labels"
    middle = anatomy.fitted((1, 1, 1), anatomy.spacing_mm, centre).patient_from_volume[:, 3]
    moved_mm = (np.linalg.inv(anatomy.patient_from_volume) @ middle)[2::-1]
    index = moved_mm / anatomy.spacing_mm + (np.array(anatomy.hu.shape) - 1) / 2
    reach = np.abs(np.stack([found.min(axis=0) - 0.5, found.max(axis=0) + 0.5]) - index).max(axis=0)
    shape = np.ceil(2 * reach - 1e-6).astype(int)
    # One more where new voxels would else lie between the old ones, and be interpolated.
    shape += (shape + 1 + np.round(2 * index).astype(int)) % 2
    return anatomy.fitted(tuple(shape), anatomy.spacing_mm, centre)


def check_pose(pose: Sequence[float], name: str) -> None:
    """Checks that a pose is six finite numbers.

    Raises:
        ValueError: if not; `name` is what it is called.
    """
    values = np.asarray(pose, float)
    if values.shape != (6,) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be six finite numbers, rad and mm. Received {values.tolist()}.")


@functools.lru_cache(maxsize=16)
def _level(problem: Problem, size: int, voxel_mm: float) -> Level:
    anatomy = problem.anatomy
    sides = np.array(anatomy.hu.shape) * anatomy.spacing_mm / voxel_mm
    shape = tuple(MULTIPLE * math.ceil((side + 1) / MULTIPLE) for side in sides)
    volume = attenuation_from_hu(anatomy.fitted(shape, voxel_mm).hu)
    views = tuple(view._replace(radiograph=_shrunk(view.radiograph, size)) for view in problem.views)
    return Level(volume, tf.constant(voxel_mm), views, tuple(map(_sight, views)))


def _shrunk(radiograph: Radiograph, size: int) -> Radiograph:
    height, width = radiograph.camera.image_size
    factor = min(size / max(height, width), 1.0)
    return radiograph.resized((round(height * factor), round(width * factor)))


def _sight(view: View) -> _Sight:
    radiograph, camera = view.radiograph, view.radiograph.camera
    mask = None if radiograph.mask is None else tf.constant(np.asarray(radiograph.mask)[np.newaxis], tf.float32)
    return _Sight(
        tf.constant(radiograph.image[np.newaxis], tf.float32),
        mask,
        tf.transpose(tf.reshape(camera.rays(), (-1, 3))),
        tf.constant(view.relative, tf.float32),
        tf.constant(camera.source_isocentre_mm, tf.float32),
        tf.constant(camera.source_detector_mm, tf.float32),
    )


# The projection is compiled by XLA on its own. Around it XLA would take longer to compile the patches than they take.
@tf.function(autograph=False)
def _cost(
    poses: tf.Tensor,
    volume: tf.Tensor,
    voxel_mm: tf.Tensor,
    sight: _Sight,
    similarity: Similarity,
    patch_px: int,
    differentiable: bool,
) -> tf.Tensor:
    parts = PARTS if (poses.shape[0] or 1) % PARTS == 0 else 1
    rendered = [_images(part, volume, voxel_mm, sight, differentiable) for part in tf.split(poses, parts)]
    unlike = {"ncc": ncc, "gradient_ncc": gradient_ncc, "patch_gradient_ncc": patch_gradient_ncc}[similarity]
    options = {"radius": patch_px} if similarity == "patch_gradient_ncc" else {}
    return unlike(tf.concat(rendered, axis=0), sight.fixed, sight.mask, **options)


@tf.function(autograph=False)
def _rendered(poses: tf.Tensor, volume: tf.Tensor, voxel_mm: tf.Tensor, sight: _Sight) -> tf.Tensor:
    return _images(poses, volume, voxel_mm, sight, differentiable=False)


def _images(poses: tf.Tensor, volume: tf.Tensor, voxel_mm: tf.Tensor, sight: _Sight, differentiable: bool) -> tf.Tensor:
    shape = tuple(volume.shape)
    of_view = compose(poses, sight.relative)
    matrices = grid_from_source(of_view, shape, tf.fill([3], voxel_mm), sight.source_isocentre_mm)
    scene = scene_of(matrices[tf.newaxis], sight.rays, shape, voxel_mm, sight.source_detector_mm)
    made = images(volume[tf.newaxis], scene, Grid(shape), differentiable=differentiable)[0]
    lengths = voxel_mm * tf.norm(sight.rays, axis=0)
    return tf.reshape(made * lengths, (-1, *sight.fixed.shape[1:]))
