"""The models that a server holds: from names and folders, or a models.config, to loaded versions found by request."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.options import ShapePolicy
from tfmedcai.serving.predict import warm_up
from tfmedcai.serving.servables import Servable

PLATFORM = "tensorflow"


@dataclass(frozen=True)
class ModelSource:
    """Where the versions of a model come from, and which of them are served."""

    name: str
    base_path: Path
    """folder with one SavedModel folder a version, named by its number"""
    latest: int = 1
    """serve that many of the newest versions"""
    versions: tuple[int, ...] | None = None
    """serve these versions instead; an empty tuple serves all"""
    labels: Mapping[str, int] = field(default_factory=dict)
    """names for versions, such as "stable" and "canary\""""


class Catalog:
    """Loads models and finds the version that a request asks for.

    Args:
        sources: the models; a name may stand once only.
        shape_policy: see `Servable`.

    Raises:
        ValueError: if a folder, version or label is missing, or a version cannot be loaded.
    """

    def __init__(self, sources: Iterable[ModelSource], shape_policy: ShapePolicy = "auto") -> None:
        self._versions: dict[str, dict[int, Servable]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        try:
            for source in sources:
                self._add(source, shape_policy)
        except Exception:  # whatever stopped it, the versions that are loaded already must not stay open
            self.close()
            raise

    def resolve(self, spec: ModelSpec) -> Servable:
        """Returns the version that `spec` asks for: by number, by label, or else the newest.

        Raises:
            RequestError: with TensorFlow Serving's code and message.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        versions = self._versions.get(spec.name, {})
        if choice is None:
            if not versions:
                raise _not_found(f"Servable not found for request: Latest({spec.name})")
            return versions[max(versions)]
        number = spec.version.value
        if choice == "version_label":
            labels = self._labels.get(spec.name, {})
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            number = labels[spec.version_label]
        if number not in versions:
            raise _not_found(f"Servable not found for request: Specific({spec.name}, {number})")
        return versions[number]

    def status(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """Returns the states of a model's versions, newest first; of one where `spec` gives a number.

        Raises:
            RequestError: if there is no such model or version.
        """
        versions = sorted(self._versions.get(spec.name, {}), reverse=True)
        if spec.HasField("version"):
            number = spec.version.value
            if number not in versions:
                raise _not_found(f"Could not find version {number} of model {spec.name}")
            versions = [number]
        if not versions:
            raise _not_found(f"Could not find any versions of model {spec.name}")
        return [_available(version) for version in versions]

    def close(self) -> None:
        """Frees all versions."""
        for versions in self._versions.values():
            for servable in versions.values():
                servable.close()
        self._versions = {}

    def __str__(self) -> str:
        served = [(name, version) for name, versions in self._versions.items() for version in sorted(versions)]
        return ", ".join(f"{name} version {version}" for name, version in served)

    def _add(self, source: ModelSource, shape_policy: ShapePolicy) -> None:
        if source.name in self._versions:
            raise ValueError(f"Illegal to list model {source.name} multiple times in config list")
        loaded = self._versions[source.name] = {}
        for version, folder in chosen_versions(source).items():
            loaded[version] = Servable(source.name, version, folder, shape_policy)
            warm_up(loaded[version])
        for label, version in source.labels.items():
            if version not in loaded:
                raise ValueError(
                    f"Request to assign label to version {version} of model {source.name}, which is not currently "
                    f"available for inference (label `{label}`; served versions: {sorted(loaded)})"
                )
        self._labels[source.name] = source.labels


def chosen_versions(source: ModelSource) -> dict[int, Path]:
    """Returns the folders of the versions to serve, by number.

    Raises:
        ValueError: if the folder is not there, holds no version, or not the versions asked for.
    """
    if not source.base_path.is_dir():
        raise ValueError(f"`{source.base_path}` must be the folder of model {source.name}. There is no such folder.")
    found = versions_in(source.base_path)
    if source.versions is None:
        chosen = sorted(found)[-source.latest :]
    else:
        chosen = sorted(source.versions or found)
    missing = [version for version in chosen if version not in found]
    if missing or not chosen:
        raise ValueError(
            f"`{source.base_path}` must hold {f'the versions {missing}' if missing else 'a version'} of model "
            f"{source.name}: a SavedModel folder whose name is a number. Found {sorted(found) or 'none'}."
        )
    return {version: found[version] for version in chosen}


def versions_in(base_path: Path) -> dict[int, Path]:
    """Returns the version folders of a model by number; anything whose name is no number is none."""
    with os.scandir(base_path) as entries:
        names = [entry.name for entry in entries if entry.name.isdecimal() and entry.is_dir()]
    return {int(name): base_path / name for name in names if int(name) > 0}


def read_config(path: Path) -> list[ModelSource]:
    """Reads a models.config of TensorFlow Serving: text of a `ModelServerConfig` with a `model_config_list`.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a text, or TensorFlow Serving would refuse it.
    """
    try:
        config = text_format.Parse(path.read_text(), ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(f"`{path}` must be the text of a ModelServerConfig: {error}") from error
    if not config.model_config_list.config:
        raise ValueError(f"`{path}` must list models in `model_config_list`. It lists none.")
    return [source_from(model) for model in config.model_config_list.config]


def source_from(model: ModelConfig) -> ModelSource:
    """Checks one model of a models.config.

    Raises:
        ValueError: with TensorFlow Serving's message.
    """
    if not model.model_platform:
        raise ValueError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {model.name}"
        )
    if model.model_platform != PLATFORM:
        raise ValueError(f"Model {model.name} requests unsupported platform {model.model_platform}")
    if not os.path.isabs(model.base_path):
        raise ValueError(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
        )
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    chosen = {"all": (), "specific": tuple(policy.specific.versions)}.get(choice or "")
    latest = policy.latest.num_versions or 1
    return ModelSource(model.name, Path(model.base_path), latest, chosen, dict(model.version_labels))


def _available(version: int) -> ModelVersionStatus:
    status = ModelVersionStatus(version=version, state=ModelVersionStatus.AVAILABLE)
    status.status.SetInParent()
    return status


def _not_found(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
