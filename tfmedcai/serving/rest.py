"""TensorFlow Serving's REST interface and its metrics page, over a catalogue of models."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import grpc
import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tfmedcai.serving.catalog import Catalog
from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.examples import classify, regress
from tfmedcai.serving.json_tensors import (
    Json,
    columns_of,
    examples_from,
    parse,
    rows_of,
    signature_name,
    tensors_from,
)
from tfmedcai.serving.metrics import Metrics
from tfmedcai.serving.predict import run_signature
from tfmedcai.serving.servables import DEFAULT_SIGNATURE, Servable

ROOT = "/v1/models"
METRICS_PATH = "/monitoring/prometheus/metrics"
MAX_BODY = 2**30  # bytes
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_ASK = re.compile(rf"{_MODEL}:(?P<verb>predict|classify|regress)", re.IGNORECASE)
_LOOK = re.compile(rf"{_MODEL}(?P<metadata>/metadata)?", re.IGNORECASE)
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_JSON, _HTML, _TEXT = "application/json", "text/html", "text/plain"
_NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    kind: str
    body: str


class RestServer:
    """Listens for REST requests, each connection in a thread of its own.

    Args:
        rest: answers them.
        host: address to listen on.
        port: port; 0 chooses a free one.
        share_port: let other processes listen on the same port.

    Raises:
        OSError: if the port cannot be listened on.
    """

    def __init__(self, rest: "Rest", host: str, port: int, *, share_port: bool = False) -> None:
        class Handler(_Handler):
            answer = staticmethod(rest.answer)

        try:
            self._server = _HttpServer((host, port), Handler, bind_and_activate=False)
            self._server.allow_reuse_port = share_port
            self._server.server_bind()
            self._server.server_activate()
        except OSError as error:
            self._server.server_close()
            raise OSError(
                f"`rest_api_port` must be free on {host}. Received {port}, which cannot be listened on; "
                "-1 chooses a free one."
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="rest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes no new connections and waits for the requests under way."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Rest:
    """Turns paths and JSON into calls of models, and their outcome into JSON.

    Args:
        catalog: the models.
        metrics: what the metrics page shows.
        metrics_path: where that page lies; None has none.
    """

    def __init__(self, catalog: Catalog, metrics: Metrics, metrics_path: str | None = METRICS_PATH) -> None:
        self.catalog, self.metrics, self.metrics_path = catalog, metrics, metrics_path

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """Answers one HTTP request.

        Args:
            method: GET, POST, ...
            target: the path as it was sent, escapes and query included.
            body: what came with it.

        Returns:
            Status, type and body.
        """
        path = unquote(urlsplit(target).path)
        if method == "OPTIONS":
            return Answer(400, f"{_HTML}; charset=ISO-8859-1", "")
        if path == self.metrics_path and method == "GET":
            return Answer(200, _TEXT, self.metrics.text())
        if not path.lower().startswith(ROOT):
            return Answer(404, _HTML, _NOT_FOUND)
        try:
            return Answer(200, _JSON, self._dispatch(method, path, body))
        except RequestError as error:
            return Answer(_HTTP.get(error.code, 500), _JSON, json.dumps({"error": error.message}, indent=4))

    def _dispatch(self, method: str, path: str, body: bytes) -> str:
        asked, looked = _ASK.fullmatch(path), _LOOK.fullmatch(path)
        if method == "POST" and asked:
            return json.dumps(self._ask(asked, body), ensure_ascii=False)
        if method == "GET" and path.lower() == ROOT:
            raise invalid("Missing model name in request.")
        if method == "GET" and looked:
            return self._metadata(looked) if looked["metadata"] else self._status(looked)
        raise invalid(f"Malformed request: {method} {path}")

    def _ask(self, match: re.Match[str], body: bytes) -> dict[str, Json]:
        spec, verb = _spec(match), match["verb"].lower()
        with self.catalog.counted(spec.name, verb.capitalize(), "REST"):
            call: Callable[[Servable, dict[str, Json]], dict[str, Json]]
            call = _predict if verb == "predict" else lambda servable, document: _infer(servable, document, verb)
            with self.catalog.lease(spec) as servable:
                return call(servable, parse(body))

    def _status(self, match: re.Match[str]) -> str:
        reply = GetModelStatusResponse(model_version_status=self.catalog.status(_spec(match)))
        return json.dumps(_as_dict(reply), indent=1)

    def _metadata(self, match: re.Match[str]) -> str:
        with self.catalog.lease(_spec(match)) as servable:
            spec = {"name": servable.name, "version": str(servable.version), "signature_name": ""}
            signatures = _as_dict(SignatureDefMap(signature_def=servable.signatures))
        return json.dumps({"model_spec": spec, "metadata": {"signature_def": signatures}}, indent=1)


def _predict(servable: Servable, document: dict[str, Json]) -> dict[str, Json]:
    key = signature_name(document) or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid(f'Serving signature name: "{key}" not found in signature def')
    outputs = run_signature(servable, signature, tensors_from(document, signature.inputs))
    if "instances" in document:
        return {"predictions": rows_of(outputs)}
    return {"outputs": columns_of(outputs)}


def _infer(servable: Servable, document: dict[str, Json], verb: str) -> dict[str, Json]:
    spec = ModelSpec(name=servable.name, signature_name=signature_name(document))
    given = examples_from(document, verb)
    if verb == "classify":
        found = classify(servable, ClassificationRequest(model_spec=spec, input=given)).result.classifications
        return {"results": [[[entry.label, _shortest(entry.score)] for entry in item.classes] for item in found]}
    values = regress(servable, RegressionRequest(model_spec=spec, input=given)).result.regressions
    return {"results": [_shortest(item.value) for item in values]}


def _shortest(value: float) -> float:
    """Returns a float32 as the double that is written with the fewest digits."""
    return float(str(np.float32(value)))


def _as_dict(message: Any) -> Json:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _spec(match: re.Match[str]) -> ModelSpec:
    spec = ModelSpec(name=match["name"])
    if match["version"] is not None:
        if int(match["version"]) >= 2**63:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = int(match["version"])
    elif match["label"] is not None:
        spec.version_label = match["label"]
    return spec


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False  # so that `server_close` waits for the requests under way
    block_on_close = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after the other from a connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tfmedcai", ""
    timeout = 30  # seconds that a silent client keeps its thread
    answer: Callable[[str, str, bytes], Answer]

    def handle_one(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY or "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.close_connection = True
            self._send(Answer(411 if length == 0 else 413, _TEXT, "Content-Length must be given, up to 1 GiB.\n"))
            return
        self._send(self.answer(self.command, self.path, self.rfile.read(length)))

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = handle_one

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the metrics count requests."""

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
