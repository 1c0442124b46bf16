"""Named architectures: each parses in its space and fits the settings it sizes."""

import pytest

from tfmedcai import presets
from tfmedcai.config import Settings
from tfmedcai.metrics.complexity import parameters
from tfmedcai.search_spaces.volumetric import KERNELS, VolumetricCode
from tfmedcai.tasks.task import build_network, make_space

I3POSNET = 2_894_508
SHAPES = {"volumetric": (32, 32, 32, 1)}


MANUAL = {f"vnas_{encoder}_{decoder}".lower(): (encoder, decoder) for encoder in KERNELS for decoder in KERNELS}


FOUND = [name for name in presets.names() if "space" in presets.read(name) and name not in MANUAL]


@pytest.mark.parametrize("name", FOUND)
def test_a_preset_builds_its_network(name):
    preset = presets.read(name)
    settings = Settings().updated({"space": preset["space"]} | preset["sizes"])
    architecture = make_space(settings).parse(preset["architecture"])
    shape = SHAPES.get(preset["space"], (48, 92, 1))
    network = build_network(settings, architecture, search=False, input_shape=shape, outputs=12)
    if preset["space"] != "volumetric":  # those are counted in test_volumetric_net
        # AutoSNAP, section 3.4: a sixteenth of i3PosNet's weights, about; DARTS* as well; a quarter.
        share = parameters(network) / I3POSNET
        assert share == pytest.approx({"snapnet_b": 1 / 4}.get(name, 1 / 16), rel=0.35)


@pytest.mark.parametrize("name", MANUAL)
def test_manual_settings_of_the_volumetric_network(name):
    preset = presets.read(name)
    assert VolumetricCode.parse(preset["architecture"]) == VolumetricCode.uniform(*MANUAL[name])
    assert preset | {"architecture": ""} == presets.read("vnas_nih_pancreas") | {"architecture": ""}


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"`snapnet_c` is not one of the presets: .* Did you mean"):
        presets.read("snapnet_c")
