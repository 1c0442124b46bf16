"""Clients that others wrote, each used as its own documentation says, get the answers that our client gets."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import grpc
import numpy as np
import ovmsclient
import pytest
import tensorflow as tf
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2, prediction_service_pb2_grpc

from tfmedcai.serving.client import Client
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.server import Server

NODE_MODULES = Path(os.environ.get("TFMEDCAI_NODE_MODULES", Path(__file__).parents[2] / "build/node/node_modules"))
IMAGE = np.ones((1, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def server(model_folder):
    with Server({"tiny": model_folder}, ServerOptions(port=0, rest_api_port=-1)) as server:
        yield server


@pytest.fixture(scope="module")
def expected(server):
    with Client(server.address) as client:
        return client.predict("tiny", {"image": IMAGE})["score"]


def test_tensorflow_serving_api(server, expected):
    with grpc.insecure_channel(server.address) as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "tiny"
        request.inputs["image"].CopyFrom(tf.make_tensor_proto(IMAGE))
        reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30)
    np.testing.assert_array_equal(tf.make_ndarray(reply.outputs["score"]), expected)


def test_ovmsclient_over_grpc(server, expected):
    client = ovmsclient.make_grpc_client(server.address)
    assert client.get_model_status("tiny", 1) == {1: {"state": "AVAILABLE", "error_code": 0, "error_message": ""}}
    assert client.get_model_metadata("tiny", 1)["inputs"]["image"]["dtype"] == "DT_FLOAT"
    np.testing.assert_array_equal(client.predict({"image": IMAGE}, "tiny", 1), expected)


def test_ovmsclient_over_rest(server, expected):
    client = ovmsclient.make_http_client(f"127.0.0.1:{server.rest_port}")
    assert client.get_model_status("tiny", 1)[1]["state"] == "AVAILABLE"
    np.testing.assert_allclose(client.predict({"image": IMAGE}, "tiny", 1), expected, rtol=1e-6)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(server, expected):
    address = f"http://127.0.0.1:{server.rest_port}/v1/models/tiny:predict"
    body = json.dumps({"instances": IMAGE.tolist()})
    process = subprocess.run(["curl", "-sd", "@-", address], input=body, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(process.stdout)["predictions"], expected, rtol=1e-6)


@pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_MODULES / "@grpc").is_dir(),
    reason=f"no @grpc/grpc-js and @grpc/proto-loader in {NODE_MODULES} (`make node`, or set TFMEDCAI_NODE_MODULES)",
)
def test_node(server, expected, tmp_path):
    descriptors = tmp_path / "services.pb"
    descriptors.write_bytes(described(prediction_service_pb2.DESCRIPTOR).SerializeToString())
    command = ["node", str(Path(__file__).with_name("ask.js")), server.address, str(descriptors)]
    environment = os.environ | {"NODE_PATH": str(NODE_MODULES)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    ((name, values),) = json.loads(process.stdout)
    assert name == "score"
    np.testing.assert_allclose([values], expected, rtol=1e-6)


def described(file) -> FileDescriptorSet:
    """All that a client in another language needs to know of a service: the file and those that it imports."""
    found = {}

    def visit(descriptor) -> None:
        for imported in descriptor.dependencies:
            visit(imported)
        found[descriptor.name] = descriptor

    visit(file)
    described = FileDescriptorSet()
    for descriptor in found.values():
        descriptor.CopyToProto(described.file.add())
    return described
