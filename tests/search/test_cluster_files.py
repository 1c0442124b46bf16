"""Files that start a search on several machines: valid as far as can be said here, with options that exist."""

import re
import shlex
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tfmedcai.cli import _parse
from tfmedcai.search.__main__ import SearchOptions

FOLDER = Path(__file__).parents[2] / "search" / "cluster"
SETTINGS = FOLDER.parent / "autosnap_pose.toml"


def options_of(command):
    """Reads a command line as the search does."""
    words = shlex.split(command)
    words = words[words.index("tfmedcai.search") + 1 :]
    words[words.index("--settings") + 1] = str(SETTINGS)
    return _parse(SearchOptions, words)


def test_the_templates_of_the_kuberay_job_are_pods_and_its_command_is_a_search():
    spec = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())["spec"]
    cluster = spec["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": group["template"]["spec"]}
        kubernetes_validate.validate(pod, "1.30", strict=True)
    options = options_of(spec["entrypoint"])
    assert (options.executor, options.address, options.gpus, options.resume) == ("ray", "auto", 1.0, True)
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"]
    assert options.cpus <= float(worker["requests"]["cpu"])
    assert options.gpus <= float(worker["limits"]["nvidia.com/gpu"])


def test_the_slurm_script_is_a_script_and_its_command_is_a_search():
    script = FOLDER / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    command = re.search(r"-m tfmedcai\.search.*", script.read_text().replace("\\\n", ""))[0]
    options = options_of(command)
    assert (options.executor, options.gpus, options.resume) == ("ray", 0.5, True)


def test_the_cluster_of_boxes_is_one_that_ray_takes():
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((FOLDER / "boxes.yaml").read_text())
    util.validate_config(util.prepare_config(config))
