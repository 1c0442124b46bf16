"""A small client for TensorFlow Serving's gRPC protocol: numpy arrays in, numpy arrays out."""

import json
from collections.abc import Mapping
from typing import Self

import grpc
import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import (
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
)
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.tensors import MAX_BYTES, decode, delimited, encode_map, type_name

DEFAULT_ADDRESS = "127.0.0.1:8500"
TIMEOUT_S = 60.0
# Only UNAVAILABLE says that the request was not carried out: anything else is not sent twice.
_RETRIES = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BYTES),
    ("grpc.max_send_message_length", MAX_BYTES),
    ("grpc.per_rpc_retry_buffer_size", MAX_BYTES),  # a request larger than this buffer is never retried
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRIES}]})),
)
_SPEC_FIELD = PredictRequest.DESCRIPTOR.fields_by_name["model_spec"].number
_INPUTS_FIELD = PredictRequest.DESCRIPTOR.fields_by_name["inputs"].number
# What a look at the signatures helps with; a model that is not there has none.
_ABOUT_INPUTS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


class Client:
    """Asks a server for predictions.

    Args:
        address: host and port of the server's gRPC service.
        credentials: how to encrypt (see `tls.channel_credentials`); None does not.

    >>> with Client("127.0.0.1:8500") as client:
    ...     client.address
    '127.0.0.1:8500'
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=_OPTIONS)

    def predict(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        signature: str = "",
        version: int | None = None,
        timeout: float = TIMEOUT_S,
    ) -> dict[str, np.ndarray]:
        """Runs a model on the server.

        Args:
            model: name of the model.
            inputs: arrays by the names of the signature's inputs; their dtypes must be the signature's.
            signature: name of the signature; `serving_default` if empty.
            version: number of the version; the newest if None.
            timeout: in seconds, for all attempts together.

        Returns:
            The outputs by name.

        Raises:
            RequestError: with the server's code and message, and what the model expects where that helps.
        """
        spec = _spec(model, version)
        spec.signature_name = signature
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        pieces = [*delimited(_SPEC_FIELD, [spec.SerializeToString()]), *encode_map(_INPUTS_FIELD, arrays, content=True)]
        try:
            raw = self._call("PredictionService/Predict", b"".join(pieces), timeout)
        except RequestError as error:
            raise self._explained(error, model, version) from error
        return {name: decode(proto) for name, proto in PredictResponse.FromString(raw).outputs.items()}

    def status(self, model: str, version: int | None = None, timeout: float = TIMEOUT_S) -> dict[int, str]:
        """Returns the states of a model's versions: `{2: "AVAILABLE"}`.

        Args:
            model: name of the model.
            version: number of the version; all if None.
            timeout: in seconds.

        Raises:
            RequestError: if the server has no such model or version, or cannot be reached.
        """
        request = GetModelStatusRequest(model_spec=_spec(model, version))
        raw = self._call("ModelService/GetModelStatus", request.SerializeToString(), timeout)
        versions = GetModelStatusResponse.FromString(raw).model_version_status
        return {status.version: ModelVersionStatus.State.Name(status.state) for status in versions}

    def metadata(self, model: str, version: int | None = None, timeout: float = TIMEOUT_S) -> dict[str, SignatureDef]:
        """Returns the signatures of a model by name, without those that cannot be asked for predictions.

        Args:
            model: name of the model.
            version: number of the version; the newest if None.
            timeout: in seconds.

        Raises:
            RequestError: if the server has no such model or version, or cannot be reached.
        """
        request = GetModelMetadataRequest(model_spec=_spec(model, version), metadata_field=["signature_def"])
        raw = self._call("PredictionService/GetModelMetadata", request.SerializeToString(), timeout)
        signatures = SignatureDefMap()
        GetModelMetadataResponse.FromString(raw).metadata["signature_def"].Unpack(signatures)
        return {name: item for name, item in sorted(signatures.signature_def.items()) if item.method_name}

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(self, method: str, raw: bytes, timeout: float) -> bytes:
        try:
            return self._channel.unary_unary(f"/tensorflow.serving.{method}")(raw, timeout=timeout)
        except grpc.RpcError as error:
            message = error.details() or "no message"
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                message = f"no server answers at {self.address} ({message}). Start one, or give `--address`."
            raise RequestError(error.code(), message) from error

    def _explained(self, error: RequestError, model: str, version: int | None) -> RequestError:
        if error.code not in _ABOUT_INPUTS:
            return error
        try:
            signatures = self.metadata(model, version)
        except RequestError:
            return error
        expected = "; ".join(describe(name, signature) for name, signature in signatures.items())
        first_line = error.message.split("\n")[0]
        return RequestError(error.code, f"{first_line} Model {model} expects {expected}")


def describe(name: str, signature: SignatureDef) -> str:
    """Returns a signature as one line: `serving_default(image float [?, 8, 8, 1]) -> mask float [?, 2]`."""
    inputs, outputs = (
        ", ".join(f"{alias} {type_name(info.dtype)} {_sizes(info)}" for alias, info in sorted(infos.items()))
        for infos in (signature.inputs, signature.outputs)
    )
    return f"{name}({inputs}) -> {outputs}"


def _sizes(info: TensorInfo) -> str:
    if info.tensor_shape.unknown_rank:
        return "of any shape"
    return f"[{', '.join('?' if dim.size < 0 else str(dim.size) for dim in info.tensor_shape.dim)}]"


def _spec(model: str, version: int | None) -> ModelSpec:
    spec = ModelSpec(name=model)
    if version is not None:
        spec.version.value = version
    return spec
