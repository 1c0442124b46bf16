"""Tensors on the wire: `TensorProto` messages to and from numpy arrays, without a copy where the format allows it."""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

MAX_BYTES = 2**31 - 1  # of a tensor and of a message: what one gRPC message can carry
Buffer = bytes | memoryview


class Wire(NamedTuple):
    """How values of one type travel when they are not sent as `tensor_content`."""

    dtype: np.dtype
    field: str  # of TensorProto
    packing: np.dtype | None  # elements as they lie in the message; None: as variable-length integers


def _wire(dtype: object, field: str, packing: object = None) -> Wire:
    return Wire(np.dtype(dtype), field, None if packing is None else np.dtype(packing))  # type: ignore[arg-type]


WIRE: "dict[types_pb2.DataType.ValueType, Wire]" = {
    types_pb2.DT_FLOAT: _wire(np.float32, "float_val", "<f4"),
    types_pb2.DT_DOUBLE: _wire(np.float64, "double_val", "<f8"),
    types_pb2.DT_COMPLEX64: _wire(np.complex64, "scomplex_val", "<f4"),
    types_pb2.DT_COMPLEX128: _wire(np.complex128, "dcomplex_val", "<f8"),
    types_pb2.DT_BOOL: _wire(np.bool_, "bool_val", "u1"),
    types_pb2.DT_UINT8: _wire(np.uint8, "int_val"),
    types_pb2.DT_INT8: _wire(np.int8, "int_val"),
    types_pb2.DT_UINT16: _wire(np.uint16, "int_val"),
    types_pb2.DT_INT16: _wire(np.int16, "int_val"),
    types_pb2.DT_INT32: _wire(np.int32, "int_val"),
    types_pb2.DT_INT64: _wire(np.int64, "int64_val"),
    types_pb2.DT_UINT32: _wire(np.uint32, "uint32_val"),
    types_pb2.DT_UINT64: _wire(np.uint64, "uint64_val"),
    types_pb2.DT_HALF: _wire(np.float16, "half_val"),
    types_pb2.DT_BFLOAT16: _wire(ml_dtypes.bfloat16, "half_val"),
}
ENUM = {wire.dtype: enum for enum, wire in WIRE.items()}
_STRING = _wire(object, "string_val")


def type_name(enum: int) -> str:
    """Returns TensorFlow's name of a data type: `"float"`, `"int32"`, `"half"`, ...

    >>> type_name(types_pb2.DT_DOUBLE)
    'double'
    """
    return types_pb2.DataType.Name(enum)[len("DT_") :].lower() if enum in types_pb2.DataType.values() else str(enum)


def decode(proto: TensorProto) -> np.ndarray:
    """Reads a tensor as TensorFlow's kernels do: content wins over values, fewer values repeat the last one.

    Args:
        proto: a tensor of any numeric, boolean or string type; no shape means a scalar.

    Returns:
        The array; it may be read-only, a view on the message. Strings are an object array of `bytes`.

    Raises:
        ValueError: if type, shape and data do not fit together.

    >>> decode(TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape={"dim": [{"size": 3}]}, float_val=[1.0, 2.0]))
    array([1., 2., 2.], dtype=float32)
    """
    shape = _shape(proto.tensor_shape)
    if proto.dtype not in WIRE and proto.dtype != types_pb2.DT_STRING:
        raise ValueError(f"`dtype` must be a type that can be sent. Received {type_name(proto.dtype)}.")
    dtype, field, packing = WIRE.get(proto.dtype, _STRING)
    count = math.prod(shape)
    if count * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"A tensor must fit into {MAX_BYTES} bytes. Received shape {shape} of {dtype}.")
    if dtype.kind == "O":
        return _strings(proto, count).reshape(shape)
    content = proto.tensor_content
    if content:
        return _content(content, dtype, count).reshape(shape)
    values = getattr(proto, field)
    if packing is not None:
        array = np.array(values, packing).view(dtype)
    elif field == "half_val":
        array = np.array(values, np.int64).astype(np.uint16).view(dtype)
    else:
        array = np.array(values, np.uint64 if dtype == np.uint64 else np.int64).astype(dtype)
    return _fill(array, count).reshape(shape)


def encode(array: np.ndarray, content: bool = False) -> list[Buffer]:
    """Writes a tensor as the pieces of a serialised `TensorProto`.

    Args:
        array: numeric or boolean array, or an object array of `bytes` for strings.
        content: as `tensor_content`, which is what a client of numpy arrays reads fastest, instead of the typed field.

    Returns:
        Buffers whose concatenation is the message; the data of numeric arrays is not copied.

    Raises:
        ValueError: if the array's type has no place in a tensor.

    >>> decode(TensorProto.FromString(b"".join(encode(np.array([1, -2, 300], np.int16))))).tolist()
    [1, -2, 300]
    """
    array = np.asarray(array, order="C")
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
    if array.dtype.kind in "OSU":
        strings = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
        return [TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=strings).SerializeToString()]
    if array.dtype not in ENUM:
        raise ValueError(f"An array must hold numbers, booleans or bytes to be sent. Received dtype {array.dtype}.")
    enum = ENUM[array.dtype]
    head = TensorProto(dtype=enum, tensor_shape=shape).SerializeToString()
    if not array.size:
        return [head]
    _, name, packing = WIRE[enum]
    if content or packing is not None:
        data: Buffer = array.reshape(-1).view(np.uint8).data
    else:
        data = _varints(array.reshape(-1))
    number = TensorProto.DESCRIPTOR.fields_by_name["tensor_content" if content else name].number
    return [head, *delimited(number, [data])]


def delimited(number: int, pieces: list[Buffer]) -> list[Buffer]:
    """Wraps the pieces of a message, string or packed list as field `number` of a message around it."""
    length = sum(len(piece) for piece in pieces)
    return [_varint(number << 3 | 2) + _varint(length), *pieces]


def encode_map(number: int, tensors: Mapping[str, np.ndarray], content: bool = False) -> list[Buffer]:
    """Writes named tensors as field `number`, a `map<string, TensorProto>`, of a message around it.

    Args:
        number: of the field.
        tensors: arrays by name, as `encode` takes them.
        content: see `encode`.

    Returns:
        Buffers whose concatenation is the field.
    """
    pieces: list[Buffer] = []
    for name, array in tensors.items():
        pieces += delimited(number, [*delimited(1, [name.encode()]), *delimited(2, encode(array, content))])
    return pieces


def _shape(proto: TensorShapeProto) -> tuple[int, ...]:
    sizes = () if proto.unknown_rank else tuple(dim.size for dim in proto.dim)
    if any(size < 0 for size in sizes):
        raise ValueError(f"`tensor_shape` must have sizes of 0 or more. Received {sizes}.")
    if math.prod(size for size in sizes if size) > MAX_BYTES:
        raise ValueError(f"`tensor_shape` must have at most {MAX_BYTES} elements. Received {sizes}.")
    return sizes


def _content(content: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"`tensor_content` must have {count * dtype.itemsize} bytes. Received {len(content)}.")
    if dtype == np.bool_ and max(content) > 1:
        raise ValueError("`tensor_content` of booleans must hold the bytes 0 and 1 only.")
    return np.frombuffer(content, dtype)


def _fill(values: np.ndarray, count: int) -> np.ndarray:
    if len(values) >= count:
        return values[:count]
    filled = np.full(count, values[-1] if len(values) else 0, values.dtype)
    filled[: len(values)] = values
    return filled


def _strings(proto: TensorProto, count: int) -> np.ndarray:
    values = list(_split(proto.tensor_content, count)) if proto.tensor_content else list(proto.string_val)
    padding = values[-1] if values else b""
    array = np.empty(count, object)
    array[:] = values[:count] + [padding] * (count - len(values))
    return array


def _split(content: bytes, count: int) -> Iterable[bytes]:
    sizes, place = [], 0
    while len(sizes) < count:
        end = next((i for i in range(place, len(content)) if content[i] < 128), None)
        if end is None:
            raise ValueError(f"`tensor_content` must hold the lengths of {count} strings.")
        sizes.append(sum((byte & 127) << 7 * i for i, byte in enumerate(content[place : end + 1])))
        place = end + 1
    if place + sum(sizes) != len(content):
        raise ValueError(f"`tensor_content` must have {place + sum(sizes)} bytes. Received {len(content)}.")
    ends = np.cumsum([place, *sizes]).tolist()
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _varints(values: np.ndarray) -> memoryview:
    """Writes many variable-length integers at once: 7 bits a byte, low bits first, the top bit says "more"."""
    if values.dtype.kind not in "iu":
        values = values.view(np.uint16)
    if values.min() >= 0 and values.max() < 128:
        return values.astype(np.uint8).data
    bits = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    width = (int(bits.max()).bit_length() + 6) // 7
    shifted = bits[:, None] >> (7 * np.arange(width + 1, dtype=np.uint64))
    more = shifted[:, 1:] > 0
    encoded = (shifted[:, :-1] & 127).astype(np.uint8) | more.astype(np.uint8) << 7
    used = np.concatenate([np.ones_like(more[:, :1]), more[:, :-1]], axis=1)
    return encoded[used].data
