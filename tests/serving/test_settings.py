"""The settings of the top-level folder `serving` are readable, and open nothing to the network."""

import re
from pathlib import Path

import kubernetes_validate
import yaml

from tfmedcai.serving import config_files
from tfmedcai.serving.sources import read_config

SETTINGS = Path(__file__).parents[2] / "serving"


def test_models_config_names_the_pose_model():
    (source,) = read_config(SETTINGS / "models.config")
    assert (source.name, str(source.base_path), source.latest) == ("pose", "/models/pose", 1)


def test_monitoring_is_on():
    config = config_files.read(SETTINGS / "monitoring.config", "MonitoringConfig").prometheus_config
    assert (config.enable, config.path) == (True, "/monitoring/prometheus/metrics")


def test_the_example_of_keys_is_read_once_keys_are_in_it():
    text = (SETTINGS / "ssl.config.example").read_text()
    assert config_files.read(SETTINGS / "ssl.config.example", "SSLConfig").client_verify
    assert "-----BEGIN PRIVATE KEY-----\\n...\\n" in text  # no key of anybody


def test_manifests_are_valid():
    documents = list(yaml.safe_load_all((SETTINGS / "kubernetes.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Deployment", "Service", "NetworkPolicy"]
    for document in documents:
        kubernetes_validate.validate(document, "1.30", strict=True)
    kustomization = yaml.safe_load((SETTINGS / "kustomization.yaml").read_text())
    (made,) = kustomization["configMapGenerator"]
    (container,) = documents[0]["spec"]["template"]["spec"]["containers"]
    mounted = [argument.split("/config/")[1] for argument in container["args"] if "/config/" in argument]
    assert set(mounted) <= set(made["files"])
    assert all((SETTINGS / file).is_file() for file in [*made["files"], *kustomization["resources"]])


def test_container_listens_on_this_machine_only():
    compose = (SETTINGS / "compose.yaml").read_text()
    ports = re.findall(r'- "([\d.:]+)"', compose)
    assert ports == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


def test_every_file_that_the_container_reads_is_here():
    compose = (SETTINGS / "compose.yaml").read_text()
    files = re.findall(r"- \./([\w.]+):/config/", compose)
    assert sorted(files) == ["batching.config", "models.config", "monitoring.config"]
    assert all((SETTINGS / file).is_file() for file in files)
