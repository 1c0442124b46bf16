"""The network of a code: sizes of the published codes, shapes of any patch, and that it is what its code says."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai import presets
from tfmedcai.layers.recomputed import Recomputed
from tfmedcai.metrics.complexity import multiply_accumulates, parameters
from tfmedcai.models.volumetric_net import volumetric_net
from tfmedcai.search_spaces.volumetric import KERNELS, VolumetricCode, VolumetricSpace

TINY = {"input_shape": (32, 32, 32, 1), "filters": 4}
# Trainable weights and multiply-accumulates of a 64^3 patch with two classes, counted apart from this package.
SIZES = {
    "vnas_nih_pancreas": (30_424_715, 10.79),
    "vnas_msd_lung": (30_974_571, 10.99),
    "vnas_msd_pancreas": (42_771_051, 10.78),
    "2D": (27_816_651, 6.53),
    "3D": (50_991_147, 13.09),
    "P3D": (37_840_427, 7.15),
}
CODES = {name: VolumetricCode.parse(presets.read(name)["architecture"]) for name in SIZES if "vnas" in name}
CODES |= {kernel: VolumetricCode.uniform(kernel, kernel) for kernel in KERNELS}
PLANE, LINE, CUBE, POINT = (1, 3, 3), (3, 1, 1), (3, 3, 3), (1, 1, 1)
CONVOLUTIONS = {
    "encoder": {"2D": (PLANE, POINT), "3D": (CUBE, POINT), "P3D": (PLANE, LINE)},
    "decoder": {"2D": (PLANE, PLANE), "3D": (CUBE, CUBE), "P3D": (PLANE, LINE)},
}
SLOW = ("vnas_msd_lung", "vnas_msd_pancreas", "2D", "P3D")


@pytest.fixture
def zero_weights(monkeypatch):
    """Weights that take no time to draw."""
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", lambda _, shape, dtype=None: tf.zeros(shape))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SIZES])
def test_full_size(name, zero_weights):
    model = volumetric_net(CODES[name])
    size, gigas = SIZES[name]
    assert parameters(model, trainable_only=True) == size
    assert multiply_accumulates(model) / 1e9 == pytest.approx(gigas, abs=0.005)
    assert model.output_shape == (None, 64, 64, 64, 2)


@pytest.mark.parametrize(("encoder", "decoder"), [("2D", "3D"), ("3D", "P3D"), ("P3D", "2D")])
def test_manual_settings_use_one_kernel_in_each_half(encoder, decoder):
    model = volumetric_net(VolumetricCode.uniform(encoder, decoder), **TINY)
    for half, kernel in (("encoder", encoder), ("decoder", decoder)):
        for which, size in zip("xy", CONVOLUTIONS[half][kernel], strict=True):
            names = [layer.name for layer in model.layers if re.fullmatch(rf"{half}_\d_.*{which}", layer.name)]
            assert names
            assert {model.get_layer(name).kernel_size for name in names} == {size}


def test_each_place_of_a_code_sets_its_own_cell():
    space, rng = VolumetricSpace(), np.random.default_rng(0)
    code = space.sample(rng)
    model = volumetric_net(code, **TINY)
    cells = [f"{stage}_{cell}" for stage, count in enumerate((3, 4, 6, 3), 1) for cell in range(1, count + 1)]
    names = [*(f"encoder_{cell}" for cell in cells), *(f"decoder_{block}_3" for block in range(1, 6))]
    for name, kernel in zip(names, (*code.encoder, *code.decoder), strict=True):
        found = tuple(model.get_layer(f"{name}_{which}").kernel_size for which in "xy")
        assert found == CONVOLUTIONS[name.split("_")[0]][kernel]


@pytest.mark.parametrize(("input_shape", "outputs"), [((96, 96, 64, 1), 2), ((40, 33, 7, 2), 3), ((1, 1, 1, 1), 1)])
def test_patches_of_any_size(input_shape, outputs):
    model = volumetric_net(CODES["vnas_msd_lung"], input_shape=input_shape, outputs=outputs, filters=4)
    assert model.output_shape == (None, *input_shape[:3], outputs)
    answer = model(np.ones((1, *input_shape), np.float32))
    assert answer.shape == (1, *input_shape[:3], outputs)
    assert np.isfinite(answer).all()


def test_the_third_axis_runs_across_the_slices():
    """With 2D kernels what changes at one end reaches far within the slices, not across them."""
    for axis, reaches in ((3, False), (2, True)):
        sizes = tuple(160 if number == axis else 32 for number in (1, 2, 3))
        model = volumetric_net(CODES["2D"], input_shape=(*sizes, 1), filters=4)
        images = np.random.default_rng(0).normal(size=(1, *sizes, 1)).astype("float32").repeat(2, axis=0)
        images[1][(slice(None),) * (axis - 1) + (0,)] += 1000
        one, other = model(images).numpy()
        difference = np.moveaxis(np.abs(one - other), axis - 1, 0).reshape(160, -1).max(axis=1)
        assert (difference[120:].max() > 1e-3 * difference.max()) == reaches


def test_vector():
    model = volumetric_net(CODES["2D"], per_pixel=False, outputs=5, **TINY)
    assert model.output_shape == (None, 5)


def _by_name(variables):
    return {"/".join(variable.path.split("/")[-2:]): variable for variable in variables}


def test_recomputed_cells_change_nothing_but_memory():
    image = tf.constant(np.random.default_rng(0).normal(size=(2, 32, 32, 32, 1)), tf.float32)
    models = [volumetric_net(CODES["vnas_msd_pancreas"], recompute=recompute, **TINY) for recompute in (False, True)]
    assert sum(isinstance(layer, Recomputed) for layer in models[1].layers) == 21
    plain, recomputed = (_by_name(model.weights) for model in models)
    for name, variable in plain.items():
        recomputed[name].assign(variable)
    answers = [model(image, training=True) for model in models]
    np.testing.assert_array_equal(*answers)
    for name, variable in plain.items():
        np.testing.assert_array_equal(recomputed[name], variable, err_msg=name)


def test_saves_and_loads(tmp_path):
    model = volumetric_net(CODES["vnas_nih_pancreas"], recompute=True, **TINY)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 32, 1)).astype("float32")
    np.testing.assert_array_equal(loaded(image), model(image))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"input_shape": (32, 32, 1)}, r"`input_shape` must be \(height, width, depth, channels\)"),
        ({"input_shape": (32, 0, 32, 1)}, "all positive"),
        ({"filters": 3}, "`filters` must be at least 4"),
        ({"outputs": 0}, "`outputs` must be positive. Received 0"),
    ],
)
def test_wrong_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        volumetric_net(CODES["2D"], **{**TINY, **sizes})
