"""Reads TensorFlow Serving's text files on batching, encryption and monitoring: its package lacks their messages."""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

_PACKAGE = "tfmedcai.serving.files"
_WRAPPERS = wrappers_pb2.DESCRIPTOR.name
_INT64, _STRING, _BOOL, _MESSAGE = (
    getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name}") for name in ("INT64", "STRING", "BOOL", "MESSAGE")
)
_WHOLE = ".google.protobuf.Int64Value"
# Message -> field -> its type, or the message that it is. Field numbers do not matter in text.
_MESSAGES: dict[str, dict[str, Any]] = {
    "BatchingParameters": {
        "max_batch_size": _WHOLE,
        "batch_timeout_micros": _WHOLE,
        "max_enqueued_batches": _WHOLE,
        "num_batch_threads": _WHOLE,
        "thread_pool_name": ".google.protobuf.StringValue",
        "allowed_batch_sizes": [_INT64],
        "pad_variable_length_inputs": _BOOL,
        "enable_large_batch_splitting": ".google.protobuf.BoolValue",
        "max_execution_batch_size": _WHOLE,
    },
    "SSLConfig": {"server_key": _STRING, "server_cert": _STRING, "custom_ca": _STRING, "client_verify": _BOOL},
    "PrometheusConfig": {"enable": _BOOL, "path": _STRING},
    "MonitoringConfig": {"prometheus_config": f".{_PACKAGE}.PrometheusConfig"},
}


def read(path: Path, message: str) -> Any:
    """Reads a text file as a message of TensorFlow Serving.

    Args:
        path: the file.
        message: `BatchingParameters`, `SSLConfig` or `MonitoringConfig`.

    Returns:
        The message.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no text of that message.
    """
    try:
        return text_format.Parse(path.read_text(), _classes()[message]())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"`{path}` must be the text of a {message}: {error}") from error


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfmedcai/serving/files.proto", package=_PACKAGE, syntax="proto3", dependency=[_WRAPPERS]
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            made = message.field.add(name=field, number=number, label=1)
            if isinstance(kind, list):
                made.label, kind = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED, kind[0]
            if isinstance(kind, str):
                made.type, made.type_name = _MESSAGE, kind
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES)
    return {descriptor.name: message_factory.GetMessageClass(descriptor) for descriptor in found}
