"""Tensors on the wire, against TensorFlow's own encoder and decoder."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from tfmedcai.serving.tensors import MAX_BYTES, WIRE, decode, encode, type_name

NUMBERS = [1, 0, 127, 128, 300, 65535, 2**31 - 1]


def values_of(dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([*(n for n in NUMBERS if n <= info.max), info.min, info.max], dtype)
    return np.array([0, 1, -2.5, 1024]).astype(dtype)


def proto_of(array: np.ndarray, content: bool) -> TensorProto:
    return TensorProto.FromString(b"".join(encode(array, content)))


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("enum", sorted(WIRE), ids=type_name)
def test_every_type_is_read_by_tensorflow_and_by_us(enum, content):
    array = values_of(WIRE[enum].dtype)
    proto = proto_of(array.reshape(-1, 1), content)
    assert bool(proto.tensor_content) is content
    for read in (decode(proto), tf.make_ndarray(proto)):
        assert read.dtype == array.dtype
        assert read.shape == (len(array), 1)
        assert np.array_equal(read.ravel(), array)


@pytest.mark.parametrize("enum", sorted(WIRE), ids=type_name)
def test_tensorflows_own_messages_are_read(enum):
    array = values_of(WIRE[enum].dtype)
    assert np.array_equal(decode(tf.make_tensor_proto(array)), array)
    assert np.array_equal(decode(tf.make_tensor_proto(array[1])), array[1])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_integers_of_any_length_survive(numbers):
    array = np.array(numbers, np.int64)
    assert np.array_equal(decode(proto_of(array, False)), array)


def test_strings_scalars_and_empty_arrays_survive():
    strings = np.array([[b"ab", b"\xff\x00", b""]], object)
    assert np.array_equal(decode(proto_of(strings, False)), strings)
    assert decode(proto_of(np.array(["text"]), False)).tolist() == [b"text"]
    assert decode(proto_of(np.float32(2.5), False)).shape == ()
    assert decode(proto_of(np.zeros((0, 3), np.float32), False)).shape == (0, 3)


def test_strings_in_content_are_split_by_their_lengths():
    proto = TensorProto(dtype=types_pb2.DT_STRING, tensor_shape={"dim": [{"size": 2}]})
    proto.tensor_content = b"\x02\xc8\x01" + b"ab" + b"x" * 200
    assert decode(proto).tolist() == [b"ab", b"x" * 200]
    proto.tensor_content += b"y"
    with pytest.raises(ValueError, match="must have 205 bytes"):
        decode(proto)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tensor_shape": {"dim": [{"size": -1}]}}, "0 or more"),
        ({"tensor_shape": {"dim": [{"size": 2**31}] * 3}}, "elements"),
        ({"tensor_shape": {"dim": [{"size": MAX_BYTES // 2}]}}, "fit into"),
        ({"tensor_shape": {"dim": [{"size": 2}]}, "tensor_content": b"abc"}, "must have 8 bytes"),
        ({"dtype": types_pb2.DT_BOOL, "tensor_shape": {"dim": [{"size": 1}]}, "tensor_content": b"\x02"}, "0 and 1"),
        ({"dtype": types_pb2.DT_VARIANT}, "type that can be sent"),
        ({"dtype": types_pb2.DT_STRING, "tensor_shape": {"dim": [{"size": 2**30}]}}, "fit into"),
    ],
)
def test_what_does_not_fit_is_refused_before_memory_is_taken(fields, message):
    with pytest.raises(ValueError, match=message):
        decode(TensorProto(**{"dtype": types_pb2.DT_FLOAT, **fields}))


def test_half_precision_is_sent_bit_for_bit():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        array = np.array([0.1, -3.0, 65504.0]).astype(dtype)
        assert decode(proto_of(array, False)).tobytes() == array.tobytes()


def test_array_of_objects_that_no_tensor_holds_is_refused():
    with pytest.raises(ValueError, match="datetime64"):
        encode(np.array(["2020-01-01"], "datetime64[D]"))
