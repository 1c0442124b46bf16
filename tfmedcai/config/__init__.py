"""The settings of a run: typed, validated before TensorFlow is imported, read from TOML."""

from tfmedcai.config.registration import CaseFiles, RegisterSettings
from tfmedcai.config.searches import BayesianSettings, Fit, HyperbandSettings, SupernetSettings
from tfmedcai.config.settings import NO_BASELINE, RELAXING_ORACLE, Settings, check_names, explain, read_settings
from tfmedcai.config.table import Table
from tfmedcai.config.tasks import PoseSettings, RegistrationSettings, SegmentationSettings, TrackingSettings

__all__ = [
    "NO_BASELINE",
    "RELAXING_ORACLE",
    "BayesianSettings",
    "CaseFiles",
    "Fit",
    "HyperbandSettings",
    "PoseSettings",
    "RegisterSettings",
    "RegistrationSettings",
    "SegmentationSettings",
    "Settings",
    "SupernetSettings",
    "Table",
    "TrackingSettings",
    "check_names",
    "explain",
    "read_settings",
]
