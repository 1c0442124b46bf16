"""The discrete network of DARTS: published sizes, alignment of strided operations, what a saved model may contain."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import multiply_accumulates, parameters
from tfmedcai.models import darts_operations as operations
from tfmedcai.models.darts_net import darts_net
from tfmedcai.presets import read
from tfmedcai.search_spaces.darts_cell import DartsCellSpace
from tfmedcai.search_spaces.genotype import Genotype

V1, V2 = (Genotype.parse(read(name)["architecture"]) for name in ("darts_v1", "darts_v2"))
CIFAR = {"input_shape": (32, 32, 3), "outputs": 10, "filters": 36, "cells": 20}
IMAGENET = {"input_shape": (224, 224, 3), "outputs": 1000, "filters": 48, "cells": 14, "stem": "imagenet"}
TINY = {"input_shape": (8, 12, 1), "filters": 4, "cells": 3}


@pytest.mark.parametrize(
    ("genotype", "sizes", "weights", "millions"),
    [
        pytest.param(V2, CIFAR, 3_349_342, 528.36, id="v2-cifar"),
        pytest.param(V1, CIFAR, 3_169_414, 500.99, id="v1-cifar", marks=pytest.mark.slow),
        pytest.param(V2, IMAGENET, 4_718_752, 529.91, id="v2-imagenet", marks=pytest.mark.slow),
        pytest.param(V1, IMAGENET, 4_510_432, 505.86, id="v1-imagenet", marks=pytest.mark.slow),
        pytest.param(V2, {"input_shape": (48, 92, 3)}, 192_414, 146.74, id="v2-landmarks", marks=pytest.mark.slow),
    ],
)
def test_published_sizes(genotype, sizes, weights, millions):
    network = darts_net(genotype, **sizes)
    assert parameters(network, trainable_only=True) == weights
    assert multiply_accumulates(network) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(("name", "size"), [("sep3", 864), ("sep5", 1376), ("dil3", 432), ("dil5", 688)])
@pytest.mark.parametrize("stride", [1, 2])
def test_sizes_of_operations(name, size, stride):
    x = keras.Input((6, 6, 16))
    build = operations.separable if name.startswith("sep") else operations.dilated
    y = build(x, 16, int(name[-1]), stride, name)
    assert y.shape[1:3] == (6 // stride, 6 // stride)
    assert parameters(keras.Model(x, y), trainable_only=True) == size


def _response(build, size):
    """Which input pixels each output pixel depends on, `(outputs, inputs)`, along one axis."""
    x = keras.Input((size, size, 2))
    model = keras.Model(x, build(x))
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    rows = []
    for place in range(size):
        image = np.full((1, size, size, 2), -1.0, np.float32)
        image[0, place] = 1.0
        rows.append(np.abs(model(image).numpy() - model(np.full_like(image, -1.0)).numpy())[0].max(axis=(1, 2)) > 1e-6)
    return np.array(rows).T


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    ("build", "reach"),
    [
        (lambda x: operations.max_pool(x, 2, "op"), [-1, 0, 1]),
        (lambda x: operations.average_pool(x, 2, "op"), [-1, 0, 1]),
        (lambda x: operations.depthwise(x, 3, 2, "op", "ones"), [-1, 0, 1]),
        (lambda x: operations.depthwise(x, 5, 2, "op", "ones"), [-2, -1, 0, 1, 2]),
        (lambda x: operations.dilated_depthwise(x, 3, 2, "op", "ones"), [-2, 0, 2]),
        (lambda x: operations.factorised_reduction(x, 2, lambda y, name: y, "op"), [0, 1]),
    ],
    ids=["max", "average", "depthwise3", "depthwise5", "dilated3", "skip"],
)
def test_strided_operations_are_centred_on_even_pixels(build, reach, size):
    expected = np.zeros(((size + 1) // 2, size), bool)
    for output in range(len(expected)):
        for offset in reach:
            if 0 <= 2 * output + offset < size:
                expected[output, 2 * output + offset] = True
    np.testing.assert_array_equal(_response(build, size), expected)


def test_equal_keys_build_equal_networks_and_others_other_ones():
    one = Genotype.parse("sep3(0)+skip(1) max3(0)+sep3(2) skip(1)+skip(2) dil5(3)+avg3(0) / " + "skip(0)+skip(1) " * 4)
    same = Genotype.parse("skip(1)+sep3(0) skip(2)+skip(1) sep3(2)+max3(0) avg3(0)+dil5(4) / " + "skip(0)+skip(1) " * 4)
    assert one != same
    assert darts_net(one, **TINY).to_json() == darts_net(same, **TINY).to_json()
    assert darts_net(one, **TINY).to_json() != darts_net(V1, **TINY).to_json()


def test_model_is_made_of_plain_keras_layers():
    config = darts_net(V2, drop_path=0.2, **TINY).get_config()
    assert {layer["module"] for layer in config["layers"]} == {"keras.layers"}


def test_drop_path_leaves_out_whole_operations_but_no_identity():
    network = darts_net(V2, drop_path=0.4, **TINY)
    drops = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    # Of the eight operations of the normal cell two are identities.
    assert sum(layer.name.startswith("cell0") for layer in drops) == 6
    patches = np.random.default_rng(0).random((4, 8, 12, 1), dtype=np.float32)
    np.testing.assert_array_equal(network(patches), network(patches))
    dropped = drops[0](np.ones((64, 2, 2, 3), np.float32), training=True).numpy()
    assert {round(float(value), 3) for value in np.unique(dropped)} == {0.0, 1.667}
    assert (dropped.min(axis=(1, 2, 3)) == dropped.max(axis=(1, 2, 3))).all()


@pytest.mark.parametrize(("shape", "cells"), [((8, 12, 1), 3), ((9, 13, 2), 1), ((11, 8, 1), 2)])
def test_every_pixel_gets_an_answer(shape, cells):
    rng = np.random.default_rng(0)
    network = darts_net(
        DartsCellSpace().sample(rng), input_shape=shape, outputs=3, per_pixel=True, filters=4, cells=cells
    )
    answer = network(rng.random((2, *shape), dtype=np.float32)).numpy()
    assert answer.shape == (2, *shape[:2], 3)
    assert np.isfinite(answer).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cells": 0}, "must be at least 1"),
        ({"filters": 5}, "even"),
        ({"outputs": 0}, "must be positive"),
        ({"drop_path": 1.0}, "probability below 1"),
    ],
)
def test_wrong_numbers(wrong, says):
    with pytest.raises(ValueError, match=says):
        darts_net(V1, **{**TINY, **wrong})
