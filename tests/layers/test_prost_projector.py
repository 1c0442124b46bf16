"""The published projector: its recorded images, gradients, mixed derivatives and Hessians."""

import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.layers.prost_projector import PublishedProjector, published_rotation

PRECISIONS = [("float64", 1e-10, 1e-8), ("float32", 2e-6, 1e-4)]


class Recorded:
    """What the original did with one volume and 11 poses."""

    def __init__(self, path, precision):
        self.values = dict(np.load(path))
        names = "src", "det", "pix_spacing", "step_size"
        size = int(self.values["det_size"])
        self.project = PublishedProjector(*(float(self.values[name]) for name in names), (size, size))
        self.volume = tf.constant(self.values["volume"], precision)
        self.weight = tf.constant(self.values["weight"].reshape(size, size), precision)

    def __getitem__(self, name):
        return self.values[name]

    def pose(self, number):
        return tf.constant(self["rtvec"][[number]])

    def weighted(self, volume, poses):
        return tf.reduce_sum(self.project(volume, poses) * self.weight)


@pytest.fixture(scope="module", params=PRECISIONS, ids=[name for name, *_ in PRECISIONS])
def recorded(request, golden):
    precision, of_images, of_gradients = request.param
    return Recorded(golden("prost/render_cube64_det64_master.npz"), precision), of_images, of_gradients


def agree(ours, theirs, bound):
    assert np.abs(np.squeeze(ours) - np.squeeze(theirs)).max() <= bound * np.abs(theirs).max()


def gradient(function, source):
    with tf.GradientTape() as tape:
        tape.watch(source)
        value = function(source)
    return tape.gradient(value, source)


def test_images(recorded):
    case, bound, _ = recorded
    for number, image in enumerate(case["image_f64"]):
        agree(case.project(case.volume, case.pose(number)), image, bound)


def test_gradients_to_matrices(recorded):
    case, _, bound = recorded
    for number, theirs in enumerate(case["grad_T_f64"]):
        matrix = tf.constant(case["T3x4_f64"][number].reshape(1, 3, 4))
        ours = gradient(
            lambda matrix: tf.reduce_sum(case.project.of_matrices(case.volume, matrix) * case.weight), matrix
        )
        agree(ours, theirs.reshape(3, 4), bound)


def test_gradients_to_poses_are_finite_at_zero_too(recorded):
    case, _, bound = recorded
    for number, theirs in enumerate(case["grad_rtvec_f64"]):
        ours = gradient(lambda pose: case.weighted(case.volume, pose), case.pose(number))
        assert np.isfinite(ours).all()
        known = np.isfinite(theirs)
        agree(ours.numpy()[0][known], theirs[known], bound)


def test_gradients_to_the_volume(recorded):
    case, _, bound = recorded
    pose = case.pose(int(case["mixed_pose"][0]))
    agree(gradient(lambda volume: case.weighted(volume, pose), case.volume), case["grad_vol_f64"], bound)


@pytest.mark.parametrize("options", [None, {"jit_compile": True}], ids=["eager", "xla"])
def test_mixed_derivatives(recorded, options):
    case, _, bound = recorded
    pose, along = case.pose(int(case["mixed_pose"][0])), tf.constant(case["mixed_vec"])

    def mixed(volume):
        def slope(volume):
            return tf.reduce_sum(gradient(lambda pose: case.weighted(volume, pose), pose) * along)

        return gradient(slope, volume)

    ours = mixed if options is None else tf.function(mixed, autograph=False, **options)
    agree(ours(case.volume), case["mixed_f64"], bound)


def test_hessians(recorded):
    case, _, bound = recorded
    for number, theirs in zip(case["hess_pose"], case["hessian_f64"], strict=True):
        with tf.GradientTape(persistent=True) as tape:
            pose = case.pose(int(number))
            tape.watch(pose)
            slopes = gradient(lambda pose: case.weighted(case.volume, pose), pose)
        agree(tape.jacobian(slopes, pose, experimental_use_pfor=False), theirs, bound)


def test_large_images(golden):
    case = Recorded(golden("prost/render_cube128_det128_master.npz"), "float32")
    for number in (0, 9, 10):
        agree(case.project(case.volume, case.pose(number)), case["image_f64"][number], 2e-6)


def test_poses_of_a_call_share_their_samples(golden):
    case = Recorded(golden("prost/render_cube64_det64_master.npz"), "float64")
    poses = case.pose(7), case.pose(9)
    alone = np.concatenate([case.project(case.volume, pose) for pose in poses])
    differences = np.abs(case.project(case.volume, tf.concat(poses, axis=0)) - alone).max(axis=(1, 2)) / alone.max()
    assert 1e-6 < differences.max() < 1e-2


def test_rotations_are_nearly_right():
    vectors = tf.constant([[0.0, 0.0, 0.0], [5e-4, 0.0, 0.0], [0.1, -0.7, 0.3]], tf.float64)
    matrices = published_rotation(vectors)
    np.testing.assert_allclose(matrices @ tf.linalg.matrix_transpose(matrices), [np.eye(3)] * 3, atol=1e-5)
    assert np.abs(matrices[2] @ tf.transpose(matrices[2]) - np.eye(3)).max() > 1e-8
