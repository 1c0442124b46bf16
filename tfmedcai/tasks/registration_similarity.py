"""The stage of a registration in which a network of the registration task leads: ProST, DeepIM, DMW."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmedcai.config.registration import SimilaritySettings
from tfmedcai.models.pose_similarity import parts_of
from tfmedcai.runs import open_run
from tfmedcai.simulators.materials import attenuation_from_hu
from tfmedcai.tasks.fitting import load_model
from tfmedcai.tasks.registration_network import answers, intrinsics_of, register, seen_by
from tfmedcai.tasks.registration_problem import Cost, Problem
from tfmedcai.tasks.registration_stages import Stage


def read_network(folder: Path) -> keras.Model:
    """Reads the first trained registration network of a run.

    Args:
        folder: of a run of the task registration.

    Returns:
        The network, see `models.pose_similarity`.

    Raises:
        ValueError: if the folder is no run, or has no network of volume, image and pose.
    """
    run, _ = open_run(folder)
    for trained in run.trained():
        model = load_model(trained.model)
        if len(model.inputs) == 3:
            return model
    raise ValueError(f"{folder}: no trained registration network. Train one of the task registration, prost say.")


def similarity_stage(settings: SimilaritySettings, model: keras.Model) -> Stage:
    """Makes the stage in which a similarity is descended, the mean of all views, or the steps of a network are made.

    The volume is brought to the voxels that the network learned from, the images to its size, whatever their camera.

    Returns:
        The stage.
    """

    @tf.function(autograph=False)
    def solve(volume: tf.Tensor, start: tf.Tensor, views: list[tuple[tf.Tensor, ...]]) -> Any:
        return register(model, volume, [seen_by(model, *view) for view in views], start, settings)

    def search(problem: Problem, start: np.ndarray) -> tuple:
        volume, views = _given(model, problem)
        found = solve(volume, tf.constant(start[np.newaxis], tf.float32), views)
        return found.pose[0], found.similarity[0], found.poses[1:, 0], found.similarities[1:, 0]

    return Stage("similarity", search)


def learned_cost(model: keras.Model, problem: Problem) -> Cost:
    """Makes the learned similarity of a case a function of poses `(n, 6)` -> `(n,)`, lower is more alike."""
    volume, views = _given(model, problem)
    seen = [seen_by(model, *view) for view in views]

    @tf.function(autograph=False)
    def cost(poses: tf.Tensor) -> tf.Tensor:
        of_each = [view._replace(targets=tf.repeat(view.targets, poses.shape[0], axis=0)) for view in seen]
        return answers(model, volume, of_each)(poses)[:, 0]

    return cost


def _given(model: keras.Model, problem: Problem) -> tuple[tf.Tensor, list[tuple[tf.Tensor, ...]]]:
    """Returns the volume on the grid of a network, and of each view what `seen_by` takes."""
    spacing, shape = parts_of(model).projector.spacing_mm, tuple(model.inputs[0].shape[1:4])
    volume = attenuation_from_hu(problem.anatomy.fitted(shape, spacing).hu)[tf.newaxis, ..., tf.newaxis]
    views = [
        (
            tf.constant(view.radiograph.image[np.newaxis], tf.float32),
            intrinsics_of(view.radiograph.camera),
            tf.constant(view.relative, tf.float32),
        )
        for view in problem.views
    ]
    return volume, views
