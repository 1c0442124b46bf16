"""Registration networks: parts, gradients of gradients through all of them, files that load in safe mode."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.layers.gradients import double_backward_deviation, double_precision
from tfmedcai.geometry.camera import Camera
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.layers.sample_normalisation import SampleNormalisation
from tfmedcai.losses.pose_gradients import PoseGradientLoss
from tfmedcai.models.i3posnet import i3posnet
from tfmedcai.models.pose_similarity import PoseSimilarity, parts_of, pose_similarity, twice_differentiable
from tfmedcai.models.prost import prost_volume_net

SIDE, VOXELS = 8, (6, 5, 7)
CAMERA = Camera.from_c_arm(1000.0, 14.0, (SIDE, SIDE), source_isocentre_mm=700.0)


def _encoder(image_shape=(SIDE, SIDE, 3), outputs=1):
    image = keras.Input(image_shape)
    x = layers.Conv2D(3, 3, activation="tanh", name="conv")(image)
    x = layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = layers.Flatten()(layers.Conv2D(2, 3, strides=2, activation="tanh", name="half")(x))
    return keras.Model(
        image, layers.Dense(outputs, name="value")(layers.LayerNormalization(name="norm")(x)), name="net"
    )


def _model(outputs=1, volume_net=True):
    projector = ProjectiveSpatialTransformer(CAMERA, (10.0, 12.0, 9.0), name="projector")
    first = prost_volume_net(input_shape=(*VOXELS, 1), filters=(2,), channels=2) if volume_net else None
    encoder = _encoder((SIDE, SIDE, 3 if volume_net else 2), outputs)
    return pose_similarity(projector, encoder, first, volume_shape=VOXELS)


def _inputs(poses=4, volumes=1, dtype="float32"):
    rng = np.random.default_rng(0)
    # Smooth, as between voxels the slopes of an image jump.
    waves = np.meshgrid(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) for n in VOXELS), indexing="ij")
    volume = 0.02 * np.prod(waves, axis=0) * rng.uniform(0.5, 1, (volumes, 1, 1, 1))
    volume = tf.constant(volume[..., np.newaxis], dtype)
    target = tf.constant(rng.uniform(size=(poses, SIDE, SIDE, 1)), dtype)
    return [volume, target, tf.constant(rng.normal(size=(poses, 6)) * ([0.1] * 3 + [5.0] * 3), dtype)]


def _scattered(model):
    rng = np.random.default_rng(1)
    model.set_weights([value + rng.uniform(0.02, 0.2, size=value.shape) for value in model.get_weights()])
    return model


def test_poses_of_one_volume_are_those_of_as_many():
    model, (volume, target, pose) = _scattered(_model()), _inputs()
    found = model([volume, target, pose]).numpy()
    assert found.shape == (4,)
    np.testing.assert_allclose(found, model([tf.repeat(volume, 4, axis=0), target, pose]), rtol=1e-5)
    two = tf.concat([volume, 0.5 * volume], axis=0)
    expected = [model([two[k // 2 : k // 2 + 1], target[k : k + 1], pose[k : k + 1]]).numpy()[0] for k in range(4)]
    np.testing.assert_allclose(model([two, target, pose]), expected, rtol=1e-4)


def test_parts_make_the_whole():
    model, (volume, target, pose) = _scattered(_model()), _inputs()
    volume_net, projector, image_net = parts_of(model)
    images = projector([volume_net(volume), pose])
    np.testing.assert_allclose(
        image_net(tf.concat([images, target], -1))[:, 0], model([volume, target, pose]), rtol=1e-5
    )
    assert parts_of(_model(outputs=6, volume_net=False)).volume_net is None


def test_pose_gradient():
    model, (volume, target, pose) = _model(), _inputs()
    similarity, gradient = model.pose_gradient([volume, target, pose])
    np.testing.assert_allclose(similarity, model([volume, target, pose]), rtol=1e-5, atol=1e-6)
    steps = np.diag([5e-3] * 3 + [0.5] * 3)
    ends = [[model([volume, target, pose + tf.constant(way * step, tf.float32)]) for way in (1, -1)] for step in steps]
    slopes = np.stack([(up - down) / (2 * step.max()) for (up, down), step in zip(ends, steps, strict=True)], axis=-1)
    for part in (slice(3), slice(3, 6)):
        large = np.abs(slopes[:, part]).max()
        np.testing.assert_allclose(gradient[:, part] / large, slopes[:, part] / large, atol=0.1)


def test_gradient_of_the_gradient_behind_a_normalisation_of_tokens():
    keras.utils.set_random_seed(0)
    tokens = tf.constant(np.random.default_rng(0).normal(size=(3, 5)))
    with double_precision():
        x = keras.Input((5,))
        made = layers.Dense(4, activation="tanh")(layers.LayerNormalization()(layers.Dense(6, activation="tanh")(x)))
        keras_net = keras.Model(x, layers.Dense(1)(made))
        ours = twice_differentiable(keras_net)
        ours.set_weights(keras_net.get_weights())
    np.testing.assert_allclose(ours(tokens), keras_net(tokens), rtol=1e-9)
    deviations = [
        double_backward_deviation(net, tokens, net.trainable_variables, reach=1e-5) for net in (ours, keras_net)
    ]
    assert deviations[0] < 1e-6
    assert deviations[1] > 1e-4, "Keras's own is right now: this package's is no longer needed"


def test_gradient_of_the_gradient_of_the_whole():
    model, inputs = _model(), _inputs()
    aim = tf.random.normal((4, 6))

    @tf.function(autograph=False)
    def loss():
        return tf.reduce_mean((model.pose_gradient(inputs, training=True)[1] - aim) ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    weights = [w for w in model.trainable_variables if "kernel" in w.path or "gamma" in w.path]
    slopes = tape.gradient(value, weights)
    size, before = tf.linalg.global_norm(slopes), [tf.identity(weight) for weight in weights]
    ends = []
    for way in (3e-4, -3e-4):
        for weight, start, slope in zip(weights, before, slopes, strict=True):
            weight.assign(start + way * slope / size)
        ends.append(float(loss()))
    assert (ends[0] - ends[1]) / 6e-4 == pytest.approx(float(size), rel=0.05)


def test_in_other_networks_each_image_is_normalised_for_itself():
    network = i3posnet(input_shape=(16, 16, 4), outputs=1, filters=2, blocks=1, dense=(4,))
    copy = twice_differentiable(network)
    kinds = {type(layer) for layer in copy.layers}
    assert layers.BatchNormalization not in kinds and SampleNormalisation in kinds
    assert copy.name == "i3posnet"
    assert [w.shape for w in copy.trainable_weights] == [w.shape for w in network.trainable_weights]


def test_what_is_said_of_a_pose_depends_on_no_other_and_not_on_training():
    model, (volume, target, pose) = _scattered(_model(volume_net=False)), _inputs()
    together = model.pose_gradient([volume, target, pose], training=True)
    alone = model.pose_gradient([volume, target[:1], pose[:1]])
    for all_of_them, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(all_of_them[:1], one, rtol=1e-4, atol=1e-6)


def _fitted(path=None, epochs=3):
    keras.utils.set_random_seed(0)
    model, inputs = _model(), _inputs()
    aim = tf.constant(np.random.default_rng(2).normal(size=(4, 6)) * ([1.0] * 3 + [0.01] * 3), tf.float32)
    model.compile(keras.optimizers.Adam(3e-3), PoseGradientLoss("mse", 100.0))
    data = tf.data.Dataset.from_tensors((tuple(inputs), aim)).repeat()
    fit = {"steps_per_epoch": 4, "shuffle": False, "verbose": 0}
    losses = model.fit(data, epochs=1 if path else epochs, **fit).history["loss"]
    if path:
        model.save(path)
        model = keras.saving.load_model(path, safe_mode=True)
        losses += model.fit(data, initial_epoch=1, epochs=epochs, **fit).history["loss"]
    return model, inputs, losses


def test_training_goes_on_from_a_file(tmp_path):
    model, inputs, losses = _fitted()
    assert losses[-1] < 0.9 * losses[0]
    again, _, resumed = _fitted(tmp_path / "model.keras")
    assert isinstance(again, PoseSimilarity)
    np.testing.assert_allclose(resumed, losses, rtol=1e-4)
    np.testing.assert_allclose(again(inputs), model(inputs), rtol=1e-3, atol=1e-5)


def test_a_case_without_weight_teaches_nothing():
    model, inputs = _model(), _inputs()
    model.compile(keras.optimizers.SGD(1e-3), PoseGradientLoss("mse", 100.0))
    aim = tf.constant(np.random.default_rng(2).normal(size=(4, 6)), tf.float32)
    before = model.get_weights()
    assert model.train_on_batch(tuple(inputs), aim, sample_weight=np.zeros(4, np.float32)) == 0
    for weight, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert model.train_on_batch(tuple(inputs), aim) > 0


def test_regression_is_a_plain_model(tmp_path):
    model, inputs = _model(outputs=6, volume_net=False), _inputs()
    assert not isinstance(model, PoseSimilarity)
    assert model(inputs).shape == (4, 6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_an_image_network_that_does_not_fit():
    projector = ProjectiveSpatialTransformer(CAMERA, (10.0,) * 3, name="projector")
    with pytest.raises(ValueError, match=r"`image_net` must take images of the shape \(8, 8, 2\)"):
        pose_similarity(projector, _encoder(), volume_shape=VOXELS)
