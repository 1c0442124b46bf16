"""U-Net and ResU-Net: the published sizes and costs, maps, any size of image, what a saved model may contain."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import multiply_accumulates, parameters
from tfmedcai.models.unet import resunet, unet


def part(model, *names):
    """Trainable parameters of the layers whose names begin so."""
    return sum(parameters(layer, trainable_only=True) for layer in model.layers if layer.name.startswith(names))


@pytest.mark.parametrize(
    ("network", "encoder", "decoder", "total", "mega_macs"),
    [
        (unet, 9_404_992, 9_033_408, 18_438_545, 301.55),
        (resunet, 23_508_032, 9_012_928, 32_521_105, 166.13),
    ],
)
def test_published_sizes(network, encoder, decoder, total, mega_macs):
    model = network(input_shape=(32, 32, 3), per_pixel=True)
    assert parameters(model, trainable_only=True) == total
    assert (part(model, "encoder"), part(model, "centre", "decoder"), part(model, "logits")) == (encoder, decoder, 145)
    assert multiply_accumulates(model) / 1e6 == pytest.approx(mega_macs, abs=0.005)


def test_other_channels_and_classes():
    model = unet(input_shape=(None, None, 1), outputs=3, per_pixel=True)
    assert parameters(model, trainable_only=True) == 18_437_683


def test_maps():
    model = unet(input_shape=(64, 96, 1), per_pixel=True, filters=8)
    shapes = [model.get_layer(f"encoder_{stage}_2").output.shape[1:] for stage in range(5)]
    assert shapes == [(64, 96, 8), (32, 48, 16), (16, 24, 32), (8, 12, 64), (4, 6, 64)]
    skips = [model.get_layer(f"decoder_{number}_skip").output.shape[1:] for number in range(1, 5)]
    assert skips == [(4, 6, 128), (8, 12, 96), (16, 24, 48), (32, 48, 24)]
    assert model.get_layer("decoder_5_2").output.shape[1:] == (64, 96, 2)
    model = resunet(input_shape=(64, 96, 1), per_pixel=True, filters=8)
    shapes = [model.get_layer(f"encoder_{stage}_1_add").output.shape[1:] for stage in range(2, 6)]
    assert shapes == [(16, 24, 32), (8, 12, 64), (4, 6, 128), (2, 3, 256)]
    assert model.get_layer("encoder_1_relu").output.shape[1:] == (32, 48, 8)


@pytest.mark.parametrize("network", [unet, resunet])
@pytest.mark.parametrize("size", [(13, 22), (9, 5, 6)])
def test_any_size_of_image_with_open_or_given_sizes(network, size):
    models = [
        network(input_shape=(*shape, 1), outputs=2, per_pixel=True, filters=4, depth=3)
        for shape in (size, [None] * len(size))
    ]
    models[1].set_weights(models[0].get_weights())
    image = np.random.default_rng(0).random((2, *size, 1), dtype=np.float32)
    given, found = (model.predict(image, verbose=0) for model in models)
    assert given.shape == (2, *size, 2)
    np.testing.assert_allclose(given, found, atol=1e-5)


@pytest.mark.parametrize("network", [unet, resunet])
@pytest.mark.parametrize("depth", [1, 5])
def test_depth(network, depth):
    model = network(input_shape=(32, 32, 1), per_pixel=True, filters=4, depth=depth)
    assert sum(layer.name.endswith("double") for layer in model.layers) == depth
    assert min(layer.output.shape[1] for layer in model.layers) == 2 ** (5 - depth)


@pytest.mark.parametrize(("network", "features"), [(unet, 32), (resunet, 128)])
def test_vector_is_read_from_the_encoder(network, features):
    model = network(input_shape=(48, 92, 1), outputs=12, filters=4)
    assert model.output_shape == (None, 12)
    assert model.get_layer("vector").kernel.shape == (features, 12)
    assert not any(layer.name.startswith("decoder") for layer in model.layers)
    grid = network(input_shape=(512, 256, 1), outputs=12, filters=4, head="grid")
    assert grid.get_layer("vector").kernel.shape == (2 * features, 12)


@pytest.mark.parametrize("network", [unet, resunet])
def test_model_is_made_of_plain_keras_layers_where_sizes_are_given(network):
    for shape in ((32, 32, 1), (15, 17, 1)):
        model = network(input_shape=shape, per_pixel=True, filters=4, depth=3)
        assert {layer["module"] for layer in model.get_config()["layers"]} == {"keras.layers"}


def test_strided_convolutions_take_the_even_pixels():
    keras.utils.set_random_seed(0)
    model = resunet(input_shape=(16, 16, 1), per_pixel=True, filters=4, depth=1)
    kernel = np.zeros((7, 7, 1, 4), np.float32)
    kernel[3, 3] = 1.0
    model.get_layer("encoder_1").set_weights([kernel])
    image = np.random.default_rng(0).random((1, 16, 16, 1), dtype=np.float32)
    maps = keras.Model(model.input, model.get_layer("encoder_1").output)(image)
    np.testing.assert_allclose(maps[0, :, :, 0], image[0, ::2, ::2, 0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"filters": 6}, "multiple of 4"),
        ({"outputs": 0}, "must be positive"),
        ({"depth": 6}, "`depth` must be 1 to 5 halvings. Received 6"),
        ({"depth": 0}, "`depth` must be 1 to 5"),
        ({"encoder": "vgg16"}, "`encoder` must be one of vgg13, resnet50. Received `vgg16`"),
        ({"input_shape": (None, 8, 1), "per_pixel": False}, "must be given for a vector"),
    ],
)
def test_wrong_numbers(wrong, message):
    with pytest.raises(ValueError, match=message):
        unet(**{"input_shape": (8, 8, 1), "per_pixel": True, **wrong})
