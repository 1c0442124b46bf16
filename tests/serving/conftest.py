"""Tiny exported models that the tests of this room share."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.serving.export import export
from tfmedcai.tasks.task import Signature

MEANING = {
    "image": "(batch, height, width, 1), grey value in [0, 1]",
    "score": "(batch, 2), no unit",
    "twice": "(batch, 2), no unit",
}
IMAGE = {"image": tf.TensorSpec((None, None, None, 1), tf.float32)}


@pytest.fixture(scope="session")
def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, name="conv"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((None, None, 1)), *layers])


@pytest.fixture(scope="session")
def signatures(network):
    def score(image):
        return {"score": network(image, training=False)}

    def twice(image):
        return {"twice": 2 * network(image, training=False)}

    example = {"image": np.random.default_rng(0).random((1, 8, 8, 1), np.float32)}
    functions = {"serving_default": score, "twice": twice}
    return {name: Signature(function, IMAGE, example, MEANING) for name, function in functions.items()}


@pytest.fixture(scope="session")
def model_folder(signatures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    export(signatures, folder, card={"task": "test"})
    return folder
