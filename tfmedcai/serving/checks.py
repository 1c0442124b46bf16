"""What a written model must pass before it gets a version number: a stock server runs it, and it answers right."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from tfmedcai.serving.errors import RequestError
from tfmedcai.serving.predict import predict
from tfmedcai.serving.servables import Servable, operations
from tfmedcai.serving.tensors import decode

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-4  # times the largest value: kernels of graph and eager mode may sum in another order
_PYTHON_OPERATIONS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}
_ABSOLUTE_PATH = re.compile(rb"(/[^/\s:]+){2,}/?$|[A-Za-z]:[\\/]|file://")


def check_graph(folder: Path) -> None:
    """Refuses a SavedModel that loads here but fails on another machine.

    Args:
        folder: the SavedModel folder.

    Raises:
        ValueError: if the graph calls back into Python, has operations that stock TensorFlow lacks, must be compiled
            with XLA, or names a file by an absolute path.
    """
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for meta_graph in saved.meta_graphs:
        used = operations(meta_graph)
        _refuse(used & _PYTHON_OPERATIONS, "call back into Python, which a server has not; use TensorFlow operations")
        unknown = {name for name in used if not name.startswith("_") and not hasattr(tf.raw_ops, name)}
        _refuse(unknown, "are custom operations, which a stock server lacks; use TensorFlow's own")
        _refuse(set(_compiled(meta_graph)), "need XLA, which servers leave off; drop `jit_compile=True`")
        _refuse(set(_paths(meta_graph)), "are absolute paths of this machine; make them inputs, or assets")


def check_answers(
    folder: Path, functions: Mapping[str, Callable[..., Mapping[str, tf.Tensor]]], requests: Sequence[PredictRequest]
) -> None:
    """Compares what a written model answers, as the server runs it, with the functions that it was made of.

    Args:
        folder: the SavedModel folder.
        functions: the function of each signature; takes its inputs as keyword arguments, returns outputs by name.
        requests: the examples to compare.

    Raises:
        ValueError: if an example is refused or an answer differs by more than the tolerances above.
    """
    servable = Servable(folder.parent.name, 0, folder, shape_policy="full")
    try:
        for request in requests:
            name = request.model_spec.signature_name
            try:
                reply = PredictResponse.FromString(predict(servable, request))
            except RequestError as error:
                raise ValueError(f"`example` of signature `{name}` must fit its inputs: {error.message}") from error
            inputs = {key: tf.constant(decode(proto)) for key, proto in request.inputs.items()}
            for key, value in functions[name](**inputs).items():
                _check_equal(f"{name}.{key}", decode(reply.outputs[key]), np.asarray(value))
    finally:
        servable.close()


def _check_equal(name: str, received: np.ndarray, expected: np.ndarray) -> None:
    if received.shape != expected.shape or received.dtype != expected.dtype:
        raise ValueError(
            f"Output `{name}` must be {expected.dtype} of shape {expected.shape} as before the export. "
            f"Received {received.dtype} of shape {received.shape}."
        )
    if received.dtype.kind in "iubO":
        agrees, difference = np.array_equal(received, expected), "values"
    else:
        wide = np.complex128 if received.dtype.kind == "c" else np.float64
        received, expected = received.astype(wide), expected.astype(wide)
        finite = np.abs(expected[np.isfinite(expected)])
        tolerance = ABSOLUTE_TOLERANCE * max(1.0, float(finite.max(initial=0.0)))
        agrees = np.allclose(received, expected, rtol=RELATIVE_TOLERANCE, atol=tolerance, equal_nan=True)
        difference = f"values by up to {np.nanmax(np.abs(received - expected), initial=0.0):.3g}"
    if not agrees:
        raise ValueError(
            f"Output `{name}` of the exported model must equal the function's. It differs in {difference}: does the "
            "function draw random numbers, or behave otherwise inside a graph?"
        )


def _refuse(found: set[str], reason: str) -> None:
    if found:
        raise ValueError(f"An exported graph must run on any server. {', '.join(sorted(found))}: these {reason}.")


def _nodes(meta_graph: MetaGraphDef) -> Iterator[NodeDef]:
    yield from meta_graph.graph_def.node
    for function in meta_graph.graph_def.library.function:
        yield from function.node_def


def _compiled(meta_graph: MetaGraphDef) -> Iterator[str]:
    for function in meta_graph.graph_def.library.function:
        if function.attr["_XlaMustCompile"].b:
            yield function.signature.name


def _paths(meta_graph: MetaGraphDef) -> Iterator[str]:
    for node in _nodes(meta_graph):
        if node.op == "Const" and node.attr["dtype"].type == types_pb2.DT_STRING:
            for text in decode(node.attr["value"].tensor).ravel():
                if _ABSOLUTE_PATH.match(text):
                    yield text.decode(errors="replace")
