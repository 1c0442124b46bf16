"""The command line: answers without TensorFlow, errors in one line, options over a settings file."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfmedcai import cli
from tfmedcai.cli import SettingsOptions
from tfmedcai.config import read_settings

COMMANDS = ("search", "train", "evaluate", "predict", "report", "serving")


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
        f"print({{'tensorflow', 'keras', 'keras_tuner'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    assert done.stdout.strip().endswith("set()")


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
    ("raised", "line"),
    [
        (ValueError("`x` is wrong."), "error: `x` is wrong."),
        (OSError("disk full"), "error: disk full"),
        (RuntimeError("first\nsecond"), "error: first (--traceback shows more)"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(capsys, raised, line):
    def act(options):
        raise raised

    with pytest.raises(SystemExit) as caught:
        cli.main(SettingsOptions, act, [])
    assert caught.value.code == 2
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
