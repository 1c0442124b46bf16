"""Tensors and examples as JSON, in the row and the column form of TensorFlow Serving's REST interface."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis.input_pb2 import Input

from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.tensors import WIRE, type_name

Json = Any
BYTES_SUFFIX = "_bytes"  # an output of this name holds bytes, any other output of strings holds text
B64 = "b64"
# Python's words for a syntax error -> RapidJSON's, which TensorFlow Serving's clients may look for.
_SYNTAX = {
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting value": "Invalid value.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Extra data": "The document root must not be followed by other values.",
}
_BITS = {types_pb2.DT_INT32: 32, types_pb2.DT_INT64: 64, types_pb2.DT_UINT32: 32, types_pb2.DT_UINT64: 64}
_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE)
_INTEGERS = (types_pb2.DT_UINT8, types_pb2.DT_INT8, types_pb2.DT_UINT16, types_pb2.DT_INT16, *_BITS)


def parse(body: bytes) -> dict[str, Json]:
    """Returns the JSON object in the body of a request; NaN and Infinity are numbers.

    Raises:
        RequestError: if it is no JSON or no object.
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        reason = next((ours for theirs, ours in _SYNTAX.items() if error.msg.startswith(theirs)), f"{error.msg}.")
        raise invalid(f"JSON Parse error: {reason} at offset: {error.pos}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {pretty(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Json]) -> str:
    """Returns the signature that a request names, or an empty string.

    Raises:
        RequestError: if its name is no text.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _about(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def tensors_from(document: Mapping[str, Json], expected: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """Reads the inputs of a prediction, from "instances" (one value an example) or "inputs" (whole tensors).

    Args:
        document: the parsed body.
        expected: the signature's inputs by name.

    Returns:
        Arrays by name, of the signature's types.

    Raises:
        RequestError: with TensorFlow Serving's code and message.
    """
    if "inputs" in document and "instances" in document:
        raise _about(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if "instances" in document:
        return _rows(document, expected)
    if "inputs" in document:
        return _columns(document["inputs"], expected)
    raise invalid("Missing 'inputs' or 'instances' key")


def rows_of(outputs: Mapping[str, np.ndarray]) -> list[Json]:
    """Returns outputs as one value an example; as objects where there are several outputs.

    Raises:
        RequestError: if they have no common first axis.
    """
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
    sizes = {name: len(array) for name, array in outputs.items()}
    first = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != first:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {size} expecting: {first}")
    columns = {name: _jsonable(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def columns_of(outputs: Mapping[str, np.ndarray]) -> Json:
    """Returns outputs as whole tensors; as an object where there are several."""
    columns = {name: _jsonable(name, array) for name, array in outputs.items()}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def examples_from(document: Mapping[str, Json], method: str) -> Input:
    """Reads the examples, and the context that they share, of a classification or regression.

    Args:
        document: the parsed body.
        method: its name, for messages.

    Returns:
        The examples as TensorFlow Serving's `Input`.

    Raises:
        RequestError: with TensorFlow Serving's code and message.
    """
    if "examples" not in document:
        raise _about(document, f"When method is {method}, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _about(document, "'examples' value is not an array")
    if not examples:
        raise _about(document, "'examples' value is an empty array")
    made = [_example(item) for item in examples]
    given = Input()
    if "context" in document:
        given.example_list_with_context.examples.extend(made)
        given.example_list_with_context.context.CopyFrom(_example(document["context"]))
    else:
        given.example_list.examples.extend(made)
    return given


def pretty(value: Json, indent: int = 0) -> str:
    """Returns JSON as TensorFlow Serving shows it in messages: an object on several lines, a list on one.

    >>> print(pretty({"a": [1, 2.0]}))
    {
        "a": [1, 2.0]
    }
    """
    if isinstance(value, dict) and value:
        inner = " " * (indent + 4)
        lines = [f"{inner}{json.dumps(key)}: {pretty(item, indent + 4)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, list):
        return "[" + ", ".join(pretty(item, indent) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _rows(document: Mapping[str, Json], expected: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _about(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise _about(document, "No values in 'instances' array")
    named = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not named and len(expected) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    parts: dict[str, list[np.ndarray]] = {name: [] for name in sorted(expected)}
    for place, element in enumerate(instances):
        if not named:
            name = next(iter(parts))
            _add(parts[name], element, expected[name], f"Failed to process element: {place} of 'instances' list.")
            continue
        if not isinstance(element, dict):
            raise invalid(f"Failed to process element: {place} of 'instances' list. {_typed(element)} is not object")
        for name, value in element.items():
            place_of = f"Failed to process element: {place} key: {name} of 'instances' list."
            if name not in expected:
                raise invalid(f"{place_of} Error: INVALID_ARGUMENT: JSON object: does not have named input: {name}")
            _add(parts[name], value, expected[name], place_of)
        if element.keys() != expected.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {pretty(element)} keys must be "
                f"equal to: {','.join(parts)}"
            )
    return {name: np.stack(arrays) for name, arrays in parts.items()}


def _add(parts: list[np.ndarray], value: Json, info: TensorInfo, place: str) -> None:
    try:
        array = _array(value, info)
        if parts and parts[0].size != array.size:
            raise invalid(f"Expecting tensor size: {parts[0].size} but got: {array.size}")
        if parts and parts[0].shape != array.shape:
            raise invalid(f"Expecting shape {_sizes(parts[0].shape)} but got: {_sizes(array.shape)}")
    except RequestError as error:
        if error.code != grpc.StatusCode.INVALID_ARGUMENT:
            raise
        raise invalid(f"{place} Error: {error.code.name}: {error.message}") from error
    parts.append(array)


def _columns(inputs: Json, expected: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if isinstance(inputs, dict) and not _is_base64(inputs):
        for name in sorted(expected):
            if name not in inputs:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: _array(value, expected[name]) for name, value in inputs.items() if name in expected}
    if len(expected) > 1:
        raise invalid(
            "'inputs' is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {name: _array(inputs, info) for name, info in expected.items()}


def _array(value: Json, info: TensorInfo) -> np.ndarray:
    """Turns nested lists into an array of the type that the signature has."""
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    leaves: list[Json] = []
    _flatten(value, tuple(shape), leaves)
    return _typed_array(leaves, info.dtype).reshape(shape)


def _flatten(value: Json, shape: tuple[int, ...], leaves: list[Json]) -> None:
    if not shape:
        if isinstance(value, list):
            raise invalid(f"JSON Value: {pretty(value)} is a list where a value is expected: the tensor is ragged")
        leaves.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        received = len(value) if isinstance(value, list) else pretty(value)
        raise invalid(f"Expecting a list of {shape[0]} values but got: {received}: the tensor is ragged")
    if len(shape) == 1 and not any(isinstance(item, list) for item in value):
        leaves.extend(value)
        return
    for item in value:
        _flatten(item, shape[1:], leaves)


def _typed_array(leaves: list[Json], kind: int) -> np.ndarray:
    if kind == types_pb2.DT_STRING:
        array = np.empty(len(leaves), object)
        array[:] = [_bytes(leaf) for leaf in leaves]
        return array
    fits: Callable[[Json], bool]
    if kind == types_pb2.DT_BOOL:
        fits = _is_bool
    elif kind in _FLOATS:
        fits = _is_number
    elif kind in _INTEGERS:
        fits = _fits_in(_BITS.get(kind, 32), signed=not type_name(kind).startswith("uint") or kind not in _BITS)
    else:
        first = pretty(leaves[0]) if leaves else "[]"
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {first} to type: {type_name(kind)}"
        )
    for leaf in leaves:
        if not fits(leaf):
            raise invalid(f"{_typed(leaf)} is not of expected type: {type_name(kind)}")
    dtype = WIRE[kind].dtype
    with np.errstate(over="ignore"):
        if kind in _FLOATS:
            return np.array(leaves, np.float64).astype(dtype)
        # A value that a small integer type cannot hold wraps around, as in TensorFlow Serving.
        return np.array(leaves, np.uint64 if kind == types_pb2.DT_UINT64 else np.int64).astype(dtype)


def _is_bool(value: Json) -> bool:
    return isinstance(value, bool)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fits_in(bits: int, *, signed: bool) -> Callable[[Json], bool]:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < most


def _is_base64(value: Json) -> bool:
    return isinstance(value, dict) and value.keys() == {B64}


def _bytes(value: Json) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not _is_base64(value) or not isinstance(value[B64], str):
        raise invalid(f"{_typed(value)} is not of expected type: string")
    try:
        return base64.b64decode(value[B64], validate=True)
    except binascii.Error as error:
        raise invalid("Unable to base64 decode") from error


def _example(item: Json) -> Example:
    if not isinstance(item, dict):
        raise invalid(f"{_typed(item)} is not object")
    example = Example()
    for name, value in item.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        if all(isinstance(entry, str) or _is_base64(entry) for entry in values):
            feature.bytes_list.value.extend(_bytes(entry) for entry in values)
        elif all(_fits_in(64, signed=True)(entry) for entry in values):
            feature.int64_list.value.extend(values)
        elif all(_is_number(entry) for entry in values):
            feature.float_list.value.extend(values)
        else:
            raise invalid(f"JSON Value: {pretty(value)} feature values must be of one type: numbers or strings")
    return example


def _jsonable(name: str, array: np.ndarray) -> Json:
    if array.dtype == object:
        text = {True: _to_base64, False: _to_text}[name.endswith(BYTES_SUFFIX)]
        return _mapped(array, text)
    if array.dtype.kind not in "fiub" or (array.dtype.itemsize == 2 and array.dtype.kind == "f"):
        raise invalid(f"Failed to write JSON value for tensor type: {_proto_name(array.dtype)}")
    return array.tolist()


def _mapped(array: np.ndarray, text: Callable[[bytes], Json]) -> Json:
    return text(array.item()) if array.ndim == 0 else [_mapped(np.asarray(item, object), text) for item in array]


def _to_base64(value: bytes) -> Json:
    return {B64: base64.b64encode(value).decode()}


def _to_text(value: bytes) -> Json:
    return value.decode(errors="replace")


def _proto_name(dtype: np.dtype) -> str:
    return next((type_name(kind) for kind, wire in WIRE.items() if wire.dtype == dtype), str(dtype))


def _typed(value: Json) -> str:
    kinds = ((bool, "Bool"), (int | float, "Number"), (str, "String"), (list, "Array"), (dict, "Object"))
    kind = next((name for types, name in kinds if isinstance(value, types)), "Null")
    return f"JSON Value: {pretty(value)} Type: {kind}"


def _about(document: Mapping[str, Json], message: str) -> RequestError:
    return invalid(f"JSON Value: {pretty(document)} {message}")


def _sizes(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
