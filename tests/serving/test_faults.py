"""What must not stop, slow or fatten a server: malformed requests, versions swapped and stops under load."""

import contextlib
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tfmedcai.serving.client import Client
from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.server import Server

PREDICT = "/tensorflow.serving.PredictionService/Predict"
PROPER = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL", "UNIMPLEMENTED"}


def good() -> PredictRequest:
    request = PredictRequest()
    request.model_spec.name = "tiny"
    image = request.inputs["image"]
    image.dtype = 1
    image.tensor_content = np.ones(64, np.float32).tobytes()
    for size in (1, 8, 8, 1):
        image.tensor_shape.dim.add(size=size)
    return request


def malformed(number: int) -> bytes:
    """One of ten ways to spoil a request, with details that depend on the number."""
    rng = np.random.default_rng(number)
    request = good()
    image = request.inputs["image"]
    match number % 10:
        case 0:
            request.model_spec.name = f"model{number}"
        case 1:
            request.inputs[f"input{number}"].CopyFrom(image)
        case 2:
            image.dtype = int(rng.choice([0, 2, 3, 4, 9, 17, 20, 21, 101, 999]))
        case 3:
            image.tensor_content = image.tensor_content[: int(rng.integers(1, 255))]
        case 4:
            image.tensor_shape.dim[int(rng.integers(4))].size = int(2 ** rng.integers(20, 62))
        case 5:
            image.tensor_shape.dim[int(rng.integers(4))].size = -int(rng.integers(1, 2**40))
        case 6:
            del image.tensor_shape.dim[int(rng.integers(4)) :]
        case 7:
            image.dtype = 7
            image.tensor_content = b""
            image.string_val.append(b"\xff" * number)
        case 8:
            request.model_spec.signature_name = f"signature{number}"
        case 9:
            return b"\xff\xff\xff\xff" + rng.bytes(int(rng.integers(1, 300)))
    return request.SerializeToString()


def code_of(channel, raw: bytes) -> str:
    try:
        channel.unary_unary(PREDICT)(raw, timeout=30)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_200_malformed_requests_are_refused_and_the_next_good_one_answered(model_folder):
    with Server({"tiny": model_folder}) as server, grpc.insecure_channel(server.address) as channel:
        assert code_of(channel, good().SerializeToString()) == "OK"
        before = peak_mb()
        codes = [code_of(channel, malformed(number)) for number in range(200)]
        assert set(codes) <= PROPER, codes
        assert peak_mb() - before < 100
        assert code_of(channel, good().SerializeToString()) == "OK"


class Load:
    """Clients that ask without a pause, each in a thread, and keep the errors that they meet."""

    def __init__(self, address: str, clients: int = 4):
        self.errors: list[Exception] = []
        self.answered = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(address,)) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, address: str) -> None:
        image = np.ones((1, 8, 8, 1), np.float32)
        with Client(address) as client:
            while not self._stop.is_set():
                try:
                    client.predict("tiny", {"image": image})
                except RequestError as error:
                    self.errors.append(error)
                    return
                with self._lock:
                    self.answered += 1


def wait_for(client: Client, states: dict[int, str]) -> None:
    deadline = time.monotonic() + 30
    while client.status("tiny") != states:
        assert time.monotonic() < deadline, client.status("tiny")
        time.sleep(0.02)


def test_versions_are_swapped_under_load_without_a_failed_request(model_folder, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(model_folder / "1", folder / "1")
    options = ServerOptions(port=0, file_system_poll_wait_seconds=0.05)
    with Server({"tiny": folder}, options) as server, Client(server.address) as client, Load(server.address) as load:
        for version in (2, 3):
            shutil.copytree(model_folder / "1", folder / str(version))
            ended = {number: "END" for number in range(1, version)}
            wait_for(client, {version: "AVAILABLE"} | ended)
        shutil.rmtree(folder / "3")
        wait_for(client, {3: "END", 2: "AVAILABLE", 1: "END"})
    assert load.errors == []
    assert load.answered > 50


def test_a_version_that_is_still_being_written_is_not_loaded(model_folder, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(model_folder / "1", folder / "1")
    options = ServerOptions(port=0, file_system_poll_wait_seconds=0.2)
    with Server({"tiny": folder}, options) as server, Client(server.address) as client:
        for piece in sorted((model_folder / "1").rglob("*")):
            if piece.is_file():
                target = folder / "2" / piece.relative_to(model_folder / "1")
                target.parent.mkdir(parents=True, exist_ok=True)
                data = piece.read_bytes()
                for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                    with target.open("ab") as file:
                        file.write(part)
                    time.sleep(0.05)
                    assert client.status("tiny").get(2, "START") == "START"
        wait_for(client, {2: "AVAILABLE", 1: "END"})


def test_a_stop_under_load_loses_no_accepted_request(model_folder):
    command = [sys.executable, "-m", "tfmedcai.serving", "serve", "--port", "0", "--model_name", "tiny"]
    with subprocess.Popen(
        [*command, "--model_base_path", str(model_folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().split()[-1]
        with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            futures = [channel.unary_unary(PREDICT).future(good().SerializeToString()) for _ in range(200)]
            futures[0].result(timeout=30)
            process.send_signal(signal.SIGTERM)
            codes = []
            for future in futures:
                with contextlib.suppress(grpc.RpcError):
                    future.result(timeout=30)
                codes.append(future.code().name)
        assert process.wait(timeout=60) == 0
    # Whoever came too late is told so, and may ask again; nobody is cut off.
    assert set(codes) <= {"OK", "UNAVAILABLE"}
    assert codes.count("OK") > 0


@pytest.mark.slow
def test_10_000_requests_leave_memory_flat(model_folder):
    with Server({"tiny": model_folder}) as server, Client(server.address) as client:
        image = {"image": np.ones((1, 64, 64, 1), np.float32)}
        for _ in range(1000):
            client.predict("tiny", image)
        before = peak_mb()
        for _ in range(9000):
            client.predict("tiny", image)
        assert peak_mb() - before < 20
