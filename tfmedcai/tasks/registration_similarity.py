"""The stage of a registration that descends what a network of the registration task has learned (ProST)."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfmedcai.config.registration import RegisterSettings
from tfmedcai.geometry.rigid import compose
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.models.pose_similarity import Parts, parts_of
from tfmedcai.runs import open_run
from tfmedcai.simulators.materials import attenuation_from_hu
from tfmedcai.tasks.fitting import load_model
from tfmedcai.tasks.registration_problem import Cost, Problem, View
from tfmedcai.tasks.registration_stages import Stage, descended


def read_similarity(folder: Path) -> keras.Model:
    """Reads the first trained similarity of a run.

    Args:
        folder: of a run of the task registration.

    Returns:
        The network, see `models.pose_similarity`.

    Raises:
        ValueError: if the folder is no run, or has no network that says how unlike images are.
    """
    run, _ = open_run(folder)
    for trained in run.trained():
        model = load_model(trained.model)
        # One number a pose; what regresses steps has several.
        if len(model.inputs) == 3 and len(model.output_shape) == 1:
            return model
    raise ValueError(f"{folder}: no trained similarity. Train a network of the task registration, prost say.")


def similarity_stage(settings: RegisterSettings, model: keras.Model) -> Stage:
    """Makes the stage similarity from its settings and a network."""

    def search(problem: Problem, start: np.ndarray) -> tuple:
        return descended(learned_cost(problem, model), start, settings.similarity)

    return Stage("similarity", search)


def learned_cost(problem: Problem, model: keras.Model) -> Cost:
    """Says how unlike a network finds the images of a case, the mean over all views.

    The volume is brought to the voxels that the network learned from, the images to its size, whatever their camera.

    Args:
        problem: the case.
        model: see `models.pose_similarity`.

    Returns:
        Function of poses `(n, 6)` -> `(n,)`, differentiable, lower is more alike.
    """
    parts, shape = parts_of(model), tuple(model.inputs[0].shape[1:4])
    anatomy = problem.anatomy.fitted(shape, parts.projector.spacing_mm)
    volume = attenuation_from_hu(anatomy.hu)[tf.newaxis, ..., tf.newaxis]
    features = volume if parts.volume_net is None else parts.volume_net(volume, training=False)
    costs = [_cost_of(view, parts, features) for view in problem.views]

    @tf.function(autograph=False)
    def cost(poses: tf.Tensor) -> tf.Tensor:
        return tf.add_n([of_view(tf.cast(poses, tf.float32)) for of_view in costs]) / len(costs)

    return cost


def _cost_of(view: View, parts: Parts, features: tf.Tensor) -> Cost:
    size = parts.projector.camera.image_size
    radiograph = view.radiograph.resized(size)
    project = ProjectiveSpatialTransformer(radiograph.camera, parts.projector.spacing_mm)
    image = np.asarray(radiograph.image, np.float32)
    low, high = float(image.min()), float(image.max())
    # From 0 to 1, as the task shows them to the network.
    target = tf.constant((image - low) / (high - low or 1.0))[tf.newaxis, ..., tf.newaxis]
    relative = tf.constant(view.relative, tf.float32)

    def cost(poses: tf.Tensor) -> tf.Tensor:
        moving = project([features, compose(poses, relative)[tf.newaxis]])[0]
        pairs = tf.concat([moving, tf.repeat(target, tf.shape(poses)[0], axis=0)], axis=-1)
        return parts.image_net(pairs, training=False)[:, 0]

    return cost
