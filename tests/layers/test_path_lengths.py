"""Path lengths against chords, a walk by hand, and derivatives against differences."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rotations import matrix_from_vector
from tfmedcai.layers.projector import ProjectiveSpatialTransformer

CAMERA = Camera.from_c_arm(1000.0, (6.0, 5.0), (8, 10), source_isocentre_mm=600.0)
SPACING, SHAPE = (3.0, 2.0, 2.5), (12, 18, 14)
POSES = np.array([[0.0] * 6, [0.2, -0.1, 0.3, 4.0, -3.0, 9.0], [-0.5, 0.4, 0.1, 0.0, 6.0, -20.0]])
PROJECT = ProjectiveSpatialTransformer(CAMERA, SPACING, method="siddon", dtype="float64")


def rays(pose):
    turn = matrix_from_vector(pose[:3]).numpy()
    directions = CAMERA.rays(tf.float64).numpy().reshape(-1, 3) @ turn.T
    return pose[3:] - 600.0 * turn[:, 2], directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def by_hand(volume, pose):
    """Cuts each ray at all faces and looks up the voxel in the middle of each piece."""
    source, directions = rays(pose)
    sizes, spacing = np.array(SHAPE[::-1]), np.array(SPACING[::-1])
    sums = []
    for direction in directions:
        faces = [
            ((np.arange(size + 1) - size / 2) * length - start) / slope
            for size, length, start, slope in zip(sizes, spacing, source, direction, strict=True)
            if slope
        ]
        cuts = np.sort(np.concatenate(faces))
        middles = source + direction * ((cuts[1:] + cuts[:-1]) / 2)[:, np.newaxis]
        index = np.floor(middles / spacing + sizes / 2).astype(int)
        inside = np.all((index >= 0) & (index < sizes), axis=1)
        x, y, z = index[inside].T
        sums.append(np.sum(np.diff(cuts)[inside] * volume[z, y, x]))
    return np.array(sums).reshape(CAMERA.image_size)


@pytest.mark.parametrize("pose", POSES)
def test_sums_are_those_made_by_hand(pose):
    volume = np.random.default_rng(0).uniform(size=SHAPE)
    image = PROJECT([volume[np.newaxis, ..., np.newaxis], pose[np.newaxis]])[0, ..., 0]
    np.testing.assert_allclose(image, by_hand(volume, pose), rtol=1e-10, atol=1e-10)


def first_and_second(volume, pose, outer):
    """A weighted image, its gradients, and the gradients of a weighted sum of these."""
    volume, pose = tf.constant(volume), tf.constant(pose)
    with tf.GradientTape() as tape:
        tape.watch([volume, pose])
        with tf.GradientTape() as inner:
            inner.watch([volume, pose])
            image = PROJECT([volume, pose])
            value = tf.reduce_sum(image * tf.cos(tf.reshape(tf.range(tf.size(image), dtype=image.dtype), image.shape)))
        first = inner.gradient(value, [volume, pose])
        slope = sum(tf.reduce_sum(part * along) for part, along in zip(first, outer, strict=True))
    return (value, first), (slope, tape.gradient(slope, [volume, pose]))


@pytest.mark.parametrize("pose", POSES[1:])
def test_derivatives_agree_with_differences(pose):
    rng = np.random.default_rng(1)
    given = [rng.uniform(size=(1, *SHAPE, 1)), pose[np.newaxis]]
    outer = [rng.normal(size=part.shape) for part in given]
    exact = first_and_second(*given, outer)
    for place, size in ((0, 1e-4), (1, 1e-7)):
        along = rng.normal(size=given[place].shape)
        low, high = (
            first_and_second(*(part + sign * along if n == place else part for n, part in enumerate(given)), outer)
            for sign in (-size, size)
        )
        for (_, gradients), before, after in zip(exact, low, high, strict=True):
            difference = (after[0] - before[0]) / (2 * size)
            np.testing.assert_allclose(np.sum(gradients[place] * along), difference, rtol=1e-5)


def test_unknown_method():
    with pytest.raises(ValueError, match="`method` must be one of trilinear, siddon"):
        ProjectiveSpatialTransformer(CAMERA, SPACING, method="ray")
