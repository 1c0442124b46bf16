"""The embedded server: TensorFlow Serving's gRPC services over a catalogue of models, in one Python process."""

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tfmedcai.serving.catalog import Catalog
from tfmedcai.serving.config_files import read
from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.examples import classify, multi_inference, regress
from tfmedcai.serving.metrics import Metrics
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.predict import predict
from tfmedcai.serving.rest import METRICS_PATH, Rest, RestServer
from tfmedcai.serving.servables import Servable
from tfmedcai.serving.sources import ModelSource, sources_of
from tfmedcai.serving.tensors import MAX_BYTES
from tfmedcai.serving.tls import server_credentials

SIGNATURE_FIELD = "signature_def"
HEALTH_NAMES = ("", "ModelService", "PredictionService")  # TensorFlow Serving's, without the package
REFLECTED = [
    service.full_name
    for file in (prediction_service_pb2, model_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
GRACE_S = 30.0  # how long a server that is told to stop waits for the requests under way
QUIET_S = 0.1  # without a new request, until a server that stops believes that none is on its way
THREADS_PER_CORE = 4  # as tensorflow_model_server
_GRPC_OPTIONS = (("grpc.max_receive_message_length", MAX_BYTES), ("grpc.max_send_message_length", MAX_BYTES))
Method = Callable[[bytes], bytes]


class Server:
    """A running server; use it as a context manager, or call `stop`.

    Args:
        models: folders of models by name, or sources with versions and labels.
        options: where to listen and how to answer.
        reread: reads the list of models again, every `model_config_file_poll_wait_seconds`.
        share_port: let other processes listen on the same port; else a second server there is refused.

    Raises:
        ValueError: if a model cannot be loaded.
        OSError: if the port cannot be listened on.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path] | Sequence[ModelSource],
        options: ServerOptions | None = None,
        reread: Callable[[], Sequence[ModelSource]] | None = None,
        *,
        share_port: bool = False,
    ) -> None:
        options = options or ServerOptions(port=0)
        if isinstance(models, Sequence):
            sources = models
        else:
            sources = [ModelSource(name, Path(folder)) for name, folder in models.items()]
        self.metrics = Metrics()
        self.catalog = Catalog(sources, options, self.metrics)
        self.host = options.host
        threads = ThreadPoolExecutor(THREADS_PER_CORE * (os.cpu_count() or 1), thread_name_prefix="serving")
        services = Services(self.catalog, options)
        self._threads, self._share_port = threads, share_port
        grpc_options = [*_GRPC_OPTIONS, ("grpc.so_reuseport", int(share_port))]
        self._handler, self._started = _Handler(services.methods), False
        self._server = grpc.server(threads, handlers=[self._handler], options=grpc_options)
        reflection.enable_server_reflection([*REFLECTED, reflection.SERVICE_NAME], self._server)
        self._rest: RestServer | None = None
        try:
            self.port = self._listen(options)
            self._rest = self._open_rest(options)
        except (OSError, ValueError):
            self.stop(0)
            raise
        self._server.start()
        self._started = True
        self.catalog.watch(reread)

    @property
    def address(self) -> str:
        """Where a client finds the server: host and port."""
        return f"{self.host}:{self.port}"

    @property
    def rest_port(self) -> int | None:
        """Port of the REST interface; None if it is not open."""
        return self._rest.port if self._rest is not None else None

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Refuses new requests, waits for those under way, at most `grace_s` seconds, and frees the models."""
        if self._rest is not None:
            self._rest.stop()
        if self._started:
            self._handler.drain(grace_s)
        self._server.stop(grace_s).wait()
        self._threads.shutdown()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _listen(self, options: ServerOptions) -> int:
        address = f"{options.host}:{options.port}"
        try:
            if options.ssl_config_file is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, server_credentials(options.ssl_config_file))
        except RuntimeError:
            port = 0
        if port == 0:
            raise OSError(
                f"`port` must be free on {options.host}. Received {options.port}, which cannot be listened on; "
                "0 chooses a free one."
            )
        return port

    def _open_rest(self, options: ServerOptions) -> RestServer | None:
        if not options.rest_api_port:
            return None
        path: str | None = METRICS_PATH
        if options.monitoring_config_file is not None:
            prometheus = read(options.monitoring_config_file, "MonitoringConfig").prometheus_config
            path = (prometheus.path or METRICS_PATH) if prometheus.enable else None
        rest = Rest(self.catalog, self.metrics, path)
        return RestServer(rest, self.host, max(0, options.rest_api_port), share_port=self._share_port)


class Services:
    """The methods of TensorFlow Serving's gRPC services over a catalogue; each takes and returns serialised messages.

    Args:
        catalog: the models.
        options: how to answer.
    """

    def __init__(self, catalog: Catalog, options: ServerOptions) -> None:
        self.catalog = catalog
        self._content = options.enable_serialization_as_tensor_content
        self._is_one_of_several = options.workers > 1
        prediction, model = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
        self.methods: dict[str, Method] = {
            f"{prediction}Predict": self._predict,
            f"{prediction}Classify": self._classify,
            f"{prediction}Regress": self._regress,
            f"{prediction}MultiInference": self._multi_inference,
            f"{prediction}GetModelMetadata": self._metadata,
            f"{model}GetModelStatus": self._status,
            f"{model}HandleReloadConfigRequest": self._reload,
        }
        if options.enable_grpc_healthcheck_service:
            self.methods["/grpc.health.v1.Health/Check"] = _health

    def _predict(self, raw: bytes) -> bytes:
        request = PredictRequest.FromString(raw)
        with self._leased(request.model_spec, request, "Predict") as servable:
            return predict(servable, request, self._content)

    def _classify(self, raw: bytes) -> bytes:
        request = ClassificationRequest.FromString(raw)
        with self._leased(request.model_spec, request, "Classify") as servable:
            return classify(servable, request).SerializeToString()

    def _regress(self, raw: bytes) -> bytes:
        request = RegressionRequest.FromString(raw)
        with self._leased(request.model_spec, request, "Regress") as servable:
            return regress(servable, request).SerializeToString()

    def _multi_inference(self, raw: bytes) -> bytes:
        request = MultiInferenceRequest.FromString(raw)
        spec = request.tasks[0].model_spec if request.tasks else ModelSpec()
        with self._leased(spec, None, "MultiInference") as servable:
            return multi_inference(servable, request).SerializeToString()

    def _metadata(self, raw: bytes) -> bytes:
        request = GetModelMetadataRequest.FromString(raw)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != SIGNATURE_FIELD:
                raise invalid(f"Metadata field {name} is not supported")
        _require_spec(request)
        return metadata(self.catalog, request.model_spec).SerializeToString()

    def _status(self, raw: bytes) -> bytes:
        request = GetModelStatusRequest.FromString(raw)
        _require_spec(request)
        return GetModelStatusResponse(model_version_status=self.catalog.status(request.model_spec)).SerializeToString()

    def _reload(self, raw: bytes) -> bytes:
        if self._is_one_of_several:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "One of several workers cannot change the models of all: edit the model config file instead.",
            )
        config = ReloadConfigRequest.FromString(raw).config
        if config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        try:
            sources = sources_of(config, self.catalog.sources)
        except ValueError as error:
            raise invalid(str(error)) from error
        self.catalog.reload(sources)
        reply = ReloadConfigResponse()
        reply.status.SetInParent()
        return reply.SerializeToString()

    @contextmanager
    def _leased(self, spec: ModelSpec, request: Any, api: str) -> Iterator[Servable]:
        """Lends a request its model, and counts it."""
        if request is not None:
            _require_spec(request)
        with self.catalog.counted(spec.name, api, "GRPC"), self.catalog.lease(spec) as servable:
            yield servable


def metadata(catalog: Catalog, spec: ModelSpec) -> GetModelMetadataResponse:
    """Returns the signatures of the version that `spec` asks for.

    Raises:
        RequestError: if there is no such model or version.
    """
    reply = GetModelMetadataResponse()
    with catalog.lease(spec) as servable:
        reply.model_spec.name = servable.name
        reply.model_spec.version.value = servable.version
        reply.metadata[SIGNATURE_FIELD].Pack(SignatureDefMap(signature_def=servable.signatures))
    return reply


def _health(raw: bytes) -> bytes:
    if HealthCheckRequest.FromString(raw).service not in HEALTH_NAMES:
        raise RequestError(grpc.StatusCode.NOT_FOUND, "service name unknown")
    return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


class _Handler(grpc.GenericRpcHandler):
    """Hands the bytes of a request to its method, and an error's code and message to the client."""

    def __init__(self, served: Mapping[str, Method]) -> None:
        self._served = served
        self._open = 0
        self._change = threading.Condition()
        self._closing = False

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method
        if method.startswith("/grpc.reflection."):
            return None
        with self._change:
            self._open += 1
            refused = self._closing
        return grpc.unary_unary_rpc_method_handler(
            functools.partial(self._answer, _refuse if refused else self._served.get(method))
        )

    def drain(self, grace_s: float) -> None:
        """Answers what comes now with UNAVAILABLE, so that it is asked elsewhere, and waits for what came before.

        A stopping gRPC server would cancel what it has received and not yet handed out.
        """
        with self._change:
            self._closing = True
            deadline = time.monotonic() + grace_s
            while self._change.wait_for(lambda: self._open == 0, max(0.0, deadline - time.monotonic())):
                # Quiet for a moment: nothing is on its way any more.
                if not self._change.wait_for(lambda: self._open > 0, QUIET_S):
                    return

    def _answer(self, method: Method | None, raw: bytes, context: grpc.ServicerContext) -> bytes | None:
        try:
            return _answer(method, raw, context)
        finally:
            with self._change:
                self._open -= 1
                self._change.notify_all()


def _refuse(raw: bytes) -> bytes:
    raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server is being stopped.")


def _answer(method: Method | None, raw: bytes, context: grpc.ServicerContext) -> bytes | None:
    if method is None:
        return context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
    try:
        return method(raw)
    except DecodeError:
        return context.abort(grpc.StatusCode.INTERNAL, "")
    except RequestError as error:
        return context.abort(error.code, error.message)
