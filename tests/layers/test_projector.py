"""Images against closed forms, derivatives against finite differences, cases alone and together."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.geometry.camera import Camera
from tfmedcai.geometry.rotations import matrix_from_vector
from tfmedcai.layers.projector import ProjectiveSpatialTransformer, grid_from_source, line_integrals
from tfmedcai.layers.ray_sums import Grid

CAMERA = Camera.from_c_arm(1000.0, (6.0, 5.0), (12, 16), source_isocentre_mm=600.0)
SPACING = (3.0, 2.0, 2.5)  # mm along depth, height and width
SHAPE = (20, 28, 24)
POSES = np.array([[0.0] * 6, [0.2, -0.1, 0.3, 4.0, -3.0, 9.0], [-0.5, 0.4, 0.1, 0.0, 6.0, -20.0]])


def layer(camera=CAMERA, **options):
    return ProjectiveSpatialTransformer(camera, **{"spacing_mm": SPACING, "dtype": "float64"} | options)


def places(shape=SHAPE, spacing=SPACING):
    """x, y and z of the voxel centres in mm, the isocentre in the middle, `(depth, height, width, 3)`."""
    axes = [(np.arange(size) - (size - 1) / 2) * length for size, length in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)


def rays(pose, camera=CAMERA):
    """Source and directions of unit length in the frame of the volume."""
    turn = matrix_from_vector(pose[:3]).numpy()
    directions = camera.rays(tf.float64).numpy() @ turn.T
    source = pose[3:] - camera.source_isocentre_mm * turn[:, 2]
    return source, directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def noise(shape=(1, *SHAPE, 1), seed=0):
    return np.random.default_rng(seed).uniform(size=shape)


@pytest.mark.parametrize("pose", POSES)
def test_a_blob(pose):
    shape, sigma, centre = (64, 64, 64), 16.0, np.array([6.0, -9.0, 4.0])
    grid = places(shape, (2.0, 2.0, 2.0))
    volume = np.exp(-np.sum((grid - centre) ** 2, axis=-1) / (2 * sigma**2))
    image = layer(spacing_mm=(2.0, 2.0, 2.0))([volume[np.newaxis, ..., np.newaxis], pose[np.newaxis]])[0, ..., 0]
    source, directions = rays(pose)
    away = np.linalg.norm(np.cross(centre - source, directions), axis=-1)
    expected = np.sqrt(2 * np.pi) * sigma * np.exp(-(away**2) / (2 * sigma**2))
    np.testing.assert_allclose(image, expected, atol=0.005 * expected.max())


@pytest.mark.parametrize("pose", POSES)
def test_a_box_is_as_thick_as_its_chords(pose):
    image = layer(step_mm=0.05)([np.ones((1, *SHAPE, 1)), pose[np.newaxis]])[0, ..., 0]
    source, directions = rays(pose)
    half = np.array([size * length / 2 for size, length in zip(SHAPE, SPACING, strict=True)])[::-1]
    ends = np.stack([(-half - source) / directions, (half - source) / directions])
    chords = np.maximum(ends.max(axis=0).min(axis=-1) - ends.min(axis=0).max(axis=-1), 0)
    far = np.stack([edges.max(axis=-1) for edges in (ends.min(axis=0), -ends.max(axis=0))]) * [[[1]], [[-1]]]
    met = source + far[..., np.newaxis] * directions
    # A ray through an edge sees it fade: those that go in and out in the middle of a face are clear.
    clear = np.all(np.sum(np.abs(met) > half - 4, axis=-1) == 1, axis=0) & (chords > 0)
    assert clear.mean() > 0.2
    np.testing.assert_allclose(image[clear], chords[clear], rtol=2e-3)


def test_a_ramp_is_exact():
    """Where a volume rises along x, a plane of samples shows x itself, less where it fades behind the last centres."""
    image = layer(step_mm=3.0)([places()[np.newaxis, ..., :1], np.zeros((1, 6))])[0, ..., 0]
    directions, depths = CAMERA.rays(tf.float64).numpy(), np.arange(180, 221) * 3.0
    last_centre = (SHAPE[0] - 1) / 2 * SPACING[0]
    shown = np.clip(1 - (np.abs(depths - 600) - last_centre) / SPACING[0], 0, 1)
    expected = np.linalg.norm(directions, axis=-1) * 3.0 * directions[..., 0] * np.sum(shown * depths)
    np.testing.assert_allclose(image, expected, atol=1e-9)


def test_a_case_alone_and_in_a_batch_is_the_same_to_the_last_bit():
    volumes = noise((3, *SHAPE, 1))
    together = layer()([volumes, POSES]).numpy()
    for number in range(3):
        alone = layer()([volumes[[number]], POSES[[number]]]).numpy()
        np.testing.assert_array_equal(alone[0], together[number])


def test_views_and_channels_are_images_of_their_own():
    volumes = noise((1, *SHAPE, 2))
    several = layer()([volumes, POSES[np.newaxis]])
    assert several.shape == (1, 3, 12, 16, 2)
    for view, channel in itertools.product(range(3), range(2)):
        single = layer()([volumes[..., [channel]], POSES[[view]]])
        np.testing.assert_array_equal(several[:, view, ..., channel], single[..., 0])


@pytest.mark.parametrize("block", [7, 64])
def test_blocks_of_rays_change_nothing(block):
    given = [noise(), POSES[[1]]]
    np.testing.assert_allclose(layer(block=block)(given), layer()(given), rtol=1e-12)


def test_images_without_gradients_are_the_same():
    given = [noise(), POSES[[1]]]
    np.testing.assert_allclose(layer(differentiable=False)(given), layer()(given), rtol=1e-12)


def test_zeros_around_a_volume_change_nothing():
    volume, margins = noise(), ((2, 5), (1, 0), (4, 3))
    middle = [(size - 1) / 2 + before for size, (before, _) in zip(SHAPE, margins, strict=True)]
    padded = np.pad(volume, ((0, 0), *margins, (0, 0)))
    for pose in POSES:
        image = layer()([volume, pose[np.newaxis]])
        np.testing.assert_allclose(layer(isocentre=middle)([padded, pose[np.newaxis]]), image, rtol=1e-10, atol=1e-10)


def test_a_volume_beside_the_cone_or_behind_the_detector_is_not_seen():
    for shift in ([0.0, 500.0, 0.0], [0.0, 0.0, -450.0], [0.0, 0.0, 700.0]):
        assert not np.any(layer()([noise(), np.array([[0.0, 0.0, 0.0, *shift]])]))


def test_mirrored_cameras_mirror_the_image():
    given, middle = [noise(), POSES[[1]]], CAMERA.image_size[1] - 1
    mirrored = layer(Camera.from_c_arm(1000.0, (6.0, 5.0), (12, 16), source_isocentre_mm=600.0, mirrored=True))
    assert CAMERA.principal_point_px[0] == middle / 2
    np.testing.assert_allclose(mirrored(given)[:, :, ::-1], layer()(given), rtol=1e-10)


def weighted(volume, pose):
    image = layer()([volume, pose])
    return tf.reduce_sum(image * tf.cos(tf.reshape(tf.range(tf.size(image), dtype=image.dtype), tf.shape(image))))


def gradients(volume, pose, outer=None):
    """Of the weighted image, or of a weighted sum of these."""
    volume, pose = tf.constant(volume), tf.constant(pose)
    with tf.GradientTape() as tape:
        tape.watch([volume, pose])
        if outer is None:
            value = weighted(volume, pose)
        else:
            with tf.GradientTape() as inner:
                inner.watch([volume, pose])
                value = weighted(volume, pose)
            value = sum(
                tf.reduce_sum(part * along)
                for part, along in zip(inner.gradient(value, [volume, pose]), outer, strict=True)
            )
    return value.numpy(), [part.numpy() for part in tape.gradient(value, [volume, pose])]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("pose", POSES[1:])
def test_derivatives_agree_with_differences(order, pose):
    rng = np.random.default_rng(1)
    given = [noise(), pose[np.newaxis]]
    outer = None if order == 1 else [rng.normal(size=part.shape) for part in given]
    _, exact = gradients(*given, outer)
    for place, size in ((0, 1e-4), (1, 1e-7)):
        along = rng.normal(size=given[place].shape)
        ends = [
            gradients(*(part + sign * along if n == place else part for n, part in enumerate(given)), outer)[0]
            for sign in (-size, size)
        ]
        # Where a sample crosses into another cell, the second derivative jumps.
        difference = (ends[1] - ends[0]) / (2 * size)
        np.testing.assert_allclose(np.sum(exact[place] * along), difference, rtol=2e-4 if order == 2 else 1e-5)


def test_there_is_no_third_derivative():
    pose = tf.constant(POSES[[1]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pose)
        slope = tf.reduce_sum(tape.gradient(weighted(tf.constant(noise()), pose), pose))
        curvature = tf.reduce_sum(tape.gradient(slope, pose))
    with pytest.raises(NotImplementedError, match="no third derivatives"):
        tape.gradient(curvature, pose)


def test_gradients_are_finite_at_zero_and_where_rays_run_along_the_planes():
    _, (of_volume, of_pose) = gradients(noise(), np.zeros((1, 6)), [np.ones((1, *SHAPE, 1)), np.ones((1, 6))])
    assert np.isfinite(of_volume).all() and np.isfinite(of_pose).all()


def test_compiled_gradients_are_the_same():
    volume, pose, along = noise(), POSES[[1]], tf.ones((1, 6), tf.float64)

    def double(volume, pose):
        with tf.GradientTape() as outer:
            outer.watch(volume)
            with tf.GradientTape() as tape:
                tape.watch(pose)
                value = weighted(volume, pose)
            slope = tf.reduce_sum(tape.gradient(value, pose) * along)
        return outer.gradient(slope, volume)

    eager = double(tf.constant(volume), tf.constant(pose))
    compiled = tf.function(double, autograph=False, jit_compile=True)(tf.constant(volume), tf.constant(pose))
    np.testing.assert_allclose(compiled, eager, atol=1e-10 * np.abs(eager).max())


def test_without_xla_images_and_gradients_are_the_same():
    volume, poses, made = tf.constant(noise()), tf.constant(POSES[np.newaxis, 1:]), []
    for xla in (True, False):
        with tf.GradientTape() as outer:
            outer.watch(volume)
            with tf.GradientTape() as tape:
                tape.watch(poses)
                matrices = grid_from_source(poses, SHAPE, SPACING, CAMERA.source_isocentre_mm)
                options = (Grid(SHAPE, xla=xla), 2.0, CAMERA.source_detector_mm)
                image = line_integrals(volume, matrices, CAMERA.rays(tf.float64), *options)
            slope = tape.gradient(image, poses)
        made.append([image, slope, outer.gradient(slope, volume)])
    for with_xla, without in zip(*made, strict=True):
        np.testing.assert_allclose(without, with_xla, atol=1e-10 * np.abs(with_xla).max())


def test_a_volume_is_seen_from_several_poses_in_turn():
    volumes = noise((2, *SHAPE, 1))
    poses = np.concatenate([POSES, POSES[:1]])
    together = layer()([volumes, poses])
    assert together.shape == (4, 12, 16, 1)
    for number in range(4):
        alone = layer()([volumes[number // 2 : number // 2 + 1], poses[[number]]])
        np.testing.assert_array_equal(together[number], alone[0])


def test_mixed_precision_computes_in_single_precision():
    given = [noise().astype("float32"), POSES[[1]].astype("float32")]
    image = layer(dtype="mixed_bfloat16")(given)
    assert image.dtype == tf.bfloat16
    np.testing.assert_array_equal(image, tf.cast(layer(dtype="float32")(given), tf.bfloat16))


def test_in_a_saved_model(tmp_path):
    inputs = keras.Input((*SHAPE, 1)), keras.Input((6,))
    model = keras.Model(inputs, layer(dtype="float32", step_mm=2.0)(inputs))
    given = [noise().astype("float32"), POSES[[1]].astype("float32")]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.output_shape == (None, 12, 16, 1)
    np.testing.assert_array_equal(again(given), model(given))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "`spacing_mm` must be three lengths above 0 mm"),
        ({"step_mm": -1.0}, "`step_mm`"),
        ({"camera": Camera.from_c_arm()}, "source_isocentre_mm"),
    ],
)
def test_bad_geometry(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)
