"""What TensorBoard would show, read back with its own reader."""

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util.tensor_util import make_ndarray

from tfmedcai.reports.document import Picture, Stack
from tfmedcai.tasks.events import course, write_graph, write_measures, write_pictures, write_trial

ROW = {
    "oracle": "latent", "seed": 1, "trial": 7, "epochs": 2, "values": {"depth": 3, "kind": "vgg", "none": None},
    "score": 0.5, "parameters": 10, "metrics": {"loss": 2.0}, "time": {"seconds": 1.5, "ended": "now"},
    "architecture": "keep-vgg3",
}  # fmt: skip


def read(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(folder, tag):
    return [(event.step, float(make_ndarray(event.tensor_proto))) for event in read(folder).Tensors(tag)]


def test_a_course_is_there_after_each_epoch_and_goes_on_when_resumed(tmp_path):
    told = []
    tell = course(tmp_path, told.append)
    tell({"epoch": 1, "loss": 0.5})
    assert scalars(tmp_path, "loss") == [(1, 0.5)]
    course(tmp_path)({"epoch": 2, "loss": 0.25, "other": float("nan")})
    # Files of one second are read in any order.
    assert sorted(scalars(tmp_path, "loss")) == [(1, 0.5), (2, 0.25)]
    assert read(tmp_path).Tags()["tensors"] == ["loss"], "what is no number is left out"
    assert told == [{"epoch": 1, "loss": 0.5}]


def test_a_trial_has_its_values_as_hparams_and_its_score(tmp_path):
    write_trial(tmp_path, "latent-1-7", ROW)
    assert scalars(tmp_path, "trial/score") == [(0, 0.5)]
    assert scalars(tmp_path, "trial/seconds") == [(0, 1.5)]
    found = read(tmp_path)
    text = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(text).session_start_info
    assert start.group_name == "latent-1-7"
    assert start.hparams["depth"].number_value == 3 and start.hparams["kind"].string_value == "vgg"


def test_a_failed_trial_has_no_score(tmp_path):
    write_trial(tmp_path, "latent-1-7", ROW | {"score": None, "parameters": None, "metrics": {}})
    assert "trial/score" not in read(tmp_path).Tags()["tensors"]


def test_a_network_is_a_graph_of_its_layers(tmp_path):
    image = keras.Input((8, 8, 1), name="image")
    inner = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.ReLU()], name="inner")
    maps = keras.layers.Conv2D(2, 3, padding="same", name="maps")(image)
    both = keras.layers.Concatenate(name="both")([maps, inner(maps)])
    write_graph(tmp_path, keras.Model(image, both))
    nodes = {node.name: node for node in read(tmp_path).Graph().node}
    assert {name: list(node.input) for name, node in nodes.items()} == {
        "image": [], "maps": ["image"], "inner": ["maps"], "both": ["maps", "inner"],
    }  # fmt: skip
    assert [nodes[name].op for name in ("image", "maps", "inner")] == ["InputLayer", "Conv2D", "Sequential"]
    assert nodes["maps"].attr["input_shapes"].s == b"(None, 8, 8, 1)"


def test_pictures_and_measures_of_an_evaluation(tmp_path):
    stack = Stack([np.zeros((4, 6, 3), np.uint8)] * 2, ["1", "2"], "worst: anna. Green: truth.", "alt")
    write_pictures(tmp_path, [Picture(Figure(figsize=(1, 1)), "best: 0.1 mm", "alt"), stack])
    write_measures(tmp_path, {"3 iterations": {"error_mm": {"mean": 0.25}}})
    assert set(read(tmp_path).Tags()["tensors"]) == {"cases/best", "cases/worst", "evaluation/error_mm/3 iterations"}


@pytest.mark.parametrize("act", [lambda path: course(path)({"epoch": 1}), lambda path: write_trial(path, "a", ROW)])
def test_a_place_that_cannot_be_written_stops_nothing(tmp_path, act):
    (tmp_path / "file").write_text("")
    act(tmp_path / "file" / "in it")
