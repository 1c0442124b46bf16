"""Named architectures: each parses in its space and fits the settings it sizes."""

import pytest

from tfmedcai import presets
from tfmedcai.config import Settings
from tfmedcai.metrics.complexity import parameters
from tfmedcai.tasks.task import build_network, make_space

I3POSNET = 2_894_508
SHAPES = {"volumetric": (32, 32, 32, 1)}


@pytest.mark.parametrize("name", presets.names())
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


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"`snapnet_c` is not one of the presets: .* Did you mean"):
        presets.read("snapnet_c")
