"""All settings of a run: tables together, read from TOML, checked, with errors that say what to do."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PositiveInt, ValidationError

from tfmedcai import presets, registry
from tfmedcai.config.networks import (
    CslDecoderSettings,
    CslSettings,
    DartsNetSettings,
    DeepImSettings,
    DmwSettings,
    MixedBlockNetSettings,
    MixedBlockSettings,
    ProstMiccaiSettings,
    ProstSettings,
    SnapNetSettings,
    SnapSettings,
    UNet3DSettings,
    UNetSettings,
    VNetSettings,
    VolumetricNetSettings,
)
from tfmedcai.config.registration import RegisterSettings
from tfmedcai.config.searches import (
    BayesianSettings,
    Fit,
    HyperbandSettings,
    LatentSettings,
    LocalSettings,
    SearchSettings,
    SupernetSettings,
    TrainingSettings,
)
from tfmedcai.config.table import Table
from tfmedcai.config.tasks import PoseSettings, RegistrationSettings, SegmentationSettings, TrackingSettings

NO_BASELINE = "none"
RELAXING_ORACLE = "supernet"


class Settings(Table):
    """All settings of a run. Every number is here; nothing is set by environment variables."""

    task: str = Field(default="pose", description="what is learnt (see --list)")
    space: str = Field(default="snap", description="set of architectures searched (see --list)")
    oracle: str = Field(default="latent", description="what proposes the next architecture (see --list)")
    seed: int = Field(default=0, ge=0, description="seed of data, weights and proposals")
    seeds: PositiveInt = Field(default=1, description="repetitions with seed, seed + 1, ...")
    pose: PoseSettings = PoseSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    tracking: TrackingSettings = TrackingSettings()
    registering: RegisterSettings = RegisterSettings()
    registration: RegistrationSettings = RegistrationSettings()
    snap: SnapSettings = SnapSettings()
    snapnet: SnapNetSettings = SnapNetSettings()
    mixed_block: MixedBlockSettings = MixedBlockSettings()
    mixed_block_net: MixedBlockNetSettings = MixedBlockNetSettings()
    unet: UNetSettings = UNetSettings()
    resunet: UNetSettings = UNetSettings()
    csl_decoder: CslDecoderSettings = CslDecoderSettings()
    csl_net: CslSettings = CslSettings()
    csl: CslSettings = CslSettings()
    csl_without_skips: CslSettings = CslSettings()
    sl: CslSettings = CslSettings()
    l_net: CslSettings = CslSettings()
    darts_net: DartsNetSettings = DartsNetSettings()
    volumetric_net: VolumetricNetSettings = VolumetricNetSettings()
    volumetric_mix: VolumetricNetSettings = VolumetricNetSettings()
    unet3d: UNet3DSettings = UNet3DSettings()
    vnet: VNetSettings = VNetSettings()
    prost: ProstSettings = ProstSettings()
    prost_miccai: ProstMiccaiSettings = ProstMiccaiSettings()
    deepim: DeepImSettings = DeepImSettings()
    dmw: DmwSettings = DmwSettings()
    search: SearchSettings = SearchSettings()
    latent: LatentSettings = LatentSettings()
    local: LocalSettings = LocalSettings()
    supernet: SupernetSettings = SupernetSettings()
    bayesian: BayesianSettings = BayesianSettings()
    hyperband: HyperbandSettings = HyperbandSettings()
    training: TrainingSettings = TrainingSettings()
    baseline: Fit = Field(default=Fit(), description="fit of the hand-made networks")

    def all_seeds(self) -> range:
        """Returns the seeds of the repetitions.

        >>> list(Settings(seed=3, seeds=2).all_seeds())
        [3, 4]
        """
        return range(self.seed, self.seed + self.seeds)

    def digest(self) -> str:
        """Returns eight hexadecimal digits that tell these settings from others."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def smoke(self) -> Self:
        """Returns the same settings at the smallest size that still goes the whole way."""
        small_csl = {"filters": 4, "search_filters": 4, "backbone": "vgg13", "weights": None}
        return self.updated(
            {
                "seeds": 1,
                "pose": {
                    "images": 10,
                    "evaluation_images": 2,
                    "image_size": (192, 192),
                    "augmentation": 2,
                    "draws": 2,
                    "iterations": (1, 2),
                },
                "segmentation": {
                    "cases": 4,
                    "patch": (32,) * len(self.segmentation.patch),
                    "per_volume": 2,
                    "search_folds": 2,
                    "initialisations": 1,
                    "folds": 2,
                },
                "snapnet": {"filters": 4, "blocks": (1, 1), "search_filters": 4, "search_blocks": (1, 1)},
                "mixed_block": {"nodes": 4, "deepest": 2},
                "mixed_block_net": {"filters": 4, "search_filters": 4},
                "unet": {"filters": 4, "depth": 2},
                "resunet": {"filters": 4, "depth": 2},
                "tracking": {"sequences": 2, "frames": 6, "size": (64, 64), "sigma": 2.0},
                "registering": {
                    "cma_es": {"size": 32, "voxel_mm": 8.0, "patch_px": 2, "population": 8, "generations": 2},
                    "polish": {"size": 32, "voxel_mm": 8.0, "patch_px": 2, "evaluations": 14},
                    "descent": {"size": 32, "voxel_mm": 8.0, "steps": 2},
                    "similarity": {"steps": 2},
                    "frames": 2,
                },
                "csl_net": small_csl,
                "csl": small_csl,
                "csl_without_skips": small_csl,
                "sl": small_csl,
                "l_net": small_csl,
                "darts_net": {"filters": 4, "cells": 2, "search_filters": 4, "search_cells": 2},
                "volumetric_net": {"filters": 4, "search_filters": 4},
                "volumetric_mix": {"filters": 4, "search_filters": 4},
                "unet3d": {"filters": 2},
                "vnet": {"filters": 2},
                "registration": {
                    "subjects": 2,
                    "held_back": 1,
                    "evaluation_subjects": 1,
                    "size": (16, 16, 16),
                    "spacing_mm": 18.0,
                    "image_size": (32, 32),
                    "pixel_mm": 9.0,
                    "steps": 2,
                    "magnitudes": (5.0,),
                    "evaluation_cases": 2,
                    "points": 5,
                    "volume_net": {"filters": (2,), "channels": 1},
                },
                "prost": {
                    "patches": (8, 32),
                    "tokens": (4, 4),
                    "depths": (1, 1),
                    "levels": 1,
                    "exchanges": 1,
                    "logits": 4,
                    "heads": 1,
                    "head_size": 4,
                    "hidden": 4,
                },
                "prost_miccai": {"filters": (4,), "features": 4},
                "deepim": {"filters": 1, "units": 4},
                "dmw": {"filters": 4, "blocks": 2, "units": 4},
                "search": {"trials": 4, "fit": {"epochs": 1, "batch_size": 8}},
                "supernet": {"epochs": 2, "start_epoch": 1, "batch_size": 4},
                "latent": {"initial": 2, "per_round": 2, "lstm_units": 8, "fit_steps": 3},
                "bayesian": {"initial": 6},
                "hyperband": {"max_epochs": 3},
                "training": {"epochs": 1, "batch_size": 8},
            }
        )

    def updated(self, changes: dict[str, Any]) -> Self:
        """Returns these settings with the nested `changes`, validated again."""
        return type(self).model_validate(_merged(self, changes))


def _merged(table: Table, changes: dict[str, Any]) -> dict[str, Any]:
    """Nested tables are merged; any other value, also a mapping, is replaced as a whole."""
    values = table.model_dump()
    for key, value in changes.items():
        inner = getattr(table, key, None)
        values[key] = _merged(inner, value) if isinstance(inner, Table) and isinstance(value, dict) else value
    return values


def read_settings(path: Path) -> Settings:
    """Reads and validates a settings file.

    Args:
        path: a TOML file.

    Returns:
        The settings.

    Raises:
        ValueError: if the file is missing, is not TOML, has an unknown key or a value out of range; the message
            names the file, the key, what was expected and what came.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot read this settings file ({error.strerror}). Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}.") from error
    try:
        settings = Settings.model_validate(values)
        check_names(settings)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return settings


def check_names(settings: Settings) -> None:
    """Checks that task, space, oracles and networks named in the settings are installed.

    Raises:
        ValueError: naming the unknown word, the known ones and the nearest; or if the oracle cannot search the space.
    """
    asked = [("tasks", settings.task), ("spaces", settings.space), ("oracles", settings.oracle)]
    asked += [("oracles", settings.search.baseline)]
    known = (settings.search.baseline, *presets.names())
    asked += [("networks", name) for name in settings.training.baselines or () if name not in known]
    for kind, name in asked:
        if name != NO_BASELINE:
            registry.check(kind, name)
    relaxed = registry.names("supernets")
    if RELAXING_ORACLE in (settings.oracle, settings.search.baseline) and settings.space not in relaxed:
        raise ValueError(
            f"the oracle `{RELAXING_ORACLE}` needs a space that has a supernet: {', '.join(relaxed)}. "
            f"Received `{settings.space}`."
        )


def explain(error: ValidationError) -> str:
    """Returns a validation error as one line: the first problem, with the nearest known key for an unknown one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        table: Any = Settings
        for part in first["loc"][:-1]:
            table = table.model_fields[part].annotation
        return f"unknown setting `{key}`.{registry.did_you_mean(str(first['loc'][-1]), table.model_fields)}"
    more = f" ({error.error_count() - 1} more like this)" if error.error_count() > 1 else ""
    return f"setting `{key}`: {first['msg']}. Received {first['input']!r}.{more}"
