"""A version folder appears whole or not at all, holds its weights once, and answers as the functions do."""

import errno
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfmedcai.serving import export as export_module
from tfmedcai.serving.export import MODEL_CARD, export
from tfmedcai.tasks.task import Signature

INPUT = {"x": tf.TensorSpec((None,), tf.float32)}
EXAMPLE = {"x": np.array([1.0, 2.0], np.float32)}


def signature(function, example=EXAMPLE):
    return {"serving_default": Signature(function, INPUT, example, dict.fromkeys("xy", "(batch,), mm"))}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def meta_graph(version: Path):
    return SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs[0]


def test_signatures_have_the_given_names_and_types(model_folder):
    signatures = meta_graph(model_folder / "1").signature_def
    assert {"serving_default", "twice"} <= set(signatures)
    image = signatures["serving_default"].inputs["image"]
    assert image.dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in image.tensor_shape.dim] == [-1, -1, -1, 1]
    assert list(signatures["twice"].outputs) == ["twice"]


def test_weights_are_stored_once(tmp_path):
    network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256), keras.layers.Dense(64)])
    spec = {"x": tf.TensorSpec((None, 64), tf.float32)}
    example = {"x": np.ones((1, 64), np.float32)}
    one = Signature(lambda x: {"y": network(x)}, spec, example, dict.fromkeys("xy", "(batch, 64)"))
    version = export({"serving_default": one, "other": one}, tmp_path / "m")
    stored = sum(path.stat().st_size for path in (version / "variables").iterdir())
    weights = sum(weight.numpy().nbytes for weight in network.weights)
    assert weights <= stored < 1.05 * weights


def test_warm_up_file_holds_the_examples(model_folder, signatures):
    path = model_folder / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records = [PredictionLog.FromString(raw) for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    requests = [record.predict_log.request for record in records]
    assert [request.model_spec.signature_name for request in requests] == list(signatures)
    assert np.array_equal(tf.make_ndarray(requests[0].inputs["image"]), signatures["serving_default"].example["image"])


def test_model_card_says_what_goes_in_and_comes_out(model_folder):
    card = json.loads((model_folder / "1" / MODEL_CARD).read_text())
    assert card["task"] == "test"
    assert card["signatures"]["serving_default"] == {
        "inputs": {
            "image": {
                "dtype": "float32",
                "shape": [None, None, None, 1],
                "meaning": "(batch, height, width, 1), grey value in [0, 1]",
            }
        },
        "outputs": {"score": {"dtype": "float32", "shape": [None, 2], "meaning": "(batch, 2), no unit"}},
    }
    assert card["versions"]["tensorflow"] == tf.__version__


def test_no_file_names_a_folder_of_this_machine(model_folder):
    for path in (model_folder / "1").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(model_folder.parent).encode() not in content
            assert os.getcwd().encode() not in content


def test_next_free_number_is_taken_and_a_taken_one_refused(tmp_path):
    signatures = signature(lambda x: {"y": x + 1})
    assert export(signatures, tmp_path).name == "1"
    assert export(signatures, tmp_path, version=7).name == "7"
    assert export(signatures, tmp_path).name == "8"
    with pytest.raises(ValueError, match="Version 7 is in"):
        export(signatures, tmp_path, version=7)
    assert names_in(tmp_path) == ["1", "7", "8"]


def test_number_that_another_export_takes_in_between_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    seen = iter([{}, {1: tmp_path / "1"}])
    monkeypatch.setattr(export_module, "versions_in", lambda folder: next(seen))
    assert export(signature(lambda x: {"y": x}), tmp_path).name == "2"


@pytest.mark.parametrize("step", ["check_graph", "check_answers", "_sync"])
def test_export_that_fails_leaves_no_version(tmp_path, monkeypatch, step):
    def fail(*arguments):
        raise RuntimeError("stopped")

    monkeypatch.setattr(export_module, step, fail)
    with pytest.raises(RuntimeError, match="stopped"):
        export(signature(lambda x: {"y": x}), tmp_path)
    assert names_in(tmp_path) == []


def test_version_appears_by_one_rename(tmp_path, monkeypatch):
    def refuse(source, target):
        assert (source / "saved_model.pb").exists()
        assert not target.exists()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(export_module.os, "rename", refuse)
    with pytest.raises(OSError, match=r"/1 could not be made: Input/output error"):
        export(signature(lambda x: {"y": x}), tmp_path)
    assert names_in(tmp_path) == []


def test_export_that_is_killed_leaves_nothing_that_looks_like_a_version(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module.shutil, "rmtree", lambda *arguments, **options: None)  # nobody cleans up
    monkeypatch.setattr(export_module, "_publish", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(signature(lambda x: {"y": x}), tmp_path)
    (left,) = names_in(tmp_path)
    assert left.startswith(".exporting-")
    monkeypatch.undo()
    assert export(signature(lambda x: {"y": x}), tmp_path).name == "1"


def python_function(x):
    return {"y": tf.numpy_function(lambda array: array + 1, [x], tf.float32)}


def eager_python_function(x):
    return {"y": tf.py_function(lambda tensor: tensor + 1, [x], tf.float32)}


def reads_a_file(x):
    with tf.control_dependencies([tf.io.write_file("/tmp/tfmedcai/export-test", "x")]):
        return {"y": x + 1}


@tf.function(jit_compile=True)
def compiled(x):
    return {"y": x + 1}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (python_function, r"PyFunc: these call back into Python"),
        (eager_python_function, r"EagerPyFunc: these call back into Python"),
        (reads_a_file, r"/tmp/tfmedcai/export-test: these are absolute paths"),
        (lambda x: {"y": compiled(x)["y"]}, r"need XLA"),
        (lambda x: {"y": x + tf.random.uniform([])}, r"It differs in values by up to"),
        (lambda x: x, r"must return tensors by name"),
        (lambda x: {"y": x, "z": x}, r"Missing: \['z'\]"),
    ],
)
def test_model_that_no_other_machine_could_run_is_refused(tmp_path, function, message):
    with pytest.raises(ValueError, match=message):
        export(signature(function), tmp_path)
    assert names_in(tmp_path) == []


def test_lookup_table_is_refused_in_one_line(tmp_path):
    keys = tf.lookup.KeyValueTensorInitializer(tf.constant([1], tf.int64), tf.constant([2.0]))
    table = tf.lookup.StaticHashTable(keys, 0.0)
    function = signature(lambda x: {"y": table.lookup(tf.cast(x, tf.int64))})
    with pytest.raises(ValueError, match="no resource but its variables"):
        export(function, tmp_path)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"z": np.zeros(1)}, r"`example` of signature `serving_default` must have its inputs \['x'\]"),
        ({"x": np.zeros(1)}, "must fit its inputs: Expects arg"),
        ({"x": np.zeros((1, 1), np.float32)}, r"must have shape \[\?\]"),
    ],
)
def test_example_must_fit_the_inputs(tmp_path, example, message):
    with pytest.raises(ValueError, match=message):
        export(signature(lambda x: {"y": x}, example), tmp_path)


def test_default_signature_must_be_there(tmp_path):
    (one,) = signature(lambda x: {"y": x}).values()
    with pytest.raises(ValueError, match=r"must have `serving_default`, .*Received \['other'\]"):
        export({"other": one}, tmp_path)


def test_folder_that_cannot_be_written_to_is_one_clear_line(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match=r"`folder` must be one that can be written to\. Received .*Not a directory"):
        export(signature(lambda x: {"y": x}), file / "model")
