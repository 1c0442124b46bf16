"""The commands as a user types them."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tfmedcai.tasks.task as task_module
from tfmedcai import cli
from tfmedcai.config import Settings
from tfmedcai.runs import new_run, write_json
from tfmedcai.serving.__main__ import Command, act
from tfmedcai.serving.client import Client
from tfmedcai.serving.server import Server


@pytest.fixture(scope="module")
def server(model_folder):
    with Server({"tiny": model_folder}) as server:
        yield server


def test_help_does_not_load_tensorflow():
    program = "import sys, tfmedcai.serving.__main__; print('tensorflow' in sys.modules or 'grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_serve_prints_one_line_answers_and_ends_on_sigterm(model_folder):
    command = [sys.executable, "-m", "tfmedcai.serving", "serve", "--port", "0"]
    command += ["--model_name", "tiny", "--model_base_path", str(model_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving tiny version 1 on 127.0.0.1:")
            with Client(line.split()[-1]) as client:
                assert client.predict("tiny", {"image": np.ones((1, 8, 8, 1), np.float32)})["score"].shape == (1, 2)
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, ""), errors


def test_ask_prints_json(server, tmp_path, capsys, network):
    image = np.random.default_rng(3).random((8, 8, 1), np.float32)
    np.save(tmp_path / "image.npy", image)
    arguments = ["ask", "--address", server.address, "--model", "tiny", "--input", f"image={tmp_path / 'image.npy'}"]
    cli.main(Command, act, arguments)
    answer = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(answer["score"], network(image[None]).numpy(), rtol=1e-4, atol=1e-6)


def test_export_writes_the_first_trained_network_of_a_run(tmp_path, capsys, monkeypatch, network, signatures):
    task = SimpleNamespace(signatures=lambda model: signatures)
    monkeypatch.setattr(task_module, "make_task", lambda settings: task)
    run = new_run(tmp_path, Settings())
    trained = run.best(0)
    write_json(trained.card, {"architecture": "branch conv3x3 merge", "seed": 0})
    network.save(trained.model)
    cli.main(Command, act, ["export", "--run", str(run.folder)])
    version = Path(capsys.readouterr().out.strip())
    assert version == run.exported / "1"
    card = json.loads((version / "model_card.json").read_text())
    assert (card["task"], card["architecture"]) == (Settings().task, "branch conv3x3 merge")
    assert list(card["signatures"]) == list(signatures)


def test_export_of_a_run_without_networks_says_what_to_do(tmp_path, capsys):
    run = new_run(tmp_path, Settings())
    with pytest.raises(SystemExit):
        cli.main(Command, act, ["export", "--run", str(run.folder)])
    assert "Run `python -m tfmedcai.train --run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "--run", "/absent"], "error: /absent: not a run folder"),
        (
            ["ask", "--model", "nope"],
            "error: NOT_FOUND: Servable not found for request: Latest(nope). `--model` is what `serve",
        ),
        (
            ["ask", "--model", "tiny", "--signature", "s"],
            "error: `signature` must be one of ['serving_default', 'twice']",
        ),
        (["ask", "--model", "tiny"], "error: INVALID_ARGUMENT: input size does not match signature: 0!=1"),
        (
            ["ask", "--model", "tiny", "--input", "image=absent.npy"],
            "error: absent.npy: No such file or directory. Check the path.\n",
        ),
        (["serve"], "error: Give either --model_base_path (with --model_name) or --model_config_file.\n"),
        (["serve", "--model_base_path", "/absent"], "error: `/absent` must be the folder of model default."),
        (["serve", "--model_config_file", "/absent"], "error: /absent: No such file or directory. Check the path.\n"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(server, arguments, message, capsys):
    if arguments[0] == "ask":
        arguments = [*arguments, "--address", server.address]
    with pytest.raises(SystemExit) as end:
        cli.main(Command, act, arguments)
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
