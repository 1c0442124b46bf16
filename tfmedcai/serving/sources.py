"""Where models come from: names and folders, or a models.config, and which of their versions are wanted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

PLATFORM = "tensorflow"
_EXPORT = "`python -m tfmedcai.serving export --run RUN` makes it, RUN/export."


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


def chosen_versions(source: ModelSource) -> dict[int, Path]:
    """Returns the folders of the versions to serve, by number.

    Raises:
        ValueError: if the folder is not there, holds no version, or not the versions asked for.
    """
    if not source.base_path.is_dir():
        raise ValueError(
            f"`{source.base_path}` must be the folder of model {source.name}. There is no such folder. {_EXPORT}"
        )
    found = versions_in(source.base_path)
    if source.versions is None:
        chosen = sorted(found)[-source.latest :]
    else:
        chosen = sorted(source.versions or found)
    missing = [version for version in chosen if version not in found]
    if missing or not chosen:
        raise ValueError(
            f"`{source.base_path}` must hold {f'the versions {missing}' if missing else 'a version'} of model "
            f"{source.name}: a SavedModel folder whose name is a number. Found {sorted(found) or 'none'}. {_EXPORT}"
        )
    return {version: found[version] for version in chosen}


def versions_in(base_path: Path) -> dict[int, Path]:
    """Returns the version folders of a model by number; anything whose name is no number is none."""
    with os.scandir(base_path) as entries:
        names = [entry.name for entry in entries if entry.name.isdecimal() and entry.is_dir()]
    return {int(name): base_path / name for name in names if int(name) > 0}


def read_config(path: Path) -> list[ModelSource]:
    """Returns the models in TensorFlow Serving's models.config, the text of a `ModelServerConfig`.

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
    return sources_of(config)


def sources_of(config: ModelServerConfig, served: Mapping[str, ModelSource] | None = None) -> list[ModelSource]:
    """Checks a list of models as TensorFlow Serving does.

    Args:
        config: has a `model_config_list`.
        served: the models that are served now, by name.

    Returns:
        The models.

    Raises:
        ValueError: with TensorFlow Serving's message.
    """
    names: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in names:
            raise ValueError(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        if not os.path.isabs(model.base_path):
            raise ValueError(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if not model.model_platform:
            raise ValueError(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f"ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.name in (served or {}) and model.model_platform != PLATFORM:
            raise ValueError(
                f"Illegal to change a model's platform. For model {model.name} platform was {PLATFORM} and new "
                f"platform requested is {model.model_platform}"
            )
        if model.model_platform != PLATFORM:
            raise ValueError(f"Model {model.name} requests unsupported platform {model.model_platform}")
    return [_source(model) for model in config.model_config_list.config]


def _source(model: ModelConfig) -> ModelSource:
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    chosen = {"all": (), "specific": tuple(policy.specific.versions)}.get(choice or "")
    latest = policy.latest.num_versions or 1
    return ModelSource(model.name, Path(model.base_path), latest, chosen, dict(model.version_labels))
