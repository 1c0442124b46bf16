"""CSL, SL and L: published sizes and weights, what each variant gives, open and odd sizes, saved without tfmedcai."""

import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from tfmedcai.inference.frames import DEVIATION
from tfmedcai.models.csl import csl, csl_net, csl_without_skips, l_net, sl
from tfmedcai.models.resnet import read_published_weights, resnet50_stages
from tfmedcai.search_spaces.csl_decoder import CslDecoder

# A convolution of `keras.applications.ResNet50` has a bias, which the count of 23 508 032 leaves out.
BIASES, EXTRA_BIASES = 26_560, 5_120
RETINAL = {"outputs": 5, "per_pixel": True, "landmarks": 3, "stride": 2}
SMALL = {"input_shape": (64, 96, 3), "filters": 4}


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("network", "count", "shape"),
    [
        (csl, 64_267_259 + BIASES, (None, 240, 240, 5)),
        (csl_without_skips, 63_575_035 + BIASES, (None, 240, 240, 5)),
        (sl, 72_246_536 + BIASES + EXTRA_BIASES, [(None, 240, 240, 2), (None, 6)]),
        (l_net, 32_181_318 + BIASES + EXTRA_BIASES, (None, 6)),
    ],
    ids=["csl", "csl_without_skips", "sl", "l_net"],
)
def test_published_sizes(network, count, shape):
    model = network(**RETINAL)
    assert model.output_shape == shape
    assert trainable(model) == count
    assert model.get_layer("conv5_block3_out").output.shape == (None, 15, 15, 2048)
    taps = ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out")
    assert [model.get_layer(name).output.shape[1:] for name in taps] == [
        (240, 240, 64),
        (120, 120, 256),
        (60, 60, 512),
        (30, 30, 1024),
    ]
    if network in (sl, l_net):
        assert model.get_layer("vector_block_out").output.shape == (None, 8, 8, 2048)


def test_published_weights_are_read(tmp_path):
    published = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    assert published.count_params() == 23_587_712
    rng = np.random.default_rng(0)
    for layer in published.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, size=weight.shape) for weight in layer.get_weights()])
    with h5py.File(tmp_path / "notop.h5", "w") as file:
        save_weights_to_hdf5_group(file, published)
    image = keras.Input((64, 64, 3))
    ours = keras.Model(image, resnet50_stages(image)[-1])
    read_published_weights(ours, tmp_path / "notop.h5")
    frame = rng.normal(size=(1, 64, 64, 3)).astype(np.float32)  # red, green, blue as `normalised` makes them
    np.testing.assert_allclose(ours(frame), published(frame[..., ::-1] * DEVIATION), rtol=2e-3, atol=2e-3)


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read these weights"):
        csl(weights=tmp_path / "nowhere.h5", input_shape=(32, 32, 3), outputs=2)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = ["block1_conv1"]
    with pytest.raises(ValueError, match=r"must hold the layers of `keras\.applications\.ResNet50`"):
        csl(weights=tmp_path / "other.h5", input_shape=(32, 32, 3), outputs=2)
    with pytest.raises(ValueError, match="are those of resnet50 with 64 filters"):
        csl(weights=tmp_path / "other.h5", filters=8)


def test_the_heatmaps_see_the_logits_where_they_are_concatenated():
    seen = csl(**RETINAL, **SMALL).get_layer("heatmaps")
    apart = csl_net(CslDecoder(concatenated=False), **RETINAL, **SMALL).get_layer("heatmaps")
    assert (seen.kernel.shape[2], apart.kernel.shape[2]) == (4 + 2, 4)


def test_sl_has_no_skips():
    model = sl(**SMALL, **RETINAL)
    assert model.output_shape == [(None, 32, 48, 2), (None, 6)]
    assert not [layer for layer in model.layers if layer.name.startswith("skip")]


@pytest.mark.parametrize("backbone", ["resnet50", "vgg13"])
def test_any_network_without_landmarks_gives_logits_of_every_pixel(backbone):
    model = csl(input_shape=(50, 70, 1), outputs=3, per_pixel=True, filters=4, backbone=backbone)
    assert model.output_shape == (None, 50, 70, 3)


def test_odd_and_open_sizes_give_the_same():
    fixed = csl(input_shape=(50, 71, 3), filters=4, **RETINAL)
    free = csl(input_shape=(None, None, 3), filters=4, **RETINAL)
    for layer in free.layers:  # the order of layers is another
        layer.set_weights(fixed.get_layer(layer.name).get_weights() if layer.weights else [])
    image = np.random.default_rng(0).normal(size=(1, 50, 71, 3))
    assert fixed.output_shape == (None, 25, 36, 5)
    np.testing.assert_allclose(free(image), fixed(image), atol=1e-5)


def test_widths_and_kernels_of_a_found_decoder():
    decoder = CslDecoder.parse("50%k3 100%k5 200%k7+skip 100%k3 apart")
    model = csl_net(decoder, **SMALL, **RETINAL)
    assert [model.get_layer(f"up_{number}_1_00").filters for number in (1, 2, 3, 4)] == [16, 16, 16, 4]
    assert [layer.name for layer in model.layers if layer.name.endswith("_add") and "skip" in layer.name] == [
        "skip_3_add"
    ]


def test_a_saved_network_needs_no_tfmedcai(tmp_path):
    csl(**SMALL, **RETINAL).save(tmp_path / "model.keras")
    program = "import keras, sys; print(keras.saving.load_model(sys.argv[1]).output_shape, 'tfmedcai' in sys.modules)"
    command = [sys.executable, "-c", program, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "(None, 32, 48, 5) False" in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_shape": (8, 64, 64, 1)}, "no volume"),
        ({"landmarks": 9, "per_pixel": True}, "`landmarks` 0 to as many"),
        ({"form": "points", "per_pixel": True}, "`landmarks` 1 to as many"),
        ({"form": "points", "per_pixel": True, "landmarks": 3, "input_shape": (None, None, 3)}, "must be given for a"),
        ({"stride": 4, "per_pixel": True}, "`stride` must be 1 or 2"),
        ({"backbone": "resnet5"}, "`backbone` must be one of"),
        ({"input_shape": (None, None, 3)}, "must be given for a vector"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        csl(**options)
