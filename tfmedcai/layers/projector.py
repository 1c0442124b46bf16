"""X-ray images of volumes that are differentiated by pose and volume: the projective spatial transformer of ProST.

Lengths are in mm. In the frame of the C-arm x runs right and y down in the image, z from the source to the detector,
and the isocentre, which the C-arm turns about, is at 0; in that of a volume x runs along its width, y along its height
and z along its depth, from the isocentre too. A pose moves the C-arm: what lies at g in its frame lies at R g + t in
that of the volume. With a pose of zero, a volume is seen along its depth, as its slices are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import keras
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rotations import matrix_from_vector
from tfmedcai.layers.line_sums import Scene, blocked, images
from tfmedcai.layers.ray_sums import BLOCK, Grid

METHODS = ("trilinear", "siddon")
NEARLY = 1e-12  # a ray is parallel to a plane if it comes no nearer to it in a mm


@keras.saving.register_keras_serializable("tfmedcai")
class ProjectiveSpatialTransformer(keras.layers.Layer):
    """Projects volumes onto the detector of a C-arm.

    Each ray sums what is interpolated between the eight voxels around samples that lie on planes parallel to the
    detector, a step apart. Around the outermost voxel centres a volume fades to zero within one voxel, so that images
    are continuous functions of the pose, and do not change where zeros are put around a volume. Gradients by pose and
    volume are exact, as are the gradients of these gradients, in eager mode, in `tf.function` and under
    `jit_compile=True`.

    Inputs: a list of
        volumes `(batch, depth, height, width, channels)`, attenuation in 1/mm, say, and
        poses `(batch, 6)` or `(batch, views, 6)`: rotation vector in rad, translation in mm, of the C-arm. Of rank 2
            they may also be a multiple of the volumes, each of which is then seen from as many in turn.

    Outputs: `(poses, rows, columns, channels)` or `(batch, views, rows, columns, channels)`: line integrals, without a
    unit where volumes are in 1/mm. A case alone and in a batch gives the same image to the last bit.

    Args:
        camera: of the C-arm, with `source_isocentre_mm`.
        spacing_mm: size of a voxel along depth, height and width.
        step_mm: distance of the planes; None takes the shortest side of a voxel, with which a uniform volume that lies
            straight is summed exactly.
        isocentre: index along depth, height and width of the isocentre; None for the middle of the volume.
        block: rays that are traced at once: bounds the memory.
        differentiable: whether there are gradients; without, fewer sums are made.
        method: "siddon" sums path lengths times voxels of one value each, exactly, in steps of its own; its second
            derivatives do not see how the first ones jump where a ray meets an edge.
        **options: of `keras.layers.Layer`. Computes in float32, or in float64 if that is its type.

    Raises:
        ValueError: if a length is not positive or the camera has no isocentre.

    Reference:
        Gao et al., Generalizing spatial transformers to projective geometry with applications to 2D/3D registration,
        MICCAI 2020, section 2; A fully differentiable framework for 2D/3D registration and the projective spatial
        transformers, IEEE Transactions on Medical Imaging 2023.

    >>> camera = Camera.from_c_arm(1000.0, 2.0, (4, 6), source_isocentre_mm=600.0)
    >>> project = ProjectiveSpatialTransformer(camera, spacing_mm=(2.0, 2.0, 2.0))
    >>> image = project([tf.ones((1, 8, 8, 8, 1)), tf.zeros((1, 6))])
    >>> image.shape, round(float(image[0, 2, 3, 0]), 1)
    (TensorShape([1, 4, 6, 1]), 16.0)
    """

    def __init__(
        self,
        camera: Camera,
        spacing_mm: tuple[float, float, float],
        step_mm: float | None = None,
        isocentre: tuple[float, float, float] | None = None,
        block: int = BLOCK,
        differentiable: bool = True,
        method: Literal["trilinear", "siddon"] = "trilinear",
        **options: Any,
    ):
        super().__init__(autocast=False, **options)
        step_mm = min(spacing_mm) if step_mm is None else step_mm
        if len(spacing_mm) != 3 or not all(0 < length < math.inf for length in (*spacing_mm, step_mm)):
            raise ValueError(
                "`spacing_mm` must be three lengths above 0 mm, along depth, height and width, and `step_mm` one. "
                f"Received {spacing_mm} and {step_mm}."
            )
        if camera.source_isocentre_mm is None:
            raise ValueError("`camera` must say its `source_isocentre_mm`. Received None.")
        if method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}. Received {method}.")
        self._source_isocentre_mm = camera.source_isocentre_mm
        self.camera, self.spacing_mm, self.step_mm, self.isocentre = camera, tuple(spacing_mm), step_mm, isocentre
        self.block, self.differentiable, self.method = block, differentiable, method

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Projects.

        Returns:
            `(batch, height, width, channels)`, or `(batch, views, height, width, channels)` where poses are of views.

        Raises:
            ValueError: if the size of the volumes is open.
        """
        volumes, poses = inputs
        place = tf.float64 if self.variable_dtype == "float64" else tf.float32
        volumes, poses = tf.cast(volumes, place), tf.cast(poses, place)
        shape, views = tuple(volumes.shape[1:4]), poses.shape.rank == 3
        if None in volumes.shape[1:]:
            raise ValueError(f"Volumes must have fixed sizes. Received {volumes.shape}.")
        poses = poses if views else tf.reshape(poses, (tf.shape(volumes)[0], -1, 6))
        pictures = line_integrals(
            volumes,
            grid_from_source(poses, shape, self.spacing_mm, self._source_isocentre_mm, self.isocentre),
            self.camera.rays(place),
            Grid(shape, block=self.block, exact=self.method == "siddon"),
            self.step_mm,
            self.camera.source_detector_mm,
            differentiable=self.differentiable,
        )
        pictures = tf.cast(pictures, self.compute_dtype)
        return pictures if views else tf.reshape(pictures, (-1, *pictures.shape[2:]))

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the shape of the images."""
        (*_, channels), (batch, *views, _) = input_shape
        return (batch, *views, *self.camera.image_size, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the same layer."""
        own = {
            name: getattr(self, name)
            for name in ("spacing_mm", "step_mm", "isocentre", "block", "differentiable", "method")
        }
        return super().get_config() | {"camera": asdict(self.camera)} | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ProjectiveSpatialTransformer:
        """Makes a layer from what `get_config` returned."""
        pairs = {name: tuple(value) if isinstance(value, list) else value for name, value in config["camera"].items()}
        return cls(**config | {"camera": Camera(**pairs)})


def line_integrals(
    volumes: tf.Tensor,
    matrices: tf.Tensor,
    rays: tf.Tensor,
    grid: Grid,
    step_mm: tf.Tensor | float,
    source_detector_mm: tf.Tensor | float,
    *,
    differentiable: bool = True,
) -> tf.Tensor:
    """Projects volumes with a camera whose numbers may be tensors.

    Args:
        volumes: `(volumes, depth, height, width, channels)` float, of fixed sizes but for the first.
        matrices: `(volumes, poses, 3, 4)` float, see `grid_from_source`.
        rays: `(rows, columns, 3)` float, directions with z = 1.
        grid: of the volumes.
        step_mm: distance of the planes of samples.
        source_detector_mm: how far rays go.
        differentiable: whether there are gradients.

    Returns:
        `(volumes, poses, rows, columns, channels)` float.
    """
    rows, columns, _ = rays.shape
    channels, rays = volumes.shape[-1], tf.reshape(rays, (-1, 3))
    of_channels = tf.reshape(tf.transpose(volumes, (0, 4, 1, 2, 3)), (-1, *grid.shape))
    scene = scene_of(matrices, tf.transpose(rays), grid.shape, step_mm, source_detector_mm, grid.block)
    made = images(of_channels, scene.repeated(channels), grid, differentiable=differentiable)
    lengths = tf.cast(1.0 if grid.exact else step_mm, made.dtype) * tf.norm(rays, axis=-1)
    pictures = tf.reshape(made * lengths, (-1, channels, tf.shape(matrices)[1], rows, columns))
    return tf.transpose(pictures, (0, 2, 3, 4, 1))


def grid_from_source(
    poses: tf.Tensor,
    shape: tuple[int, int, int],
    spacing_mm: tf.Tensor | tuple[float, float, float],
    source_isocentre_mm: tf.Tensor | float,
    isocentre: tuple[float, float, float] | None = None,
) -> tf.Tensor:
    """Finds the matrices that take the frame of the X-ray source to indices of voxels.

    Args:
        poses: `(..., 6)` float, rotation vector in rad and translation in mm of the C-arm.
        shape: depth, height and width of the volume.
        spacing_mm: `(3,)`, size of a voxel along them in mm.
        source_isocentre_mm: distance from the source to the isocentre in mm.
        isocentre: its index; None for the middle.

    Returns:
        `(..., 3, 4)` float: (x, y, z, 1) mm, z = 0 at the source, to (depth, height, width).
    """
    turn, shift = matrix_from_vector(poses[..., :3]), poses[..., 3:]
    from_source = shift - source_isocentre_mm * turn[..., 2]
    matrix = tf.concat([turn, from_source[..., tf.newaxis]], axis=-1)[..., ::-1, :]
    matrix /= tf.cast(spacing_mm, poses.dtype)[:, tf.newaxis]
    middle = [(size - 1) / 2 for size in shape] if isocentre is None else isocentre
    return matrix + tf.pad(tf.constant(middle, poses.dtype)[:, tf.newaxis], [[0, 0], [3, 0]])


def scene_of(
    matrices: tf.Tensor,
    rays: tf.Tensor,
    shape: tuple[int, int, int],
    step_mm: tf.Tensor | float,
    source_detector_mm: tf.Tensor | float,
    block: int = BLOCK,
) -> Scene:
    """Finds which samples of rays lie in a volume, or less than a voxel beside it, before the detector.

    Args:
        matrices: `(volumes, poses, 3, 4)` float, see `grid_from_source`.
        rays: `(3, rays)` float, directions with z = 1.
        shape: depth, height and width of the volumes.
        step_mm: distance of the planes of samples, all of them multiples of it from the source.
        source_detector_mm: how far rays go.
        block: rays that are traced at once.

    Returns:
        The `Scene`.
    """
    dtype = matrices.dtype
    step, reach = tf.cast(step_mm, dtype), tf.cast(source_detector_mm, dtype)
    fixed = tf.stop_gradient(matrices)
    lines, origins = tf.linalg.matmul(fixed[..., :3], rays), fixed[..., 3:]
    near, far = tf.zeros_like(lines[..., 0, :]), tf.fill(tf.shape(lines[..., 0, :]), reach)
    for axis, size in enumerate(shape):
        line, origin = lines[..., axis, :], origins[..., axis, :]
        parallel = tf.abs(line) < NEARLY
        ends = [(end - origin) / tf.where(parallel, tf.ones_like(line), line) for end in (-1.0, float(size))]
        beside = tf.logical_or(origin < -1, origin > size)
        first, last = tf.minimum(*ends), tf.maximum(*ends)
        near = tf.maximum(near, tf.where(parallel, tf.where(beside, reach, 0.0), first))
        far = tf.minimum(far, tf.where(parallel, reach, last))
    met = near < far
    starts = tf.reduce_min(blocked(tf.where(met, near, reach), block, reach), axis=-1)
    ends = tf.reduce_max(blocked(tf.where(met, far, 0.0), block, 0.0), axis=-1)
    first = tf.math.ceil(starts / step)
    counts = tf.maximum(tf.cast(tf.floor(ends / step) - first, tf.int32) + 1, 0)
    return Scene(matrices, rays, first * step, counts, step)
