"""REST beyond the recorded cases: values that do not fit, paths that lead nowhere, the metrics page."""

import http.client
import json
import math

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.json_tensors import columns_of, examples_from, rows_of, tensors_from
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.server import Server


@pytest.fixture(scope="module")
def server(model_folder):
    with Server({"tiny": model_folder}, ServerOptions(port=0, rest_api_port=-1)) as server:
        yield server


def ask(server, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request(method, path, body)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def test_rows_and_columns_give_the_networks_answer(server, network):
    image = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    expected = network(image).numpy()
    status, text = ask(server, "POST", "/v1/models/tiny:predict", json.dumps({"instances": image.tolist()}))
    assert status == 200
    np.testing.assert_allclose(json.loads(text)["predictions"], expected, rtol=1e-4)
    body = json.dumps({"signature_name": "twice", "inputs": {"image": image.tolist()}})
    status, text = ask(server, "POST", "/v1/models/tiny/versions/1:predict", body)
    assert status == 200
    np.testing.assert_allclose(json.loads(text)["outputs"], 2 * expected, rtol=1e-4)


def test_one_connection_carries_many_requests(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/v1/models/tiny")
        assert connection.getresponse().read().startswith(b"{")
    connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../../etc/passwd",
        "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/models/tiny/../../../etc/passwd:predict",
        "/v1/models/tiny%00:predict",
        "/v1/models/tiny/versions/../1",
        "/v1/models/tiny/versions/99999999999999999999",
    ],
)
def test_paths_lead_to_models_only(server, path):
    for method in ("GET", "POST"):
        status, text = ask(server, method, path, "{}" if method == "POST" else None)
        assert status in (400, 404)
        assert "root:" not in text


def test_bodies_that_are_too_large_or_of_unknown_length_are_refused(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.putrequest("POST", "/v1/models/tiny:predict")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_metrics_count_requests_by_model_and_outcome(server):
    ask(server, "POST", "/v1/models/tiny:predict", "{}")
    status, text = ask(server, "GET", "/monitoring/prometheus/metrics")
    assert status == 200
    assert ':tensorflow:serving:request_count{model_name="tiny",status="INVALID_ARGUMENT"}' in text
    assert (
        ':tensorflow:serving:request_latency_bucket{model_name="tiny",API="Predict",entrypoint="REST",le="10"}' in text
    )
    assert "# TYPE :tensorflow:serving:request_latency histogram" in text


def test_made_up_names_do_not_fill_the_metrics(model_folder):
    with Server({"tiny": model_folder}, ServerOptions(port=0, rest_api_port=-1)) as server:
        for number in range(20):
            assert ask(server, "POST", f"/v1/models/made_up_{number}:predict", "{}")[0] == 404
        text = ask(server, "GET", "/monitoring/prometheus/metrics")[1]
    assert ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"} 20' in text
    assert "made_up" not in text


def test_metrics_page_can_be_moved_or_closed(model_folder, tmp_path):
    for text, path, status in (
        ('prometheus_config { enable: true path: "/numbers" }', "/numbers", 200),
        ("prometheus_config { enable: false }", "/monitoring/prometheus/metrics", 404),
    ):
        file = tmp_path / "monitoring.config"
        file.write_text(text)
        options = ServerOptions(port=0, rest_api_port=-1, monitoring_config_file=file)
        with Server({"tiny": model_folder}, options) as server:
            assert ask(server, "GET", path)[0] == status


def info(kind: int) -> TensorInfo:
    return TensorInfo(dtype=kind)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (types_pb2.DT_FLOAT, [1, 2.5], np.array([1, 2.5], np.float32)),
        (types_pb2.DT_FLOAT, [math.inf], np.array([np.inf], np.float32)),
        (types_pb2.DT_INT8, [200], np.array([-56], np.int8)),
        (types_pb2.DT_INT64, 2**62, np.array(2**62)),
        (types_pb2.DT_UINT64, [2**63], np.array([2**63], np.uint64)),
        (types_pb2.DT_BOOL, [[True], [False]], np.array([[True], [False]])),
        (types_pb2.DT_DOUBLE, [[]], np.empty((1, 0))),
    ],
)
def test_json_becomes_the_type_of_the_signature(kind, value, expected):
    array = tensors_from({"inputs": value}, {"x": info(kind)})["x"]
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (types_pb2.DT_FLOAT, True, "JSON Value: true Type: Bool is not of expected type: float"),
        (types_pb2.DT_INT32, 1.5, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        (types_pb2.DT_INT32, 2**31, "Type: Number is not of expected type: int32"),
        (types_pb2.DT_UINT64, -1, "Type: Number is not of expected type: uint64"),
        (types_pb2.DT_BOOL, 1, "Type: Number is not of expected type: bool"),
        (types_pb2.DT_STRING, None, "JSON Value: null Type: Null is not of expected type: string"),
        (types_pb2.DT_FLOAT, [[1], [1, 2]], "ragged"),
        (types_pb2.DT_FLOAT, [[1], 2], "ragged"),
        (types_pb2.DT_FLOAT, [1, [2]], "ragged"),
    ],
)
def test_json_that_does_not_fit_is_refused(kind, value, message):
    with pytest.raises(RequestError) as refused:
        tensors_from({"inputs": value}, {"x": info(kind)})
    assert message in refused.value.message


def test_outputs_without_common_rows_have_no_row_form():
    outputs = {"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}
    with pytest.raises(RequestError, match="inconsistent batch size: 3 expecting: 2"):
        rows_of(outputs)
    assert columns_of(outputs)["b"] == [[0.0], [0.0], [0.0]]
    with pytest.raises(RequestError, match="Failed to write JSON value for tensor type: half"):
        columns_of({"y": np.zeros(1, np.float16)})


def test_text_and_bytes_of_outputs():
    words = np.array([b"caf\xc3\xa9"], object)
    assert columns_of({"word": words}) == ["caf\u00e9"]
    assert columns_of({"word_bytes": words}) == [{"b64": "Y2Fmw6k="}]


def test_examples_share_a_context():
    document = {"context": {"age": 7}, "examples": [{"name": "a", "size": [1.5, 2]}, {"name": {"b64": "Yg=="}}]}
    given = examples_from(document, "classify").example_list_with_context
    assert given.context.features.feature["age"].int64_list.value == [7]
    first, second = given.examples
    assert first.features.feature["size"].float_list.value == [1.5, 2.0]
    assert second.features.feature["name"].bytes_list.value == [b"b"]
    with pytest.raises(RequestError, match="must be of one type"):
        examples_from({"examples": [{"x": [1, "a"]}]}, "classify")
