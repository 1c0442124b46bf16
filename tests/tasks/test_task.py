"""What all tasks share: the network that belongs to an architecture or to a name, at its size."""

import subprocess
import sys

import pytest

from tfmedcai.config import Settings
from tfmedcai.search_spaces.mixed_block_nodes import MixedBlock
from tfmedcai.search_spaces.snap import Snap
from tfmedcai.tasks.task import build_network, make_space

SMALL = Settings().smoke()


def built(candidate, *, search=False, **more):
    settings = SMALL.updated({"mixed_block_net": {"search_filters": 8}})
    return build_network(settings, candidate, search=search, input_shape=(16, 16, 1), outputs=3, **more)


def test_networks_of_architectures():
    for architecture, name in ((Snap.parse("conv3x3"), "snapnet"), (MixedBlock.unet(4), "mixed_block_net")):
        for per_pixel, shape in ((False, (None, 3)), (True, (None, 16, 16, 3))):
            model = built(architecture, per_pixel=per_pixel)
            assert (model.name, model.output_shape) == (name, shape)


def test_size_while_searching():
    maps = [built(MixedBlock.unet(4), search=search).get_layer("stem").filters for search in (True, False)]
    assert maps == [8, 4]


@pytest.mark.parametrize("name", ["unet", "resunet"])
def test_baselines_for_pixels_have_the_size_of_their_table(name):
    model = built(name, per_pixel=True)
    assert (model.name, model.output_shape) == (name, (None, 16, 16, 3))
    assert model.get_layer("decoder_2_1").filters == 1
    assert built(name).output_shape == (None, 3)


def test_i3posnet_is_for_vectors():
    assert built("i3posnet").output_shape == (None, 3)
    with pytest.raises(ValueError, match="`per_pixel` must be False"):
        built("i3posnet", per_pixel=True)


def test_space_is_made_with_its_table():
    settings = Settings().updated({"space": "mixed_block", "mixed_block": {"nodes": 3, "variant": "macro"}})
    assert list(make_space(settings).choices) == ["scaling_1", "scaling_2", "scaling_3", "skip_3"]


@pytest.mark.slow
def test_whoever_has_a_task_can_load_a_network_for_any_size(tmp_path):
    shape = {"input_shape": (None, None, 1), "outputs": 2, "per_pixel": True}
    build_network(SMALL, "unet", search=False, **shape).save(tmp_path / "model.keras")
    program = "import keras, sys, tfmedcai.tasks.task; print(keras.saving.load_model(sys.argv[1]).output_shape)"
    command = [sys.executable, "-c", program, str(tmp_path / "model.keras")]
    assert "(None, None, None, 2)" in subprocess.run(command, capture_output=True, check=True, text=True).stdout
