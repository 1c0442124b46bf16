"""The pose of a C-arm from points that are known in the volume and in its image (perspective-n-point)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy import optimize
from scipy.spatial.transform import Rotation

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rigid import rotated

# Of the turns of an icosahedron, at most 45 deg from any other, those that fit best are refined.
_REFINED = 12
# Points nearer to one line than this part of their extent do not say how the volume is turned about it.
_COLLINEAR = 1e-3


def project_points(pose: tf.Tensor, points_mm: tf.Tensor, camera: Camera) -> tf.Tensor:
    """Finds where points of a volume are seen.

    Args:
        pose: `(..., 6)` float, rotation vector in rad, translation in mm, of the C-arm: a point p lies at R^T (p - t)
            in its frame, whose origin is the isocentre.
        points_mm: `(n, 3)` float, x, y, z in mm in the frame of the volume, in front of the source.
        camera: of the C-arm, with `source_isocentre_mm`.

    Returns:
        `(..., n, 2)` float: x, y in px.

    Raises:
        ValueError: if the camera has no isocentre.

    >>> camera = Camera.from_c_arm(1000.0, 2.0, (101, 101), source_isocentre_mm=500.0)
    >>> project_points(tf.zeros(6), [[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]], camera).numpy().tolist()
    [[50.0, 50.0], [60.0, 50.0]]
    """
    pose = tf.convert_to_tensor(pose)[..., tf.newaxis, :]
    seen = rotated(-pose[..., :3], tf.cast(points_mm, pose.dtype) - pose[..., 3:])
    return camera.project(seen + tf.constant([0.0, 0.0, _source_isocentre_mm(camera)], pose.dtype))


def pose_from_points(points_mm: np.ndarray, image_points_px: np.ndarray, camera: Camera) -> np.ndarray:
    """Finds the pose of a C-arm that shows points of a volume where they are in the image.

    Nothing need be known of the direction: of each of 60 turns that cover all the shift follows linearly, and from
    the best of them the sum of squared distances in the image is minimised. Four points in a plane that is seen almost
    head-on have two poses that fit nearly as well; noise then decides between them.

    Args:
        points_mm: `(n, 3)` float, x, y, z in mm in the frame of the volume; four or more.
        image_points_px: `(n, 2)` float, x, y in px, where each is seen.
        camera: of the C-arm, with `source_isocentre_mm`.

    Returns:
        `(6,)` float64: rotation vector in rad, not longer than pi, translation in mm.

    Raises:
        ValueError: if the points are too few, not finite, on one line or without a pose that has them before the
            source, or the camera has no isocentre.

    Reference:
        Hartley and Zisserman, Multiple view geometry in computer vision, 2nd edition, 2004, sections 4.2 and 7.2.

    >>> camera = Camera.from_c_arm(1000.0, 2.0, (101, 101), source_isocentre_mm=500.0)
    >>> points = [[0.0, 0.0, 0.0], [30.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 30.0]]
    >>> pose = np.array([0.2, -0.1, 0.3, 5.0, -10.0, 20.0])
    >>> pose_from_points(points, project_points(pose, points, camera), camera).round(3).tolist()
    [0.2, -0.1, 0.3, 5.0, -10.0, 20.0]
    """
    points, places = _checked(points_mm, image_points_px)
    source = np.array([0.0, 0.0, _source_isocentre_mm(camera)])
    rays = (places - camera.principal_point_px) / camera.focal_length_px
    middle = points.mean(axis=0)
    about = points - middle

    def distances(turn_and_place: np.ndarray) -> np.ndarray:
        seen = Rotation.from_rotvec(turn_and_place[:3]).apply(about) + turn_and_place[3:]
        return ((seen[:, :2] / seen[:, 2:] - rays) * camera.focal_length_px).ravel()

    starts = [
        np.concatenate([turn.as_rotvec(), _place(turn.apply(about), rays)]) for turn in Rotation.create_group("I")
    ]
    starts = sorted(
        (start for start in starts if _before_source(start, about)), key=lambda x: np.sum(distances(x) ** 2)
    )
    found = [optimize.least_squares(distances, start, method="lm", x_scale="jac") for start in starts[:_REFINED]]
    found = [result for result in found if _before_source(result.x, about)]
    if not found:
        raise ValueError(
            "`image_points_px` must be where a C-arm sees `points_mm`. No pose has them before the source."
        )
    best = min(found, key=lambda result: result.cost).x
    # What was found takes the volume to the camera; a pose takes the C-arm to the volume.
    turn = Rotation.from_rotvec(best[:3]).inv()
    return np.concatenate([turn.as_rotvec(), middle - turn.apply(best[3:] - source)])


def _place(turned: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Fits where the middle of turned points lies: x + X = ray (z + Z) is linear in x, y, z."""
    equations = np.zeros((len(rays), 2, 3))
    equations[:, 0, 0] = equations[:, 1, 1] = 1
    equations[..., 2] = -rays
    constants = rays * turned[:, 2:] - turned[:, :2]
    return np.linalg.lstsq(equations.reshape(-1, 3), constants.ravel(), rcond=None)[0]


def _before_source(turn_and_place: np.ndarray, about: np.ndarray) -> bool:
    depths = Rotation.from_rotvec(turn_and_place[:3]).apply(about)[:, 2] + turn_and_place[5]
    return bool(np.all(depths > 0))


def _checked(points_mm: np.ndarray, image_points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, places = np.asarray(points_mm, np.float64), np.asarray(image_points_px, np.float64)
    if points.shape[1:] != (3,) or places.shape != (len(points), 2) or len(points) < 4:
        raise ValueError(
            "`points_mm` must have shape (n, 3), `image_points_px` (n, 2), with n = 4 or more. "
            f"Received shapes {points.shape} and {places.shape}."
        )
    if not (np.isfinite(points).all() and np.isfinite(places).all()):
        raise ValueError(f"Points must be finite. Received {points.tolist()} mm and {places.tolist()} px.")
    for name, given in (("points_mm", points), ("image_points_px", places)):
        longest, across = np.linalg.svd(given - given.mean(axis=0), compute_uv=False)[:2]
        if across <= _COLLINEAR * longest:
            raise ValueError(f"`{name}` must not lie on one line. Received {given.tolist()}.")
    return points, places


def _source_isocentre_mm(camera: Camera) -> float:
    if camera.source_isocentre_mm is None:
        raise ValueError("`camera` must say its `source_isocentre_mm`. Received None.")
    return camera.source_isocentre_mm
