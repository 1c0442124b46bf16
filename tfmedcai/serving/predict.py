"""Answers one prediction: checks it in TensorFlow Serving's order, runs the graph, writes the reply."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.servables import DEFAULT_SIGNATURE, Servable
from tfmedcai.serving.tensors import decode, delimited, encode_map, type_name

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
WARMUP_LIMIT = 1000  # records; TensorFlow Serving refuses a version with more
# Types that TensorFlow can read but no signature of ours takes: they fail at the check of the type, not of the data.
_NOT_FED = {
    types_pb2.DT_VARIANT,
    types_pb2.DT_QINT8,
    types_pb2.DT_QUINT8,
    types_pb2.DT_QINT16,
    types_pb2.DT_QUINT16,
    types_pb2.DT_QINT32,
}
_RESOURCE_ERROR = (
    "Invalid resource type hash code: 0(name:  type: ). Perhaps a resource tensor was being provided as a feed? "
    "That is not currently allowed. Please file an issue at https://github.com/tensorflow/tensorflow/issues/new, "
    "ideally with a short code snippet that leads to this error message."
)
_OUTPUTS_FIELD = PredictResponse.DESCRIPTOR.fields_by_name["outputs"].number
_SPEC_FIELD = PredictResponse.DESCRIPTOR.fields_by_name["model_spec"].number


def predict(servable: Servable, request: PredictRequest, content: bool = False) -> bytes:
    """Answers a `PredictRequest` with one version of a model.

    Args:
        servable: the version.
        request: names a signature, inputs and, if not all outputs are wanted, an `output_filter`.
        content: reply with `tensor_content` instead of the typed fields.

    Returns:
        The serialised `PredictResponse`.

    Raises:
        RequestError: with TensorFlow Serving's code and message.
    """
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
    protos = _given(signature, request.inputs)
    arrays = {alias: _read(alias, proto) for alias, proto in protos.items()}
    outputs = _wanted(signature, request.output_filter)
    feeds = {}
    for place, (alias, proto) in enumerate(protos.items()):
        info = signature.inputs[alias]
        if proto.dtype != info.dtype:
            expected, received = type_name(info.dtype), type_name(proto.dtype)
            raise invalid(f"Expects arg[{place}] to be {expected} but {received} is provided")
        servable.check_shape(alias, info, arrays[alias])
        feeds[info.name] = arrays[alias]
    values = servable.run(feeds, [_tensor(signature.outputs[alias].name) for alias in outputs])
    spec = ModelSpec(name=request.model_spec.name, signature_name=key)
    spec.version.value = servable.version
    tensors = dict(zip(outputs, values, strict=True))
    pieces = encode_map(_OUTPUTS_FIELD, tensors, content)
    return b"".join([*pieces, *delimited(_SPEC_FIELD, [spec.SerializeToString()])])


def run_signature(
    servable: Servable, signature: SignatureDef, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Runs a signature on arrays that have its names and types already; returns all outputs by name.

    Args:
        servable: the version.
        signature: what is asked of it.
        arrays: inputs by name.

    Returns:
        Arrays by the names of the outputs.

    Raises:
        RequestError: if a shape is refused or a kernel fails.
    """
    feeds = {}
    for alias, array in arrays.items():
        servable.check_shape(alias, signature.inputs[alias], array)
        feeds[signature.inputs[alias].name] = array
    outputs = sorted(signature.outputs)
    values = servable.run(feeds, [_tensor(signature.outputs[alias].name) for alias in outputs])
    return dict(zip(outputs, values, strict=True))


def warm_up(servable: Servable) -> int:
    """Replays the requests that were exported with a version, so that its first user does not wait.

    Args:
        servable: the version; one without such a file is left alone.

    Returns:
        How many requests were replayed. Only predictions are: other kinds of records are passed over.

    Raises:
        ValueError: if the file is damaged, too long, or holds a request that the version refuses.
    """
    path = servable.folder / WARMUP_FILE
    if not path.exists():
        return 0
    replayed = 0
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
            if number >= WARMUP_LIMIT:
                raise ValueError(f"Number of warmup records exceeds the maximum ({WARMUP_LIMIT}) at {path}")
            log = PredictionLog.FromString(record)
            if log.HasField("predict_log"):
                predict(servable, log.predict_log.request)
                replayed += 1
    except (tf.errors.DataLossError, DecodeError) as error:
        raise ValueError(f"{path} is damaged. Please verify your warmup data is in TFRecord format.") from error
    except RequestError as error:
        raise ValueError(f"{path} holds a request that the model refuses: {error}") from error
    return replayed


def _given(signature: SignatureDef, sent: Mapping[str, TensorProto]) -> dict[str, TensorProto]:
    """Pairs the inputs of a signature, by name, with what was sent or with the signature's defaults."""
    expected, defaults = set(signature.inputs), signature.defaults
    if len(sent) > len(expected) or (len(sent) < len(expected) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({_names(sent)}) != "
            f"len({_names(expected)}). Sent extra: {_names(set(sent) - expected)}. "
            f"Missing but required: {_names(expected - set(sent))}."
        )
    protos = {}
    for alias in sorted(expected):
        if alias not in sent and alias not in defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and "
                f"no default value provided. Inputs expected to be in the request {_names(sent)}, or default input "
                f"alias set: {','.join(sorted(defaults))}"
            )
        protos[alias] = sent[alias] if alias in sent else defaults[alias]
    if not set(sent) <= expected:
        used, all_sent = sorted(set(sent) & expected), sorted(sent)
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {','.join(used)}, request input: {','.join(all_sent)}"
        )
    return protos


def _read(alias: str, proto: TensorProto) -> np.ndarray:
    if proto.dtype == types_pb2.DT_RESOURCE:
        raise invalid(_RESOURCE_ERROR)
    if proto.dtype in _NOT_FED:
        return np.empty(0)
    try:
        return decode(proto)
    except ValueError as error:
        raise invalid(f"tensor parsing error: {alias}") from error


def _wanted(signature: SignatureDef, output_filter: Iterable[str]) -> list[str]:
    wanted: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            known = _names(signature.outputs)
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {known}."
            )
        if alias in wanted:
            raise invalid(f"duplicate output tensor alias: {alias}")
        wanted.append(alias)
    return wanted or sorted(signature.outputs)


def _tensor(name: str) -> str:
    # The signature of a SavedModel's initialiser names an operation, not a tensor; the runtime then says so.
    return name if ":" in name else f"{name}:0"


def _names(items: Iterable[str]) -> str:
    return "{" + ",".join(sorted(items)) + "}"
