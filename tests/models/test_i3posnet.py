"""i3PosNet: the published sizes and maps."""

import keras
import pytest

from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.i3posnet import i3posnet


def test_published_size():
    model = i3posnet()
    assert parameters(model) == 2_894_508
    assert parameters(model, trainable_only=True) == 2_892_716
    assert parameters(i3posnet(dense=(512, 256, 128))) == 5_379_692
    assert model.input_shape == (None, 48, 92, 1)
    assert model.output_shape == (None, 12)


def test_published_maps():
    model = i3posnet()
    assert model.get_layer("block_1_conv_2").output.shape[1:] == (48, 92, 32)
    assert model.get_layer("block_2_conv_2").output.shape[1:] == (24, 46, 64)
    assert model.get_layer("block_3_conv_2").output.shape[1:] == (12, 23, 128)
    assert model.get_layer("block_3_halve").output.shape[1:] == (6, 12, 128)
    assert model.get_layer("flatten").output.shape[1:] == (9216,)


def test_normalisation_follows_the_activation():
    model = i3posnet(input_shape=(8, 8, 1), filters=2, blocks=1, dense=(4,), outputs=3)
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Conv2D", "BatchNormalization", "Conv2D", "BatchNormalization", "Conv2D"]
    assert kinds == ["InputLayer", "Conv2D", *block, "Flatten", "Dense", "BatchNormalization", "Dense"]
    assert all(
        layer.activation is keras.activations.relu for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    )
    assert {layer["module"] for layer in model.get_config()["layers"]} == {"keras.layers"}


@pytest.mark.parametrize("wrong", [{"filters": 0}, {"dense": (4, 0)}, {"blocks": 0}, {"outputs": 0}])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        i3posnet(**wrong)


def test_pixels_are_refused():
    with pytest.raises(ValueError, match=r"`per_pixel` must be False: .* Received True: choose another network"):
        i3posnet(per_pixel=True)
