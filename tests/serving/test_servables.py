"""A loaded version: what it refuses before its graph runs, and how it is warmed up."""

from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.export import export
from tfmedcai.serving.predict import WARMUP_FILE, warm_up
from tfmedcai.serving.servables import Servable
from tfmedcai.tasks.task import Signature


@pytest.fixture(scope="module")
def dense_folder(tmp_path_factory):
    spec = {"x": tf.TensorSpec((None, 3), tf.float32)}
    example = {"x": np.zeros((1, 3), np.float32)}
    signature = Signature(lambda x: {"y": x + 1}, spec, example, dict.fromkeys("xy", "(batch, 3), mm"))
    return export({"serving_default": signature}, tmp_path_factory.mktemp("dense"))


@pytest.fixture
def load():
    loaded = []

    def load_one(folder: Path, policy: str) -> Servable:
        loaded.append(Servable("m", 1, folder, policy))
        return loaded[-1]

    yield load_one
    for servable in loaded:
        servable.close()


def accepts(servable: Servable, alias: str, shape: tuple[int, ...]) -> bool:
    info = servable.signatures["serving_default"].inputs[alias]
    try:
        servable.check_shape(alias, info, np.zeros(shape, np.float32))
    except RequestError as error:
        assert error.code == grpc.StatusCode.INVALID_ARGUMENT
        return False
    return True


@pytest.mark.parametrize(
    ("policy", "wrong_rank", "wrong_size"), [("off", True, True), ("rank", False, True), ("full", False, False)]
)
def test_shape_policy(load, dense_folder, policy, wrong_rank, wrong_size):
    servable = load(dense_folder, policy)
    assert accepts(servable, "x", (5, 3))
    assert accepts(servable, "x", (3,)) is wrong_rank
    assert accepts(servable, "x", (5, 4)) is wrong_size


def test_auto_policy_checks_the_rank_of_graphs_that_convolve(load, dense_folder, model_folder):
    assert load(dense_folder, "auto").shape_policy == "off"
    assert load(model_folder / "1", "auto").shape_policy == "rank"


def test_refusal_names_what_was_expected_and_received(load, model_folder):
    servable = load(model_folder / "1", "rank")
    info = servable.signatures["serving_default"].inputs["image"]
    with pytest.raises(RequestError, match=r"must have shape \[\?, \?, \?, 1\].*Received shape \[8, 8\]"):
        servable.check_shape("image", info, np.zeros((8, 8), np.float32))


def test_values_come_in_the_order_asked_for_even_twice(load, dense_folder):
    servable = load(dense_folder, "off")
    signature = servable.signatures["serving_default"]
    feed, fetch = signature.inputs["x"].name, signature.outputs["y"].name
    first, second = servable.run({feed: np.ones((2, 3), np.float32)}, [fetch, fetch])
    assert np.array_equal(first, np.full((2, 3), 2.0))
    assert np.array_equal(first, second)


def test_folder_without_a_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"must hold a SavedModel tagged `serve` that can be loaded: .*") as refused:
        Servable("m", 1, tmp_path)
    assert "\n" not in str(refused.value)


def write_warmup(folder: Path, records: list[bytes]) -> None:
    path = folder / WARMUP_FILE
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def request_record(**spec: str) -> bytes:
    log = PredictionLog()
    log.predict_log.request.model_spec.MergeFrom(type(log.predict_log.request.model_spec)(**spec))
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 3), np.float32)))
    return log.SerializeToString()


def test_warm_up_counts_predictions_and_passes_over_other_records(load, dense_folder, tmp_path):
    servable = load(dense_folder, "off")
    assert warm_up(servable) == 1
    servable.folder = tmp_path
    assert warm_up(servable) == 0
    write_warmup(tmp_path, [request_record(), PredictionLog(classify_log={}).SerializeToString()])
    assert warm_up(servable) == 1


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([request_record(signature_name="nope")], r"holds a request that the model refuses: .*\"nope\" not found"),
        ([request_record()] * 1001, r"exceeds the maximum \(1000\)"),
        ([b"\xff\xff\xff\xff"], "verify your warmup data is in TFRecord format"),
    ],
)
def test_bad_warm_up_is_an_error_of_the_version(load, dense_folder, tmp_path, records, message):
    servable = load(dense_folder, "off")
    servable.folder = tmp_path
    write_warmup(tmp_path, records)
    with pytest.raises(ValueError, match=message):
        warm_up(servable)


def test_damaged_warm_up_file_is_an_error_of_the_version(load, dense_folder, tmp_path):
    servable = load(dense_folder, "off")
    servable.folder = tmp_path
    write_warmup(tmp_path, [request_record()])
    path = tmp_path / WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="is damaged"):
        warm_up(servable)
