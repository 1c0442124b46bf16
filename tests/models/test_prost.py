"""ProST: published sizes, the residual volume, both similarities, and the gradient of a gradient that trains them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gradients import double_backward, double_backward_deviation, double_precision
from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.prost import prost, prost_miccai, prost_volume_net

SMALL = {
    "patches": (8, 16),
    "tokens": (4, 6),
    "depths": (1, 1),
    "levels": 1,
    "exchanges": 1,
    "logits": 7,
    "heads": 2,
    "head_size": 3,
    "hidden": 5,
    "dropout": 0.0,
}
SIZES = {"journal": (prost, SMALL), "miccai": (prost_miccai, {"filters": (4, 6), "features": 5})}
SIDE = 16


def _small_similarity(form):
    network, sizes = SIZES[form]
    return network(input_shape=(SIDE, SIDE, 4), **sizes)


def _small_volume_net(form):
    return prost_volume_net(input_shape=(8, 6, 10, 1), filters=(2, 3), form=form)


def _images(dtype="float32", count=2, channels=4):
    return tf.constant(np.random.default_rng(0).normal(size=(count, SIDE, SIDE, channels)), dtype)


def _scattered(model):
    """Weights without the zeros of a fresh network, which lie on the kinks of ReLU."""
    rng = np.random.default_rng(1)
    model.set_weights([value + rng.uniform(0.05, 0.2, size=value.shape) for value in model.get_weights()])
    return model


def test_published_sizes():
    journal, miccai = prost(), prost_miccai()
    volume_nets = [prost_volume_net(form=form) for form in ("journal", "miccai")]
    counts = [parameters(model, trainable_only=True) for model in (*volume_nets, journal, miccai)]
    assert counts == [8_643, 8_571, 2_189_957, 773_152]
    assert counts[0] + counts[2] == 2_198_600
    assert counts[1] + counts[3] == 781_723
    assert journal.get_layer("moving_conv").count_params() == 28
    assert journal.get_layer("similarity").count_params() == 1_001
    assert [model.output_shape for model in volume_nets] == [(None, 128, 128, 128, 3)] * 2
    for model in (journal, miccai):
        assert model.input_shape == (None, 128, 128, 4)
        assert model.output_shape == (None, 1)
    assert miccai.get_layer("moving_features").output.shape[1:] == (16, 16, 64)


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_volume_and_what_is_learned_are_added(form):
    model = _small_volume_net(form)
    volume = np.random.default_rng(0).normal(size=(2, 8, 6, 10, 1)).astype("float32")
    learned = keras.Model(model.input, model.get_layer("conv_3_relu" if form == "miccai" else "conv_3").output)(volume)
    np.testing.assert_allclose(model(volume), volume + learned, rtol=1e-6)
    assert (np.min(learned) >= 0) == (form == "miccai")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("SampleNormalisation") == (2 if form == "journal" else 0)
    assert kinds.count("ReLU") == (2 if form == "journal" else 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_similarity_of_each_case(form, channels):
    network, sizes = SIZES[form]
    model = network(input_shape=(48, 32, channels + 1), **sizes)
    images = np.random.default_rng(0).normal(size=(3, 48, 32, channels + 1)).astype("float32")
    together = model(images).numpy()
    assert together.shape == (3, 1)
    alone = [model(images[case : case + 1]).numpy()[0] for case in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert np.ptp(together) > 1e-6


def test_a_bottleneck_adds_what_may_be_negative():
    model = _scattered(_small_similarity("miccai"))
    names = ("conv", "bottleneck_3_bn", "bottleneck_relu")
    taps = keras.Model(model.input, [model.get_layer(f"moving_1_{name}").output for name in names])
    x, added, output = (value.numpy() for value in taps(_images()))
    assert np.min(added) < 0
    np.testing.assert_allclose(output, np.maximum(x + added, 0), rtol=1e-5, atol=1e-6)


def test_equal_features_are_alike():
    model = prost_miccai(input_shape=(SIDE, SIDE, 2), filters=(4, 6), features=5)
    for layer in model.layers:
        if layer.name.startswith("target_"):
            layer.set_weights(model.get_layer(layer.name.replace("target", "moving")).get_weights())
    image = _images(channels=1)
    np.testing.assert_allclose(model(tf.concat([image, image], axis=-1)), 0.0, atol=1e-7)
    assert np.all(model(tf.concat([image, image[::-1]], axis=-1)) > 0)


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_gradient_of_the_gradient_of_a_similarity(form):
    keras.utils.set_random_seed(0)
    with double_precision():
        model = _scattered(_small_similarity(form))
    weights = model.trainable_variables
    assert double_backward_deviation(model, _images("float64"), weights, reach=1e-7) < 1e-7


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_gradient_of_the_gradient_of_a_volume(form):
    keras.utils.set_random_seed(0)
    with double_precision():
        model = _scattered(_small_volume_net(form))
    volume = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 6, 10, 1)))
    weights = model.trainable_variables
    assert double_backward_deviation(lambda x: model(x) ** 2, volume, weights, reach=1e-7) < 1e-7


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_normalisations_are_those_with_right_second_derivatives(form):
    wrong = keras.layers.BatchNormalization, keras.layers.LayerNormalization
    for model in (_small_volume_net(form), _small_similarity(form)):
        assert not [layer.name for layer in model.layers if type(layer) in wrong]


def _pose_gradient(form, compiled=False):
    """Returns the squared length of a gradient with respect to a pose, as a function of it, and the weights."""
    keras.utils.set_random_seed(0)
    volume_net, similarity = _small_volume_net(form), _small_similarity(form)
    target = _images(count=1, channels=1)
    volume = tf.random.normal((1, 8, 6, 10, 1))
    rays = tf.random.normal((6, 8 * 6 * 10, SIDE * SIDE)) / 20

    def score(pose):
        seen = tf.reshape(volume_net(volume, training=True), (1, -1, 3))
        moving = tf.einsum("bvc,bvp->bpc", seen, tf.sin(tf.tensordot(pose, rays, 1)))
        moving = tf.reshape(moving, (1, SIDE, SIDE, 3))
        return similarity(tf.concat([moving, target], axis=-1), training=True)

    weights = volume_net.trainable_variables + similarity.trainable_variables
    return double_backward(score, weights, compiled), weights, tf.random.normal((1, 6))


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_one_step_of_training(form):
    function, weights, pose = _pose_gradient(form)
    length, slopes = function(pose)
    size = tf.linalg.global_norm(slopes)
    for weight, slope in zip(weights, slopes, strict=True):
        weight.assign_sub(1e-5 * slope / size)
    assert all(np.abs(slope).max() > 0 for weight, slope in zip(weights, slopes, strict=True) if "conv" in weight.path)
    assert float(length - function(pose)[0]) == pytest.approx(1e-5 * float(size), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_compiled_step_of_training(form):
    (function, _, pose), (compiled, _, _) = _pose_gradient(form), _pose_gradient(form, compiled=True)
    (length, slopes), (expected, expected_slopes) = compiled(pose), function(pose)
    np.testing.assert_allclose(length, expected, rtol=1e-4)
    rounding = 1e-4 * float(tf.linalg.global_norm(expected_slopes))
    for found, slope in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(found, slope, rtol=1e-2, atol=rounding)


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_same_seed_same_similarity(form):
    values = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        values.append(_small_similarity(form)(_images()).numpy())
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


@pytest.mark.parametrize("form", ["journal", "miccai"])
def test_saved_and_loaded(form, tmp_path):
    model, images = _small_similarity(form), _images()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("network", "wrong", "message"),
    [
        (
            prost_volume_net,
            {"input_shape": (8, 8, 8, 2)},
            "`input_shape` must be three sizes in voxels and one channel",
        ),
        (prost_volume_net, {"filters": (4, 0)}, "`filters` and `channels` must be positive"),
        (prost_volume_net, {"form": "tmi"}, "`form` must be one of journal, miccai. Received 'tmi'"),
        (prost, {"input_shape": (128, 128)}, "`input_shape` must be rows, columns and two channels"),
        (prost, {"input_shape": (96, 96, 4)}, "multiples of its patches of 64 px"),
        (prost_miccai, {"features": 0}, "All of `filters` and `features` must be positive"),
        (prost_miccai, {"outputs": 2}, "`outputs` must be 1"),
    ],
)
def test_wrong_sizes(network, wrong, message):
    with pytest.raises(ValueError, match=message):
        network(**wrong)
