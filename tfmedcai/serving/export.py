"""Writes functions and their weights as a SavedModel version folder that appears whole or not at all."""

import errno
import importlib.metadata
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfmedcai.serving.checks import check_answers, check_graph
from tfmedcai.serving.predict import WARMUP_FILE
from tfmedcai.serving.servables import DEFAULT_SIGNATURE, quiet_tensorflow
from tfmedcai.serving.sources import versions_in
from tfmedcai.serving.tensors import encode
from tfmedcai.tasks.task import Signature

MODEL_CARD = "model_card.json"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def export(
    signatures: Mapping[str, Signature],
    folder: str | Path,
    *,
    card: Mapping[str, object] | None = None,
    version: int | None = None,
) -> Path:
    """Writes a version of a model for this package's server and for TensorFlow Serving.

    The version is written under a hidden name, checked (see `checks`), and only then renamed to its number: a server
    that watches the folder never sees half of it, and one that was interrupted is never taken for a version.

    Args:
        signatures: what can be asked, by name; one must be `serving_default`. Weights that they share are stored once.
            Their examples are stored too: the server runs them when it loads the version, and the reloaded version must
            answer them as the functions do before it gets its number.
        folder: the model's folder; each version is a folder in it, named by its number. Made if absent.
        card: what else the model card says: task, architecture, measured errors; plain JSON values.
        version: its number; the next free one if None.

    Returns:
        The version's folder.

    Raises:
        ValueError: if names do not fit together, the version exists, or the written model fails a check.
        OSError: if the folder cannot be written to.
    """
    folder = Path(folder)
    _check_names(signatures)
    with _hidden(folder) as hidden:
        _check_free(folder, version)
        traced = {name: _trace(name, signature) for name, signature in signatures.items()}
        requests = [_request(folder.name, name, signature.example) for name, signature in signatures.items()]
        _write(hidden, traced, requests, _card(signatures, traced, card or {}))
        check_graph(hidden)
        check_answers(hidden, {name: signature.function for name, signature in signatures.items()}, requests)
        _sync(hidden)
        return _publish(hidden, folder, version)


def next_version(folder: Path) -> int:
    """Returns the number of the version that is exported next to a model's folder."""
    return max(versions_in(folder), default=0) + 1 if folder.exists() else 1


def _check_names(signatures: Mapping[str, Signature]) -> None:
    if DEFAULT_SIGNATURE not in signatures:
        raise ValueError(
            f"`signatures` must have `{DEFAULT_SIGNATURE}`, which a client gets that names none. "
            f"Received {sorted(signatures)}."
        )
    for name, signature in signatures.items():
        if signature.example.keys() != signature.inputs.keys():
            raise ValueError(
                f"`example` of signature `{name}` must have its inputs {sorted(signature.inputs)}. "
                f"Received {sorted(signature.example)}."
            )


@contextmanager
def _hidden(folder: Path) -> Iterator[Path]:
    """Makes a folder that no server takes for a version, and removes it if it is still there at the end."""
    hidden = folder / f".exporting-{uuid.uuid4().hex}"
    try:
        hidden.mkdir(parents=True)
    except OSError as error:
        raise OSError(f"`folder` must be one that can be written to. Received {folder}: {error.strerror}.") from error
    try:
        yield hidden
    except tf.errors.OpError as error:
        raise OSError(f"{folder} could not be written: {error.message}") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _check_free(folder: Path, version: int | None) -> None:
    if version is None:
        return
    if version < 1:
        raise ValueError(f"`version` must be 1 or more. Received {version}.")
    if version in versions_in(folder):
        raise ValueError(f"`version` must be new. Version {version} is in {folder} already; leave it out for the next.")


def _trace(name: str, signature: Signature) -> tf.types.experimental.ConcreteFunction:
    specs = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in signature.inputs.items()}
    traced = tf.function(lambda **inputs: signature.function(**inputs)).get_concrete_function(**specs)
    outputs = traced.structured_outputs
    if not isinstance(outputs, Mapping) or not outputs or not all(tf.is_tensor(value) for value in outputs.values()):
        raise ValueError(f"The function of signature `{name}` must return tensors by name. It returns {outputs!r}.")
    missing = sorted({*specs, *outputs} - set(signature.meaning))
    if missing:
        raise ValueError(
            f"`meaning` of signature `{name}` must state axes and unit of each tensor. Missing: {missing}."
        )
    return traced


def _request(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> PredictRequest:
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(TensorProto.FromString(b"".join(encode(array, content=True))))
    return request


def _card(
    signatures: Mapping[str, Signature],
    traced: Mapping[str, tf.types.experimental.ConcreteFunction],
    card: Mapping[str, object],
) -> dict[str, object]:
    return {
        **card,
        "signatures": {
            name: {
                "inputs": _described(signature.inputs, signature.meaning),
                "outputs": _described(traced[name].structured_outputs, signature.meaning),
            }
            for name, signature in signatures.items()
        },
        "versions": {
            "tfmedcai": importlib.metadata.version("tfmedcai"),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _described(tensors: Mapping[str, tf.TensorSpec], meaning: Mapping[str, str]) -> dict[str, object]:
    shapes = {key: spec.shape.as_list() if spec.shape.rank is not None else None for key, spec in tensors.items()}
    return {
        key: {"dtype": spec.dtype.name, "shape": shapes[key], "meaning": meaning[key]} for key, spec in tensors.items()
    }


def _write(
    folder: Path,
    traced: Mapping[str, tf.types.experimental.ConcreteFunction],
    requests: list[PredictRequest],
    card: Mapping[str, object],
) -> None:
    # A bare module with the variables that the signatures use: a Keras model tracked beside them would write its
    # weights a second time.
    module = tf.Module()
    weights = [weight for function in traced.values() for weight in function.variables]
    module.weights = list({id(weight): weight for weight in weights}.values())
    try:
        with quiet_tensorflow():
            tf.saved_model.save(module, str(folder), signatures=dict(traced))
    except AssertionError as error:
        raise ValueError(f"A signature must use no resource but its variables: {str(error).splitlines()[0]}") from error
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(PredictionLog(predict_log={"request": request}).SerializeToString())
    (folder / MODEL_CARD).write_text(json.dumps(card, indent=2) + "\n")


def _sync(folder: Path) -> None:
    """Waits until the files are on the disk: else a power cut after the rename could leave an empty version."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _publish(hidden: Path, folder: Path, version: int | None) -> Path:
    while True:
        _check_free(folder, version)
        target = folder / str(version or next_version(folder))
        try:
            os.rename(hidden, target)
        except OSError as error:
            if version is None and error.errno in _TAKEN:
                continue  # another export took the number in between
            raise OSError(f"`version` must be a new folder. {target} could not be made: {error.strerror}.") from error
        return target
