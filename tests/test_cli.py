"""The command line: answers without TensorFlow, errors in one line, options over a settings file."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tfmedcai import cli
from tfmedcai.__main__ import VERBS, main
from tfmedcai.cli import SettingsOptions
from tfmedcai.config import read_settings
from tfmedcai.train import command as train

COMMANDS = ("__main__", "search", "train", "evaluate", "predict", "register", "report", "serving")


def parsed(*arguments):
    taken = []
    cli.main(SettingsOptions, taken.append, list(arguments))
    return taken[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_does_not_import_tensorflow(command):
    program = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('tfmedcai.{command}', run_name='__main__', alter_sys=True)\n"
        f"except SystemExit: pass\n"
        f"print(sorted({{'tensorflow', 'keras', 'keras_tuner', 'scipy', 'grpc', 'matplotlib'}} & set(sys.modules)))\n"
        f"print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    modules, known = done.stdout.split()[-2:]
    assert (modules, int(known) < 1200) == ("[]", True)  # the time that it takes goes by how much is imported


def test_list_prints_every_name(capsys):
    cli.main(SettingsOptions, pytest.fail, ["--list"])
    printed = capsys.readouterr().out
    for name in ("pose", "snap", "latent", "random", "bayesian", "hyperband", "snapnet", "i3posnet"):
        assert name in printed


def test_options_win_over_the_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("seed = 3\n[training]\nepochs = 7\n")
    options = parsed("--settings", str(file), "--training.epochs", "9")
    assert (options.settings.seed, options.settings.training.epochs) == (3, 9)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (ValueError("`x` is wrong."), 2, "error: `x` is wrong."),
        (OSError("disk full"), 2, "error: disk full"),
        (FileNotFoundError(2, "No such file", "a.png"), 2, "error: a.png: No such file. Check the path."),
        (OSError(28, "No space left", "a"), 2, "error: a: No space left. The disk is full: make room, then go on."),
        (
            ModuleNotFoundError("", name="ray"),
            2,
            'error: the package `ray` is not installed: `pip install "tfmedcai[cluster]"`.',
        ),
        (
            ModuleNotFoundError("", name="tensorflow_graphics"),
            2,
            "error: the package `tensorflow_graphics` is not installed: `pip install --no-deps tensorflow-graphics`.",
        ),
        (RuntimeError("first\nsecond"), 1, "error: first (--traceback shows more)"),
        (MemoryError(), 1, "error: out of memory. Take smaller batches or sizes, or fewer `--workers`."),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, raised, code, line):
    def act(options):
        raise raised

    with pytest.raises(SystemExit) as caught:
        cli.main(SettingsOptions, act, [])
    assert caught.value.code == code
    assert capsys.readouterr().err.strip() == line
    with pytest.raises(type(raised)):
        cli.main(SettingsOptions, act, ["--traceback"])


def test_an_unknown_oracle_is_named(capsys):
    with pytest.raises(SystemExit):
        parsed("--oracle", "latnet")
    assert "Did you mean `latent`?" in capsys.readouterr().err


def test_commands_without_settings_are_read_too():
    @dataclass(frozen=True)
    class Plain:
        """Help."""

        count: int = 1

    taken = []
    cli.main(Plain, taken.append, ["--count", "4"])
    assert taken == [Plain(4)]


SHIPPED = sorted((Path(__file__).parents[1] / "search").glob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_settings_are_valid(file):
    assert read_settings(file).smoke().search.trials == 4


def test_progress_that_only_says_how_far_it_is_says_it_seldom(capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(cli.time, "monotonic", lambda: next(clock))
    assert list(cli.followed(range(6), "cases")) == [0, 1, 2, 3, 4, 5]
    assert capsys.readouterr().err == "cases: 3/6\ncases: 6/6\n"


def test_what_is_printed_beside_a_bar_goes_on_to_its_pipe():
    code = "from tfmedcai.cli import followed\nfor n in followed(range(2), 'files'): print(n)"
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", 0) as screen:
        found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, check=True)
        assert found.stdout == b"0\n1\n"
        assert b"2/2" in screen.read(4096)
    os.close(theirs)


def printed(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(SettingsOptions, pytest.fail, list(arguments))
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_shows_a_group_at_a_time(capsys):
    short, one, whole = (printed(capsys, "--help", *more) for more in ((), ("search",), ("all",)))
    assert "--smoke" in short and "--task" in short and "--search.trials" not in short
    assert "  search                       The budget of a search." in short.splitlines()
    assert "--search.trials" in one and "--search.fit.epochs" in one and "--task" not in one
    assert "(default: 0.001)" in one
    assert "[mm]" in whole and all(option in whole for option in ("--smoke", "--search.trials", "--dmw.blocks"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_completes_is_printed(capsys, shell):
    with pytest.raises(SystemExit) as caught:
        main(["--tyro-print-completion", shell])
    script = capsys.readouterr().out
    assert caught.value.code in (None, 0)
    assert all(word in script for word in ("search", "serving", "architecture", "training.epochs"))


def test_the_command_and_the_module_are_the_same(capsys, monkeypatch):
    for program, call in (
        ("python -m tfmedcai.train", train),
        ("tfmedcai train", lambda words: main(["train", *words])),
    ):
        monkeypatch.setattr(sys, "argv", ["train.py"])
        with pytest.raises(SystemExit):
            call(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: {program} [-h] [OPTIONS]")
    main(["--version"])
    assert capsys.readouterr().out.strip() == version("tfmedcai")
    main([])
    said = capsys.readouterr().out
    assert all(f"  {verb:9} " in said for verb in VERBS)


def test_names_are_listed_as_json_too(capsys):
    main(["--list", "--json"])
    names = json.loads(capsys.readouterr().out)
    assert "latent" in names["oracles"] and "snapnet_b" in names["presets"]


def test_json_has_null_where_there_is_no_number(capsys):
    cli.main(cli.ScriptOptions, lambda options: {"hd95": [float("inf"), 1.0]}, ["--json"])
    assert json.loads(capsys.readouterr().out) == {"hd95": [None, 1.0]}


def test_nobody_reading_is_no_error():
    """As with `| head`: the pipe is closed before all is printed."""
    command = [sys.executable, "-m", "tfmedcai", "search", "--help", "all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (141, b"")


@pytest.mark.parametrize(("body", "shown"), [("value = 1", ""), ("raise ImportError('broken')", "a note")])
def test_what_tensorflow_prints_while_it_is_imported_is_shown_if_that_fails(tmp_path, body, shown):
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, b'a note\\n')\n{body}\n")
    program = (
        "from tfmedcai.quiet_import import QuietTensorFlow\nQuietTensorFlow.install()\n"
        "try: import tensorflow\nexcept ImportError: pass"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr.strip() == shown
