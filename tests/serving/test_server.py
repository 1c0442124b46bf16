"""The server in this process, on a free port: replies, refusals, and how it stops."""

import contextlib
import threading

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

import tfmedcai.serving.server as server_module
from tfmedcai.serving.client import Client
from tfmedcai.serving.errors import MESSAGE_LIMIT, RequestError, invalid
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.processes import sources_from
from tfmedcai.serving.server import Server


@pytest.fixture(scope="module")
def server(model_folder):
    with Server({"tiny": model_folder}) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.address) as client:
        yield client


@pytest.fixture
def image():
    return np.random.default_rng(1).random((2, 9, 7, 1), np.float32)


def request_for(image: np.ndarray) -> PredictRequest:
    request = PredictRequest(model_spec={"name": "tiny"})
    request.inputs["image"].dtype = 1
    request.inputs["image"].tensor_content = image.tobytes()
    for size in image.shape:
        request.inputs["image"].tensor_shape.dim.add(size=size)
    return request


def test_answers_equal_the_networks(client, network, image):
    score = client.predict("tiny", {"image": image})["score"]
    np.testing.assert_allclose(score, network(image).numpy(), rtol=1e-4, atol=1e-6)
    twice = client.predict("tiny", {"image": image}, signature="twice", version=1)["twice"]
    np.testing.assert_allclose(twice, 2 * score, rtol=1e-5)


def test_official_stubs_read_the_reply_in_typed_fields(server, image):
    with grpc.insecure_channel(server.address) as channel:
        reply = PredictionServiceStub(channel).Predict(request_for(image), timeout=30)
    assert len(reply.outputs["score"].float_val) == 4
    assert not reply.outputs["score"].tensor_content
    assert reply.model_spec.version.value == 1
    assert reply.model_spec.signature_name == "serving_default"


def test_reply_can_be_tensor_content(model_folder, image):
    options = ServerOptions(port=0, enable_serialization_as_tensor_content=True)
    with Server({"tiny": model_folder}, options) as server, grpc.insecure_channel(server.address) as channel:
        reply: PredictResponse = PredictionServiceStub(channel).Predict(request_for(image), timeout=30)
    assert len(reply.outputs["score"].tensor_content) == 16


def test_many_clients_at_once_get_their_own_answers(server, network):
    images = np.random.default_rng(2).random((16, 8, 8, 1), np.float32)
    expected = network(images).numpy()
    received = [np.zeros(2)] * len(images)

    def ask(place: int) -> None:
        with Client(server.address) as client:
            received[place] = client.predict("tiny", {"image": images[place : place + 1]})["score"][0]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)


def wait_until_refusing(address: str) -> None:
    status = "/tensorflow.serving.ModelService/GetModelStatus"
    request = GetModelStatusRequest(model_spec={"name": "tiny"}).SerializeToString()
    with grpc.insecure_channel(address) as channel, contextlib.suppress(grpc.RpcError):
        while True:
            channel.unary_unary(status)(request, timeout=30)


def test_request_under_way_is_finished_when_the_server_stops(model_folder, image, monkeypatch):
    entered, released = threading.Event(), threading.Event()
    predict = server_module.predict

    def held(*arguments):
        entered.set()
        released.wait(30)
        return predict(*arguments)

    monkeypatch.setattr(server_module, "predict", held)
    server = Server({"tiny": model_folder})
    with grpc.insecure_channel(server.address) as channel:
        reply = PredictionServiceStub(channel).Predict.future(request_for(image), timeout=30)
        assert entered.wait(30)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        wait_until_refusing(server.address)
        released.set()
        assert len(reply.result().outputs["score"].float_val) == 4
        stopping.join(30)
        assert not stopping.is_alive()


def test_port_that_is_taken_is_one_clear_line(server, model_folder):
    with pytest.raises(OSError, match=rf"`port` must be free on 127.0.0.1. Received {server.port}"):
        Server({"tiny": model_folder}, ServerOptions(port=server.port))


def test_long_messages_are_cut_as_tensorflow_serving_cuts_them():
    assert invalid("x" * 5000).message == "x" * MESSAGE_LIMIT + "...TRUNCATED"


def test_wrong_model_and_wrong_rank_are_refused(client):
    with pytest.raises(RequestError, match=r"NOT_FOUND: Servable not found for request: Latest\(nope\)"):
        client.predict("nope", {})
    with pytest.raises(RequestError, match="INVALID_ARGUMENT: `image` must have shape"):
        client.predict("tiny", {"image": np.zeros((8, 8, 1), np.float32)})


def test_command_line_names_one_model_or_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source,) = sources_from("pose", tmp_path.relative_to(tmp_path) / "models", None)
    assert (source.name, source.base_path) == ("pose", tmp_path / "models")
    for folder, file in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(ValueError, match="Give either --model_base_path"):
            sources_from("pose", folder, file)
