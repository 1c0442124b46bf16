"""Answers requests whose inputs are `tf.train.Example`s: Classify, Regress and MultiInference."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf import text_format
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest, MultiInferenceResponse
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse

from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.servables import DEFAULT_SIGNATURE, Servable

INPUTS = "inputs"  # the name that a signature for examples gives its one input


class Method(NamedTuple):
    """How the answers of one kind are found in a signature and written into a reply."""

    noun: str
    outputs: Callable[[SignatureDef], dict[str, str]]
    """name in the signature -> tensor of the graph"""
    write: Callable[[dict[str, np.ndarray], int, Any], None]
    """values by name in the signature, number of examples, message to fill"""


def classify(servable: Servable, request: ClassificationRequest) -> ClassificationResponse:
    """Returns the answer of one version of a model to a `ClassificationRequest`.

    Raises:
        RequestError: with TensorFlow Serving's code and message.
    """
    reply = ClassificationResponse()
    _answer(servable, request, METHODS["tensorflow/serving/classify"], reply)
    return reply


def regress(servable: Servable, request: RegressionRequest) -> RegressionResponse:
    """Returns the answer of one version of a model to a `RegressionRequest`.

    Raises:
        RequestError: with TensorFlow Serving's code and message.
    """
    reply = RegressionResponse()
    _answer(servable, request, METHODS["tensorflow/serving/regress"], reply)
    return reply


def multi_inference(servable: Servable, request: MultiInferenceRequest) -> MultiInferenceResponse:
    """Returns the answers to several classifications and regressions of the same examples, from one run of the graph.

    Raises:
        RequestError: with TensorFlow Serving's code and message.
    """
    methods, outputs, feed = _tasks(servable, request)
    examples = serialised_examples(request.input)
    tensors = sorted({tensor for wanted in outputs.values() for tensor in wanted.values()})
    values = dict(zip(tensors, servable.run({feed: examples}, tensors), strict=True))
    reply = MultiInferenceResponse()
    for key, wanted in outputs.items():
        result = reply.results.add(model_spec=_spec(servable, key))
        found = {name: values[tensor] for name, tensor in wanted.items()}
        field = result.classification_result if methods[key].noun == "classification" else result.regression_result
        methods[key].write(found, len(examples), field)
    return reply


def serialised_examples(given: Input) -> np.ndarray:
    """Returns the examples of a request, each with the context that they share, as an object array of `bytes`.

    Raises:
        RequestError: if there are none.
    """
    if given.WhichOneof("kind") == "example_list_with_context":
        context = given.example_list_with_context.context.SerializeToString()
        examples = [context + example.SerializeToString() for example in given.example_list_with_context.examples]
    else:
        examples = [example.SerializeToString() for example in given.example_list.examples]
    if not examples:
        raise invalid("Input is empty.")
    return np.array(examples, object)


def _answer(servable: Servable, request: Any, method: Method, reply: Any) -> None:
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid(f"No signature was found with the name: {key}")
    feed, outputs = _input(signature, method.noun), method.outputs(signature)
    examples = serialised_examples(request.input)
    values = dict(zip(outputs, servable.run({feed: examples}, list(outputs.values())), strict=True))
    method.write(values, len(examples), reply.result)
    reply.model_spec.CopyFrom(_spec(servable, key))


def _tasks(
    servable: Servable, request: MultiInferenceRequest
) -> tuple[dict[str, Method], dict[str, dict[str, str]], str]:
    """Checks the tasks in TensorFlow Serving's order; returns method and outputs by signature, and the one input."""
    methods: dict[str, Method] = {}
    outputs: dict[str, dict[str, str]] = {}
    feeds: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != servable.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        key = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if key in methods:
            raise invalid(f"Duplicate evaluation of signature: {key}")
        if key not in servable.signatures:
            raise invalid(f"Requested signature not found in model graph: {key}")
        if task.method_name not in METHODS:
            raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        methods[key] = METHODS[task.method_name]
        feeds.add(_input(servable.signatures[key], methods[key].noun))
        outputs[key] = methods[key].outputs(servable.signatures[key])
        if len(feeds) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
    return methods, outputs, feeds.pop()


def _input(signature: SignatureDef, noun: str) -> str:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if INPUTS not in signature.inputs:
        raise invalid(f"No {noun} inputs found in SignatureDef: {_text(signature)}")
    return signature.inputs[INPUTS].name


def _class_outputs(signature: SignatureDef) -> dict[str, str]:
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    found = {name: signature.outputs[name].name for name in ("classes", "scores") if name in signature.outputs}
    if not found:
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {_text(signature)}"
        )
    return found


def _write_classes(values: dict[str, np.ndarray], examples: int, result: Any) -> None:
    for name, kind, wanted in (("classes", "string", "O"), ("scores", "float", "f")):
        array = values.get(name)
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_sizes(array.shape)}")
        if array.dtype.kind != wanted:
            raise invalid(f"Expected {name} Tensor of {kind}. Got: {array.dtype}")
        if len(array) != examples:
            raise invalid(f"Expected {name} output batch size of {examples}. Got: {len(array)}")
    shapes = {array.shape for array in values.values()}
    if len(shapes) > 1:
        sizes = " != ".join(_sizes(array.shape) for array in values.values())
        raise invalid(f"Tensors class and score should match in shape: {sizes}")
    labels, scores = (values[name].tolist() if name in values else None for name in ("classes", "scores"))
    for row in range(examples):
        classes = result.classifications.add().classes
        for column in range(next(iter(shapes))[1]):
            entry = classes.add()
            if labels is not None:
                entry.label = labels[row][column].decode(errors="replace")
            if scores is not None:
                entry.score = scores[row][column]


def _regression_output(signature: SignatureDef) -> dict[str, str]:
    if len(signature.outputs) != 1:
        raise invalid("Expected one regression output.")
    if "outputs" not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {_text(signature)}")
    return {"outputs": signature.outputs["outputs"].name}


def _write_values(values: dict[str, np.ndarray], examples: int, result: Any) -> None:
    array = values["outputs"]
    if array.ndim not in (1, 2) or array.shape[1:] not in ((), (1,)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_sizes(array.shape)}"
        )
    if len(array) != examples:
        raise invalid(f"Expected output batch size to be {examples}. Got: {len(array)}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT. Got: {array.dtype}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _spec(servable: Servable, signature: str) -> ModelSpec:
    spec = ModelSpec(name=servable.name, signature_name=signature)
    spec.version.value = servable.version
    return spec


def _text(signature: SignatureDef) -> str:
    return f"goo.gle/debugonly  \n{text_format.MessageToString(signature)}"


def _sizes(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


METHODS = {
    "tensorflow/serving/classify": Method("classification", _class_outputs, _write_classes),
    "tensorflow/serving/regress": Method("regression", _regression_output, _write_values),
}
