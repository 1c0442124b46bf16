"""One server of several processes, or TensorFlow Serving's own program in its place."""

import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from tfmedcai.serving.client import Client
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.processes import run_tensorflow_serving

SERVE = [sys.executable, "-m", "tfmedcai.serving", "serve", "--port", "0", "--model_name", "tiny"]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A stand-in for TensorFlow Serving's program that prints how it was called."""
    path = tmp_path / "bin" / "tensorflow_model_server"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def test_workers_share_a_port_and_end_together(model_folder):
    command = [*SERVE, "--model_base_path", str(model_folder), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving tiny version 1 on 127.0.0.1:") and line.endswith(", 2 workers\n")
            address = line.split()[5].rstrip(",")
            for _ in range(8):
                with Client(address) as client:
                    answer = client.predict("tiny", {"image": np.ones((1, 8, 8, 1), np.float32)})
                    assert answer["score"].shape == (1, 2)
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, ""), errors


def test_a_worker_that_cannot_load_is_one_clear_line(tmp_path):
    (tmp_path / "1").mkdir()
    command = [*SERVE, "--model_base_path", str(tmp_path), "--workers", "2"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "must hold a SavedModel" in last


def test_tensorflow_serving_gets_the_same_options(program, model_folder):
    command = [*SERVE, "--model_base_path", str(model_folder), "--host", "0.0.0.0", "--enable_batching"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stdout.splitlines() == [
        "--port=0",
        "--enable_batching=true",
        "--model_name=tiny",
        f"--model_base_path={model_folder}",
    ]


def test_tensorflow_serving_is_not_let_listen_everywhere_unasked(program):
    with pytest.raises(ValueError, match="listens on all addresses"):
        run_tensorflow_serving(ServerOptions(), [])
    with pytest.raises(ValueError, match="has no option `--workers`"):
        run_tensorflow_serving(ServerOptions(host="0.0.0.0", workers=2), [])


def test_tensorflow_serving_that_is_absent_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="is not on the PATH"):
        run_tensorflow_serving(ServerOptions(host="0.0.0.0"), [])
