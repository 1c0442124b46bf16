"""The embedded server: TensorFlow Serving's gRPC services over a catalogue of models, in one Python process."""

import functools
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tfmedcai.serving.catalog import Catalog, ModelSource, read_config
from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.predict import predict
from tfmedcai.serving.tensors import MAX_BYTES

SIGNATURE_FIELD = "signature_def"
GRACE_S = 30.0  # how long a server that is told to stop waits for the requests under way
THREADS_PER_CORE = 4  # as tensorflow_model_server
_GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BYTES),
    ("grpc.max_send_message_length", MAX_BYTES),
    ("grpc.so_reuseport", 0),  # else a second server on the same port would start, and share its requests in silence
)
Method = Callable[[bytes], bytes]


class Server:
    """A running server; use it as a context manager, or call `stop`.

    Args:
        models: folders of models by name, or sources with versions and labels.
        options: where to listen and how to answer.

    Raises:
        ValueError: if a model cannot be loaded.
        OSError: if the port cannot be listened on.
    """

    def __init__(
        self, models: Mapping[str, str | Path] | Sequence[ModelSource], options: ServerOptions | None = None
    ) -> None:
        options = options or ServerOptions(port=0)
        if isinstance(models, Sequence):
            sources = models
        else:
            sources = [ModelSource(name, Path(folder)) for name, folder in models.items()]
        self.catalog = Catalog(sources, options.shape_policy)
        self.host = options.host
        threads = ThreadPoolExecutor(THREADS_PER_CORE * (os.cpu_count() or 1), thread_name_prefix="serving")
        handler = _Handler(methods(self.catalog, options.enable_serialization_as_tensor_content))
        self._threads = threads
        self._server = grpc.server(threads, handlers=[handler], options=_GRPC_OPTIONS)
        self.port = self._listen(options)
        self._server.start()

    @property
    def address(self) -> str:
        """Where a client finds the server: host and port."""
        return f"{self.host}:{self.port}"

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Refuses new requests, waits for those under way, at most `grace_s` seconds, and frees the models."""
        self._server.stop(grace_s).wait()
        self._threads.shutdown()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _listen(self, options: ServerOptions) -> int:
        try:
            port = self._server.add_insecure_port(f"{options.host}:{options.port}")
        except RuntimeError:
            port = 0
        if port == 0:
            self.stop(0)
            raise OSError(
                f"`port` must be free on {options.host}. Received {options.port}, which cannot be listened on; "
                "0 chooses a free one."
            )
        return port


def serve(sources: Sequence[ModelSource], options: ServerOptions) -> None:
    """Serves until the process is asked to end (SIGTERM, SIGINT); requests under way are finished then.

    Args:
        sources: the models.
        options: where to listen and how to answer.

    Raises:
        ValueError: if a model cannot be loaded.
        OSError: if the port cannot be listened on.
    """
    asked_to_stop = threading.Event()

    def ask_to_stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # whoever asks twice does not want to wait
        asked_to_stop.set()

    with Server(sources, options) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask_to_stop)
        print(f"serving {server.catalog} on {server.address}", flush=True)
        asked_to_stop.wait()


def sources_from(model_name: str, model_base_path: Path | None, model_config_file: Path | None) -> list[ModelSource]:
    """Returns the models that the command line names: one by its folder, or those of a file.

    Raises:
        ValueError: if neither or both are given, or the file is wrong.
    """
    if model_config_file and not model_base_path:
        return read_config(model_config_file)
    if model_base_path and not model_config_file:
        return [ModelSource(model_name, model_base_path.absolute())]
    raise ValueError("Give either --model_base_path (with --model_name) or --model_config_file.")


def methods(catalog: Catalog, content: bool = False) -> dict[str, Method]:
    """Returns the methods that are served, by full name: each takes and returns a serialised message."""
    return {
        "/tensorflow.serving.PredictionService/Predict": functools.partial(_predict, catalog, content),
        "/tensorflow.serving.PredictionService/GetModelMetadata": functools.partial(_metadata, catalog),
        "/tensorflow.serving.ModelService/GetModelStatus": functools.partial(_status, catalog),
    }


def _predict(catalog: Catalog, content: bool, raw: bytes) -> bytes:
    request = PredictRequest.FromString(raw)
    _require_spec(request)
    return predict(catalog.resolve(request.model_spec), request, content)


def _metadata(catalog: Catalog, raw: bytes) -> bytes:
    request = GetModelMetadataRequest.FromString(raw)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != SIGNATURE_FIELD:
            raise invalid(f"Metadata field {name} is not supported")
    _require_spec(request)
    servable = catalog.resolve(request.model_spec)
    reply = GetModelMetadataResponse()
    reply.model_spec.name = servable.name
    reply.model_spec.version.value = servable.version
    reply.metadata[SIGNATURE_FIELD].Pack(SignatureDefMap(signature_def=servable.signatures))
    return reply.SerializeToString()


def _status(catalog: Catalog, raw: bytes) -> bytes:
    request = GetModelStatusRequest.FromString(raw)
    _require_spec(request)
    return GetModelStatusResponse(model_version_status=catalog.status(request.model_spec)).SerializeToString()


def _require_spec(request: PredictRequest | GetModelMetadataRequest | GetModelStatusRequest) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


class _Handler(grpc.GenericRpcHandler):
    """Hands the bytes of a request to its method, and an error's code and message to the client."""

    def __init__(self, served: Mapping[str, Method]) -> None:
        self._served = served

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = self._served.get(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(functools.partial(_answer, method))


def _answer(method: Method | None, raw: bytes, context: grpc.ServicerContext) -> bytes | None:
    if method is None:
        return context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
    try:
        return method(raw)
    except DecodeError:
        return context.abort(grpc.StatusCode.INTERNAL, "")
    except RequestError as error:
        return context.abort(error.code, error.message)
