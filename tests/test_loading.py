"""`tfmedcai.from_preset`: names give untrained networks, folders give those that were trained or exported."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfmedcai
from tfmedcai import presets
from tfmedcai.config import Settings
from tfmedcai.metrics.complexity import parameters
from tfmedcai.runs import Run, write_settings
from tfmedcai.serving.export import export
from tfmedcai.tasks.task import Signature

TINY = {"filters": 4, "input_shape": (16, 16, 1), "outputs": 2}
CSL = {"filters": 4, "backbone": "vgg13", "input_shape": (64, 64, 3)}
VOLUME = {"filters": 4, "input_shape": (32, 32, 32, 1), "outputs": 2}
PIXELS = {"filters": 4, "depth": 2, "input_shape": (32, 32, 3)}
PAIR = {"input_shape": (64, 64, 2)}


@pytest.fixture(scope="module")
def network():
    return tfmedcai.from_preset("snapnet_a", **TINY)


@pytest.fixture(scope="module")
def run(network, tmp_path_factory) -> Run:
    """A run folder with two networks, of which the second is all zeros."""
    run = Run(tmp_path_factory.mktemp("run"))
    write_settings(run.settings, Settings())
    zeros = tfmedcai.from_preset("snapnet_a", **TINY)
    zeros.set_weights([np.zeros_like(weight) for weight in zeros.get_weights()])
    for folder, model in ((run.best(0), network), (run.best(1), zeros)):
        folder.folder.mkdir(parents=True)
        model.save(folder.model)
    return run


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """A folder with one version of a model, whose signature has two inputs."""
    signature = Signature(
        lambda image, scale: {"values": network(image) * scale},
        {"image": tf.TensorSpec((None, 16, 16, 1), tf.float32), "scale": tf.TensorSpec((), tf.float32)},
        {"image": np.ones((1, 16, 16, 1), np.float32), "scale": np.float32(2.0)},
        {"image": "a patch", "scale": "a factor", "values": "what comes out"},
    )
    folder = tmp_path_factory.mktemp("model")
    export({"serving_default": signature}, folder, card={"task": "pose"})
    return folder


def patch() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, 16, 16, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "changes", "answers"),
    [
        ("i3posnet", {}, [(None, 12)]),
        ("csl", CSL, [(None, 32, 32, 5)]),
        ("sl", CSL, [(None, 32, 32, 2), (None, 6)]),
        ("l", CSL, [(None, 6)]),
        ("unet", PIXELS, [(None, 32, 32, 1)]),
        ("unet3d", VOLUME, [(None, 32, 32, 32, 2)]),
        ("vnet", VOLUME, [(None, 32, 32, 32, 2)]),
        ("vnas_nih_pancreas", VOLUME, [(None, 32, 32, 32, 2)]),
        ("prost_miccai", {"filters": (4,), "features": 4}, [(None, 1)]),
        ("dmw", PAIR | {"filters": 4, "blocks": 2}, [(None, 6)]),
        ("deepim", PAIR | {"filters": 1, "units": 4}, [(None, 7)]),
    ],
)
def test_a_name_gives_the_network_with_what_is_asked_otherwise(name, changes, answers):
    model = tfmedcai.from_preset(name, **changes)
    assert [answer.shape for answer in model.outputs] == answers


@pytest.mark.parametrize(("name", "weights"), [("i3posnet", 2_894_508), ("snapnet_a", 184_356), ("dmw", 2_421_958)])
def test_a_name_alone_gives_the_published_size(name, weights):
    assert parameters(tfmedcai.from_preset(name)) == weights


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_says_its_ends(name):
    assert presets.read(name)["ends"].keys() >= {"input_shape", "outputs"}


def test_a_run_gives_its_best_network_and_a_folder_in_it_that_one(run, network):
    expected = network(patch()).numpy()
    for path in (str(run.folder), run.best(0).model):
        np.testing.assert_allclose(tfmedcai.from_preset(path)(patch()), expected, rtol=1e-5)
    assert not np.any(tfmedcai.from_preset(run.best(1).folder)(patch()))


def test_an_export_answers_by_the_names_that_are_served(exported, network):
    model = tfmedcai.from_preset(exported)
    answer = model(image=patch(), scale=2.0)["values"]
    np.testing.assert_allclose(answer, 2.0 * network(patch()).numpy(), rtol=1e-5)
    assert tfmedcai.from_preset(exported / "1").folder == model.folder
    assert model.card["task"] == "pose"
    assert model.card["signatures"]["serving_default"]["inputs"]["scale"]["meaning"] == "a factor"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"image": patch()}, r"must be image float32 \[\?, 16, 16, 1\], scale float32 \[\]. Received image"),
        ({"image": patch(), "scale": 1.0, "signature": "mask"}, r"must be one of \['serving_default'\]"),
        ({"image": patch()[0], "scale": 1.0}, r"`image` must be .* Received \[16, 16, 1\]"),
        ({"image": patch(), "scale": "two"}, "`scale` must be scale float32"),
    ],
)
def test_an_export_says_what_it_expects(exported, inputs, expected):
    with pytest.raises(ValueError, match=expected):
        tfmedcai.from_preset(exported)(**inputs)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("snapnet_c", {}, "neither a folder nor one of the presets.*Did you mean `snapnet_"),
        ("csl", {"filter": 3}, "`filter` is not one of the arguments of `csl`.*Did you mean `filters`"),
        ("csl", {"filters": 0}, "setting `csl.filters`: Input should be greater than 0. Received 0"),
        ("i3posnet", {"per_pixel": True}, "choose another network"),
        ("deepim", {"outputs": 3}, "`outputs` must be 7"),
    ],
)
def test_a_wrong_name_or_argument_is_said_in_one_line(name, changes, expected):
    with pytest.raises(ValueError, match=expected) as caught:
        tfmedcai.from_preset(name, **changes)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_network_is_named(run, tmp_path):
    with pytest.raises(ValueError, match="neither a run folder nor an exported model"):
        tfmedcai.from_preset(tmp_path)
    with pytest.raises(ValueError, match="keeps its sizes: leave out filters"):
        tfmedcai.from_preset(run.folder, filters=4)
    untrained = Run(tmp_path)
    write_settings(untrained.settings, Settings())
    with pytest.raises(ValueError, match=r"no trained network\. Run `python -m tfmedcai\.train"):
        tfmedcai.from_preset(tmp_path)
    untrained.best(0).folder.mkdir(parents=True)
    untrained.best(0).model.write_text("no model")
    with pytest.raises(ValueError, match="cannot load this model"):
        tfmedcai.from_preset(tmp_path)


def test_importing_the_package_imports_neither_tensorflow_nor_anything_slow():
    program = (
        "import sys; before = set(sys.modules); import tfmedcai\n"
        "assert 'from_preset' in tfmedcai.__all__ and not hasattr(tfmedcai, 'from_presets')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "tfmedcai" in imported
    assert len(imported) < 20  # what typing and its like need
    assert not {"tensorflow", "keras", "numpy", "pydantic"} & set(imported)
