"""One case of registration as costs of poses."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.registration_bones import CAMERA, SIDE, TRUTH, bones, problem
from tfmedcai.data.radiographs import Radiograph
from tfmedcai.geometry.rigid import compose
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.tasks.registration_problem import HERE, Problem, View, prepared

NEAR = np.stack(
    [TRUTH, np.add(TRUTH, [0.1, 0, 0, 0, 0, 0]), np.add(TRUTH, [0, 0, 0, 0, 12, 0]), np.add(TRUTH, [0, 0, 0, 0, 0, 60])]
)


@pytest.fixture(scope="module")
def case() -> Problem:
    return problem(relatives=(HERE, SIDE))


@pytest.mark.parametrize("similarity", ["ncc", "gradient_ncc", "patch_gradient_ncc"])
def test_the_true_pose_has_the_least_cost(case, similarity):
    costs = case.level(32, 6.0).cost(similarity, 3)(NEAR).numpy()
    assert costs.shape == (4,)
    assert np.argmin(costs) == 0 and np.all(costs[1:] > costs[0] + 0.01)


def test_a_cost_is_the_mean_over_views(case):
    def cost(views):
        return Problem(case.anatomy, views).level(32, 6.0).cost("ncc")(NEAR).numpy()

    both = case.level(32, 6.0).cost("ncc")(NEAR).numpy()
    first, second = cost(case.views[:1]), cost(case.views[1:])
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)
    assert np.abs(first - second).max() > 0.01


def test_images_are_those_of_the_projector(case):
    level = case.level(32, 6.0)
    project = ProjectiveSpatialTransformer(CAMERA, (6.0, 6.0, 6.0))
    for relative, image in zip((HERE, SIDE), level.images(NEAR[:2]), strict=True):
        poses = compose(tf.constant(NEAR[:2], tf.float32), tf.constant(relative))
        expected = project([tf.repeat(level.volume[tf.newaxis, ..., tf.newaxis], 2, 0), poses])[..., 0]
        np.testing.assert_allclose(image, expected, atol=1e-5)


def test_the_gradient_is_the_slope_of_the_cost(case):
    # One view, and all poses at once: one compilation.
    cost = Problem(case.anatomy, case.views[:1]).level(32, 6.0).cost("gradient_ncc", differentiable=True)
    steps = np.diag([1e-2, 1e-2, 1e-2, 1.0, 1.0, 4.0])
    poses = tf.constant(np.concatenate([NEAR[1:2], NEAR[1] + steps, NEAR[1] - steps]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(poses)
        costs = cost(poses)
    slope = tape.gradient(costs, poses).numpy()[0]
    ahead, behind = costs.numpy()[1:7], costs.numpy()[7:]
    np.testing.assert_allclose(slope * np.diag(steps), (ahead - behind) / 2, atol=5e-4)
    assert np.abs(slope * np.diag(steps)).max() > 5e-3


def test_coarse_levels_see_the_same_case(case):
    costs = case.level(24, 9.0).cost("gradient_ncc")(NEAR).numpy()
    assert np.argmin(costs) == 0
    assert case.level(24, 9.0) is case.level(24, 9.0)
    assert case.level(24, 9.0).views[0].radiograph.camera.image_size == (24, 24)
    assert case.level(64, 6.0).views[0].radiograph.camera.image_size == (32, 32)


def test_structures_lie_in_the_middle_and_no_voxel_is_interpolated():
    whole = bones()
    made = prepared(whole, (1, 3))
    assert set(np.unique(made.labels)) == {0, 1, 3}
    places = np.argwhere(made.labels > 0)
    np.testing.assert_allclose(places.min(0) + places.max(0), np.array(made.hu.shape) - 1)
    assert set(np.unique(made.hu)) == {-130.0, 800.0}
    in_patient = [
        one.patient_from_volume[:3, :3] @ one.points((1,), 9**9).mean(0) + one.patient_from_volume[:3, 3]
        for one in (whole, made)
    ]
    np.testing.assert_allclose(*in_patient)
    kept = prepared(whole, (1, 3), masked=False)
    np.testing.assert_allclose(kept.patient_from_volume, made.patient_from_volume)
    assert np.count_nonzero(kept.hu == 0.0) == np.count_nonzero(whole.hu == 0.0)


def test_a_pose_from_which_nothing_is_seen_is_refused(case):
    case.check_seen(TRUTH)
    for pose in (np.add(TRUTH, [0, 0, 0, 400, 0, 0]), np.array([0.0, 0, 0, 0, 0, 800.0])):
        with pytest.raises(ValueError, match="cone of rays misses it"):
            case.check_seen(pose)
    with pytest.raises(ValueError, match="six finite numbers"):
        case.check_seen(TRUTH * np.nan)


def test_what_is_no_case_is_refused(case):
    with pytest.raises(ValueError, match="at least one X-ray image"):
        Problem(case.anatomy, ())
    with pytest.raises(ValueError, match="the relative pose"):
        Problem(case.anatomy, (View(case.views[0].radiograph, (0.0,) * 5),))
    with pytest.raises(ValueError, match="give `--labels`"):
        prepared(bones().__class__(bones().hu, None, (6.0,) * 3, np.eye(4)), (1,))
    lost = Radiograph(case.views[0].radiograph.image, CAMERA.from_c_arm(1000.0, 8.0, (32, 32)))
    with pytest.raises(ValueError, match="source_isocentre_mm"):
        Problem(case.anatomy, (View(lost),))
