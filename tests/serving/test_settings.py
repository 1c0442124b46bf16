"""The settings of the top-level folder `serving` are readable, and open nothing to the network."""

import re
from pathlib import Path

from tfmedcai.serving.catalog import read_config

SETTINGS = Path(__file__).parents[2] / "serving"


def test_models_config_names_the_pose_model():
    (source,) = read_config(SETTINGS / "models.config")
    assert (source.name, str(source.base_path), source.latest) == ("pose", "/models/pose", 1)


def test_monitoring_is_on():
    text = re.sub(r"#.*", "", (SETTINGS / "monitoring.config").read_text())
    assert re.search(r"prometheus_config \{\s*enable: true", text)


def test_container_listens_on_this_machine_only():
    compose = (SETTINGS / "compose.yaml").read_text()
    ports = re.findall(r'- "([\d.:]+)"', compose)
    assert ports == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


def test_every_file_that_the_container_reads_is_here():
    compose = (SETTINGS / "compose.yaml").read_text()
    files = re.findall(r"- \./([\w.]+):/config/", compose)
    assert sorted(files) == ["batching.config", "models.config", "monitoring.config"]
    assert all((SETTINGS / file).is_file() for file in files)
