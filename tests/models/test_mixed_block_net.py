"""Mixed-block networks: sizes, topology, any size of image, what a saved model may contain."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import multiply_accumulates, parameters
from tfmedcai.models.mixed_block_net import mixed_block_net
from tfmedcai.search_spaces.mixed_block import MixedBlockSpace
from tfmedcai.search_spaces.mixed_block_nodes import MixedBlock

TINY = {"input_shape": (16, 16, 1), "filters": 4}


def sources(model, name):
    """Names of the layers whose outputs a layer takes."""
    inputs = model.get_layer(name).input
    return [tensor._keras_history.operation.name for tensor in (inputs if isinstance(inputs, list) else [inputs])]


@pytest.mark.parametrize(("filters", "millions", "mega_macs"), [(16, 1.87, 69), (32, 7.49, 274), (64, 29.9, 1095)])
def test_sizes_of_unet(filters, millions, mega_macs):
    model = mixed_block_net(MixedBlock.unet(), input_shape=(32, 32, 1), per_pixel=True, filters=filters)
    assert parameters(model, trainable_only=True) / 1e6 == pytest.approx(millions, abs=0.05 if millions > 9 else 0.005)
    assert round(multiply_accumulates(model) / 1e6) == mega_macs


def test_topology():
    model = mixed_block_net(MixedBlock.unet(), input_shape=(32, 48, 1), outputs=3, per_pixel=True, filters=4)
    assert sources(model, "node_7_skip") == ["node_6_vgg_2_relu", "node_4_vgg_2_relu"]
    assert sources(model, "node_10_skip") == ["node_9_vgg_2_relu", "node_1_vgg_2_relu"]
    assert sources(model, "node_7_up") == ["node_7_skip"]
    assert sources(model, "node_2_down") == ["node_1_vgg_2_relu"]
    shapes = [model.get_layer(f"node_{number}_vgg_2").output.shape[1:] for number in (1, 3, 5, 8, 10)]
    assert shapes == [(32, 48, 4), (8, 12, 16), (2, 3, 64), (16, 24, 8), (32, 48, 4)]
    assert model.output_shape == (None, 32, 48, 3)


def test_blocks_and_kernels_are_those_of_the_nodes():
    model = mixed_block_net(MixedBlock.parse("keep-vgg3 down-residual5 keep-dense7 up-inception1"), **TINY)
    assert model.get_layer("node_1_vgg_1").kernel_size == (3, 3)
    assert model.get_layer("node_2_residual_2").kernel_size == (5, 5)
    assert model.get_layer("node_3_dense_4").kernel_size == (7, 7)
    assert model.get_layer("node_4_inception_3_2").kernel_size == (1, 1)
    assert model.output_shape == (None, 1)


def test_every_random_architecture_gives_finite_values():
    rng = np.random.default_rng(0)
    images = rng.random((2, 16, 16, 1), dtype=np.float32)
    for _ in range(3):
        architecture = MixedBlockSpace(nodes=5, deepest=2).sample(rng)
        for per_pixel, shape in ((True, (2, 16, 16, 2)), (False, (2, 2))):
            values = mixed_block_net(architecture, outputs=2, per_pixel=per_pixel, **TINY)(images).numpy()
            assert values.shape == shape
            assert np.isfinite(values).all()
            assert not np.allclose(values[0], values[1])


@pytest.mark.parametrize("size", [(13, 22), (7, 9, 6)])
def test_any_size_of_image_with_open_or_given_sizes(size):
    architecture = MixedBlock.parse("keep-vgg3 down-dense3 down-vgg3 up-residual3 keep-vgg3+2")
    models = [
        mixed_block_net(architecture, input_shape=(*shape, 1), outputs=2, per_pixel=True, filters=4)
        for shape in (size, [None] * len(size))
    ]
    models[1].set_weights(models[0].get_weights())
    image = np.random.default_rng(0).random((2, *size, 1), dtype=np.float32)
    given, found = (model.predict(image, verbose=0) for model in models)
    assert given.shape == (2, *size, 2)
    np.testing.assert_allclose(given, found, atol=1e-5)


def test_pixels_know_where_they_are():
    keras.utils.set_random_seed(0)
    model = mixed_block_net(MixedBlock.parse("keep-vgg3 down-vgg3"), per_pixel=True, **TINY)
    image = np.zeros((1, 16, 16, 1), np.float32)
    changed = image.copy()
    changed[0, 3, 12] = 1.0
    difference = np.abs(model(changed).numpy() - model(image).numpy())[0, :, :, 0]
    row, column = np.unravel_index(np.argmax(difference), difference.shape)
    assert abs(row - 3) <= 3
    assert abs(column - 12) <= 3


def test_model_is_made_of_plain_keras_layers_where_sizes_are_given():
    architecture = MixedBlock.parse("keep-vgg3 down-residual3 keep-dense3 up-inception3 keep-vgg3+1")
    for shape in ((16, 16, 1), (15, 16, 1), (8, 8, 6, 1)):
        model = mixed_block_net(architecture, input_shape=shape, per_pixel=True, filters=4)
        assert {layer["module"] for layer in model.get_config()["layers"]} == {"keras.layers"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"filters": 6}, "multiple of 4"),
        ({"filters": 0}, "must be positive"),
        ({"outputs": 0}, "must be positive"),
        ({"input_shape": (None, 8, 1)}, "must be given for a vector"),
    ],
)
def test_wrong_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        mixed_block_net(MixedBlock.unet(4), **{**TINY, **wrong})
