"""Costs around the true pose of a case."""

import numpy as np
import tensorflow as tf

from tfmedcai.tasks.registration_study import studied, study_pictures

TRUTH = np.array([0.1, -0.1, 0.2, 5.0, -3.0, 8.0])
REACH = np.array([0.2, 0.2, 0.2, 10.0, 10.0, 20.0])


def _bowl(poses):
    return tf.reduce_sum(((poses - TRUTH.astype(np.float32)) / REACH.astype(np.float32)) ** 2, axis=-1)


def test_a_bowl_leads_to_the_truth_and_waves_do_not():
    poses = TRUTH + np.random.default_rng(0).normal(size=(40, 6)) * REACH / 4
    costs = {"bowl": _bowl, "waves": lambda poses: tf.sin(40.0 * _bowl(poses))}
    found = studied(costs, TRUTH, REACH, poses, 100.0)
    assert found["study"].tolist() == ["bowl", "waves"]
    assert np.argmin(found["landscapes"][0], axis=1).tolist() == [found["offsets"].shape[1] // 2] * 6
    (_, bowl), (_, waves) = found["correlations"]
    assert bowl > 0.7 > 0.4 > abs(waves)
    landscapes, correlations = study_pictures(found)
    assert "bowl 6; waves" in landscapes.caption
    assert f"bowl {bowl:.2f}; waves {waves:.2f}" in correlations.caption
