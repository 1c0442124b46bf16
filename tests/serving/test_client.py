"""The client: what it retries, what it explains, what it returns."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from tfmedcai.serving.client import Client, describe
from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.server import Server


class Scripted(grpc.GenericRpcHandler):
    """Answers each call with the next of a list of codes."""

    def __init__(self, codes: list[grpc.StatusCode]) -> None:
        self.codes = codes
        self.calls = 0

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        code = self.codes[self.calls]
        self.calls += 1
        if code != grpc.StatusCode.OK:
            context.abort(code, "scripted")
        return GetModelStatusResponse(model_version_status=[{"version": 3, "state": 30}]).SerializeToString()


@pytest.fixture
def scripted():
    handler = Scripted([])
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}") as client:
        yield handler, client
    server.stop(None).wait()


@pytest.fixture(scope="module")
def client(model_folder):
    with Server({"tiny": model_folder}) as server, Client(server.address) as client:
        yield client


def test_unavailable_is_tried_again(scripted):
    handler, client = scripted
    handler.codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK]
    assert client.status("m") == {3: "AVAILABLE"}
    assert handler.calls == 3


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_nothing_else_is_tried_again(scripted, code):
    handler, client = scripted
    handler.codes = [code, grpc.StatusCode.OK]
    with pytest.raises(RequestError, match=f"{code.name}: scripted") as refused:
        client.status("m")
    assert refused.value.code == code
    assert handler.calls == 1


def test_absent_server_is_named():
    with Client("127.0.0.1:1") as client, pytest.raises(RequestError, match=r"no server answers at 127\.0\.0\.1:1"):
        client.status("m")


def test_refusal_says_what_the_model_expects(client):
    with pytest.raises(RequestError) as refused:
        client.predict("tiny", {"picture": np.zeros((1, 8, 8, 1), np.float32)})
    message = str(refused.value)
    assert message.startswith("INVALID_ARGUMENT: Signature input alias: image")
    assert "Model tiny expects serving_default(image float [?, ?, ?, 1]) -> score float [?, 2]; twice(" in message
    assert "\n" not in message


def test_wrong_type_is_explained(client):
    with pytest.raises(RequestError, match=r"to be float but double is provided Model tiny expects"):
        client.predict("tiny", {"image": np.zeros((1, 8, 8, 1))})


def test_metadata_leaves_out_what_cannot_be_asked(client):
    signatures = client.metadata("tiny")
    assert sorted(signatures) == ["serving_default", "twice"]
    expected = "twice(image float [?, ?, ?, 1]) -> twice float [?, 2]"
    assert describe("twice", signatures["twice"]) == expected


def test_status_lists_versions(client):
    assert client.status("tiny") == {1: "AVAILABLE"}
    with pytest.raises(RequestError, match="Could not find version 4 of model tiny"):
        client.status("tiny", version=4)
