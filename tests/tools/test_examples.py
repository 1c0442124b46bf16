"""Every example runs as it is, on its smallest setting, and the space and the oracle in them keep their contracts."""

import ast
import csv
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tests.conformance import check_search_space
from tests.conformance_oracle import check_oracle
from tfmedcai import registry
from tfmedcai.models.snapnet import snapnet
from tfmedcai.search_spaces.snap import Snap

EXAMPLES = Path(__file__).parents[2] / "tools" / "examples"


@pytest.fixture(scope="module")
def example():
    """Imports an example by its name; what it registers is forgotten behind the tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        patch.setattr(registry, "_given", {})
        yield importlib.import_module


def test_a_space_of_ones_own(example, tmp_path, capsys):
    module = example("new_space")
    check_search_space(module.StackSpace())
    module.main(["--trials", "2", "--output", str(tmp_path)])
    assert "best: " in capsys.readouterr().out


def test_an_oracle_of_ones_own(example, tmp_path, capsys, monkeypatch):
    module = example("new_oracle")
    example("new_space")
    monkeypatch.setattr(module, "PARENTS", 3)  # so that it gets to children in few trials
    check_oracle(
        lambda space, seed, objective: module.evolution_oracle(space, None, seed, objective), tmp_path / "checked"
    )
    module.main(["--trials", "2", "--space", "stack", "--output", str(tmp_path)])
    assert "evolution" in next(tmp_path.glob("pose-stack-*")).name
    assert "best: " in capsys.readouterr().out


def test_a_task_of_ones_own(example, tmp_path, capsys, monkeypatch):
    module = example("new_task")
    monkeypatch.setattr(module, "IMAGES", 12)
    example("new_space")
    module.main(["--trials", "1", "--epochs", "1", "--space", "stack", "--output", str(tmp_path)])
    assert "accuracy" in capsys.readouterr().out
    settings = module.Settings().smoke().updated({"task": "instrument"})
    task = module.InstrumentTask(settings)
    network = keras.saving.load_model(next(tmp_path.glob("*/best/seed_0/model.keras")))
    signature = task.signatures(network)["serving_default"]
    assert signature.function(**signature.example)["probabilities"].shape == (1, 3)


def test_own_volumes(example, tmp_path, capsys):
    example("own_volumes").main(["--trials", "1", "--epochs", "1", "--output", str(tmp_path)])
    (run,) = tmp_path.glob("segmentation-*")
    assert len(list((run / "predictions").iterdir())) == 6
    assert (run / "report.html").exists()
    assert "surface dice" in capsys.readouterr().out


def test_a_batch_has_a_row_for_every_case_also_for_bad_ones(example, tmp_path):
    example("hospital_batch").main(["--epochs", "1", "--output", str(tmp_path)])
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["done", "failed", "failed", "done"]
    for row, words in zip(rows, ("", "cannot read this as NIfTI", "must be finite", ""), strict=True):
        assert words in row["reason"]
        assert bool(words) != Path(row["file"]).is_file()


def test_serving_and_asking(example, tmp_path, capsys):
    example("serve_and_ask").main(["--images", "10", "--output", str(tmp_path)])
    lines = {line.split()[0]: line.split("[mm/px]:")[1] for line in capsys.readouterr().out.splitlines()[-4:]}
    assert lines["gRPC"] == lines["REST"] != lines["rough"]


@pytest.mark.slow
def test_a_search_on_two_processes(tmp_path):
    printed = run_example("distributed_search.py", "--trials", "2", "--output", tmp_path)
    assert printed.count("trial ") == 2


@pytest.mark.slow
def test_a_search_on_ray(tmp_path):
    pytest.importorskip("ray")
    printed = run_example("distributed_search.py", "--ray", "local", "--trials", "2", "--output", tmp_path)
    assert printed.count("trial ") == 2


def test_a_keras_application_needs_no_tfmedcai(example, tmp_path, capsys):
    network = snapnet(Snap.parse("conv3x3 branch dw3x3 merge"), filters=4, blocks=(1, 1))
    network.save(tmp_path / "model.keras")
    module = example("keras_application")
    module.main([str(tmp_path / "model.keras"), "--output", str(tmp_path / "classifier.keras")])
    assert "saved and loaded: True" in capsys.readouterr().out
    imported = {getattr(node, "module", None) or node.names[0].name for node in imports_of(Path(module.__file__))}
    assert imported == {"argparse", "sys", "pathlib", "keras", "numpy"}


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))]


def run_example(name: str, *arguments: object) -> str:
    """Runs an example as a user does; returns what it printed."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
