"""SNAPNet: sizes of the published rules, topology, and what a saved model may contain."""

import keras
import numpy as np
import pytest

from tests.search_spaces.snap_reference import PARAMETERS, merge_parameters, network_parameters
from tfmedcai.metrics.complexity import parameters
from tfmedcai.models.snapnet import LAYERS, snapnet
from tfmedcai.search_spaces.snap import Snap, SnapSpace
from tfmedcai.search_spaces.snap_graph import SYMBOLS

TINY = {"input_shape": (8, 12, 1), "filters": 4, "blocks": (1, 1)}


def _source(model, layer_name):
    """Name of the layer whose output a layer takes."""
    return model.get_layer(layer_name).input._keras_history.operation.name


@pytest.mark.parametrize(
    ("filters", "sizes"),
    [
        (24, {"conv1x1": 624, "conv3x3": 5232, "dw3x3": 264, "dws3x3": 840, "maxpool3x3": 0}),
        (48, {"conv1x1": 2400, "conv3x3": 20832, "dw3x3": 528, "dws3x3": 2832, "maxpool3x3": 0}),
        (56, {"conv1x1": 3248, "conv3x3": 28336, "dw3x3": 616, "dws3x3": 3752, "maxpool3x3": 0}),
        (112, {"conv1x1": 12768, "conv3x3": 113120, "dw3x3": 1232, "dws3x3": 13776, "maxpool3x3": 0}),
    ],
)
def test_sizes_of_layers(filters, sizes):
    for operation, size in sizes.items():
        x = keras.Input((6, 6, filters))
        model = keras.Model(x, LAYERS[operation](x, filters, operation))
        assert parameters(model, trainable_only=True) == size == PARAMETERS[operation](filters)


@pytest.mark.parametrize(("filters", "size"), [(24, 1248), (48, 4800), (56, 6496), (112, 25536)])
def test_size_of_merge(filters, size):
    assert merge_parameters(2, filters) == size
    shape = {"input_shape": (4, 4, 1), "filters": filters}
    one, two = (parameters(snapnet(Snap(()), blocks=(n, 0), **shape), trainable_only=True) for n in (1, 2))
    assert two - one == size


@pytest.mark.parametrize(
    "text",
    [
        "(empty)",
        "conv3x3",
        "branch conv3x3 merge",
        "merge merge",
        "switch conv1x1 merge dws3x3",
        "branch dws3x3 switch conv3x3 merge maxpool3x3",
        "branch branch dw3x3 switch conv1x1 branch",
    ],
)
def test_size_of_networks(text):
    snap = Snap.parse(text)
    for head, cells in (("average", 1), ("grid", 3 * 6)):
        model = snapnet(snap, filters=24, blocks=(2, 1), head=head)
        assert parameters(model, trainable_only=True) == network_parameters(snap, 24, (2, 1), cells=cells)


def test_size_of_random_snapnet_a_is_the_published_one():
    rng = np.random.default_rng(0)
    snaps = [Snap(tuple(SYMBOLS[i] for i in rng.integers(len(SYMBOLS), size=8))) for _ in range(4000)]
    a = np.array([network_parameters(snap, 24, (4, 4)) for snap in snaps])
    b = np.array([network_parameters(snap, 56, (4, 4)) for snap in snaps])
    assert np.median(a) == pytest.approx(173_796, rel=0.02)
    assert np.percentile(a, [5, 95]) == pytest.approx([60_612, 364_452], rel=0.05)
    assert np.median(b / a) == pytest.approx(5.26, rel=0.02)


def test_block_takes_the_outputs_of_the_two_blocks_before():
    model = snapnet(Snap.parse("conv3x3"), **{**TINY, "blocks": (3, 1)})
    assert _source(model, "block_1_2_conv3x3_bn") == "stem"
    assert _source(model, "block_3_2_conv3x3_bn") == "block_2_3_merge"
    older, newer = (tensor._keras_history.operation.name for tensor in model.get_layer("block_3_3_merge_concat").input)
    assert (older, newer) == ("block_1_3_merge", "block_3_2_conv3x3")


def test_pooling_is_applied_to_both_inputs_in_the_middle():
    model = snapnet(Snap.parse("conv3x3"), **{**TINY, "blocks": (2, 1)})
    assert _source(model, "pool_1") == "block_1_3_merge"
    assert _source(model, "pool_2") == "block_2_3_merge"
    assert _source(model, "block_3_2_conv3x3_bn") == "pool_2_conv1x1"
    assert model.get_layer("block_3_3_merge").output.shape == (None, 4, 6, 8)
    assert _source(model, "head_bn") == "block_3_3_merge"


def test_pooling_of_the_stem_is_computed_once():
    model = snapnet(Snap.parse("maxpool3x3 switch maxpool3x3"), **{**TINY, "blocks": (1, 1)})
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert sum(name.startswith("block_1") for name in names) == 1
    assert sum(name.startswith("block_2") for name in names) == 2
    only_behind = snapnet(Snap.parse("conv1x1"), **{**TINY, "blocks": (0, 1)})
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in only_behind.layers) == 1
    assert parameters(only_behind, trainable_only=True) == network_parameters(Snap.parse("conv1x1"), 4, (0, 1))


def test_grid_head_knows_where_a_feature_lies_and_average_head_does_not():
    patches = np.zeros((2, 48, 92, 1), np.float32)
    patches[0, 20:24, 20:24] = patches[1, 20:24, 60:64] = 1.0
    for head, same in (("average", True), ("grid", False)):
        model = snapnet(Snap.parse("conv1x1"), filters=4, blocks=(1, 1), head=head)
        one, other = model(patches).numpy()
        assert np.allclose(one, other, atol=1e-6) == same


def test_equal_keys_build_equal_networks():
    one = snapnet(Snap.parse("branch conv3x3 switch dw3x3"), **TINY)
    other = snapnet(Snap.parse("switch switch branch dw3x3 switch conv3x3"), **TINY)
    assert one.to_json() == other.to_json()


def test_model_is_made_of_plain_keras_layers():
    model = snapnet(Snap.parse("branch conv1x1 switch conv3x3 branch dw3x3 merge dws3x3 merge maxpool3x3"), **TINY)
    assert {layer["module"] for layer in model.get_config()["layers"]} == {"keras.layers"}
    assert all(layer["registered_name"] is None for layer in model.get_config()["layers"])


def test_every_random_snap_predicts_finite_landmarks():
    rng = np.random.default_rng(0)
    patches = rng.random((2, 8, 12, 1), dtype=np.float32)
    for _ in range(4):
        model = snapnet(SnapSpace().sample(rng), outputs=5, **TINY)
        landmarks = model(patches).numpy()
        assert landmarks.shape == (2, 5)
        assert np.isfinite(landmarks).all()
        assert not np.allclose(landmarks[0], landmarks[1])


def test_logits_of_pixels_for_any_size():
    snap = Snap.parse("branch conv3x3 merge")
    given, anything = (
        snapnet(snap, **{**TINY, "input_shape": shape}, outputs=3, per_pixel=True)
        for shape in ((9, 12, 1), (None, None, 1))
    )
    anything.set_weights(given.get_weights())
    image = np.random.default_rng(0).random((2, 9, 12, 1), dtype=np.float32)
    assert given.output_shape == (None, 9, 12, 3)
    np.testing.assert_allclose(given(image), anything(image), atol=1e-5)
    assert given.get_layer("logits").output.shape == (None, 5, 6, 3)
    assert {layer["module"] for layer in given.get_config()["layers"]} == {"keras.layers"}
    with pytest.raises(ValueError, match="must be given for a vector"):
        snapnet(snap, input_shape=(None, 12, 1))


@pytest.mark.parametrize("wrong", [{"blocks": (0, 0)}, {"filters": 0}, {"outputs": -1}, {"blocks": (-1, 2)}])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        snapnet(Snap(()), **{**TINY, **wrong})
