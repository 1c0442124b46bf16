"""Networks by name without weights, and those of a run or an export with theirs: `tfmedcai.from_preset`."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pydantic import ValidationError

from tfmedcai import presets, registry
from tfmedcai.config import Settings, Table, explain
from tfmedcai.runs import ModelFolder, Run, read_json
from tfmedcai.serving.export import MODEL_CARD
from tfmedcai.serving.servables import DEFAULT_SIGNATURE
from tfmedcai.serving.sources import versions_in
from tfmedcai.tasks.fitting import load_model
from tfmedcai.tasks.task import build_network, candidate_of


class ExportedModel:
    """A version of an exported model: TensorFlow functions from named arrays to named arrays, in this process.

    Args:
        folder: the version's folder.

    Attributes:
        card: what the model card says: task, architecture, measured errors, axes and units of inputs and outputs.
        signatures: what can be asked, by name, as TensorFlow functions of named tensors.

    Raises:
        ValueError: if the folder holds no model that can be loaded.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._loaded = tf.saved_model.load(str(folder))  # its weights live as long as it does
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ValueError(f"{folder}: cannot load this model: {str(error).splitlines()[0]}") from error
        self.folder = folder
        self.card: dict[str, Any] = read_json(folder / MODEL_CARD)
        self.signatures: Mapping[str, Any] = dict(self._loaded.signatures)

    def __call__(self, signature: str = DEFAULT_SIGNATURE, **inputs: Any) -> dict[str, np.ndarray]:
        """Answers for one batch of inputs.

        Args:
            signature: one of `signatures`.
            inputs: arrays by the names of the signature's inputs; `card["signatures"]` tells axes and units.

        Returns:
            The outputs by name.

        Raises:
            ValueError: if the signature is unknown, or an input is missing, unknown, or of another type or shape.
        """
        if signature not in self.signatures:
            raise ValueError(f"`signature` must be one of {sorted(self.signatures)}. Received {signature!r}.")
        function = self.signatures[signature]
        expected: dict[str, tf.TensorSpec] = function.structured_input_signature[1]
        if inputs.keys() != expected.keys():
            known = ", ".join(_described(expected[name]) for name in sorted(expected))
            raise ValueError(
                f"the inputs of `{signature}` must be {known}. Received {', '.join(sorted(inputs)) or 'none'}."
            )
        answers = function(**{name: _tensor(value, expected[name]) for name, value in inputs.items()})
        return {name: answer.numpy() for name, answer in answers.items()}


def from_preset(name_or_folder: str | Path, **overrides: Any) -> "keras.Model | ExportedModel":
    """Returns a network: by its name without weights, out of a folder with them. Nothing is downloaded.

    - The name of a preset (`python -m tfmedcai.search --list`): the published architecture in its published size, its
      weights drawn at random. Of `prost` and its peers this is the network that compares images.
    - A run folder: its best trained network; a folder `best/seed_1` or `baselines/NAME/seed_0` in it, or a file of
      Keras: that network. Keras's safe mode loads it, so nothing of the file is executed.
    - An exported folder, or one version in it: an `ExportedModel`, whose inputs and outputs are those that are served.

    A name goes before a folder of the same name; write `./csl` for the folder.

    Args:
        name_or_folder: a name or a path.
        overrides: of a preset, what is to differ from the published network: `input_shape`, `outputs`, `per_pixel`,
            sizes such as `filters`.

    Raises:
        ValueError: if there is no such preset or folder, the folder has no trained network, or an override does not
            belong to the network or does not fit.

    >>> import tfmedcai
    >>> tfmedcai.from_preset("snapnet_a", filters=4, outputs=2).output_shape
    (None, 2)
    """
    if isinstance(name_or_folder, str) and name_or_folder in presets.names():
        return _untrained(name_or_folder, overrides)
    path = Path(name_or_folder)
    if not path.exists():
        known = presets.names()
        raise ValueError(
            f"`{name_or_folder}` is neither a folder nor one of the presets: {', '.join(known)}."
            f"{registry.did_you_mean(str(name_or_folder), known)}"
        )
    if overrides:
        raise ValueError(f"{path}: what is trained keeps its sizes: leave out {', '.join(sorted(overrides))}.")
    return _trained(path)


def _untrained(name: str, overrides: dict[str, Any]) -> keras.Model:
    preset = presets.read(name)
    candidate = candidate_of(preset, Settings())
    network = candidate if isinstance(candidate, str) else registry.load("spaces", candidate.space).network
    table = getattr(Settings(), network, None)
    sizes = set(type(table).model_fields) if isinstance(table, Table) else set()
    arguments = inspect.signature(registry.load("networks", network)).parameters.values()
    named = {argument.name for argument in arguments if argument.kind is argument.KEYWORD_ONLY} - {"name"}
    known = sorted({one for one in sizes if not one.startswith("search_")} | named | preset["ends"].keys())
    for given in overrides:
        if given not in known:
            raise ValueError(
                f"`{given}` is not one of the arguments of `{name}`: {', '.join(known)}."
                f"{registry.did_you_mean(given, known)}"
            )
    changes = {given: value for given, value in overrides.items() if given in sizes}
    try:
        settings = Settings().updated(preset["sizes"]).updated({network: changes} if changes else {})
    except ValidationError as error:
        raise ValueError(f"{name}: {explain(error)}") from error
    ends = preset["ends"] | {given: value for given, value in overrides.items() if given not in sizes}
    ends["input_shape"] = tuple(ends["input_shape"])
    return build_network(settings, candidate, search=False, **ends)


def _trained(path: Path) -> "keras.Model | ExportedModel":
    if path.is_file():
        return load_model(path)
    run, folder = Run(path), ModelFolder(path)
    if run.settings.is_file():
        return load_model(run.must_be_trained()[0].model)
    if folder.model.is_file():
        return load_model(folder.model)
    versions = versions_in(path)
    version = versions[max(versions)] if versions else path
    if tf.saved_model.contains_saved_model(str(version)):
        return ExportedModel(version)
    raise ValueError(f"{path}: neither a run folder nor an exported model. Name a folder that a command wrote.")


def _described(spec: tf.TensorSpec) -> str:
    sizes = "of any shape" if spec.shape.rank is None else [size or "?" for size in spec.shape.as_list()]
    return f"{spec.name} {spec.dtype.name} {sizes}".replace("'", "")


def _tensor(value: Any, spec: tf.TensorSpec) -> tf.Tensor:
    try:
        tensor = tf.convert_to_tensor(value, dtype=spec.dtype)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ValueError(f"`{spec.name}` must be {_described(spec)}: {str(error).splitlines()[0]}") from error
    if not spec.shape.is_compatible_with(tensor.shape):
        raise ValueError(f"`{spec.name}` must be {_described(spec)}. Received {tensor.shape.as_list()}.")
    return tensor
