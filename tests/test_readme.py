"""What the README shows works: every command is read by the parser that a user meets, every block of code runs."""

import ast
import configparser
import importlib
import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfmedcai import cli, runs
from tfmedcai.config import Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)
SETTINGS_FILE = "search/autosnap_pose_demo.toml"  # stands for a FILE
# What a block may call beside Python.
OTHERS = ("make", "source", "pip", "printf", "curl", "node", "mkdir", "tensorboard", "tfmedcai")
COMMANDS = ("search", "train", "evaluate", "predict", "register", "report")
# The files that a user makes, by the names that the README gives them.
OF_A_USER = {"run": "runs/pose-snap-latent-b02afee4", "image": "frame.png"}

# What runpy says of a module that another test has imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def lines_of(block: str) -> list[str]:
    """Commands of a block of shell, those of several lines joined, without comments."""
    joined = re.sub(r"(\\|(?<=\|))\n\s*", " ", block)
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


LINES = [line for block in blocks("") for line in lines_of(block) if not line.startswith(" ")]
CALLS = [text for text in [*LINES, *SPANS] if text.startswith("python -m tfmedcai")]
TOOLS = [text for text in [*LINES, *SPANS] if text.startswith("python tools/")]


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """Reads a command line as the command does, and does nothing else."""
    read = cli.main
    monkeypatch.setattr(cli, "main", lambda command, act, argv=None, **_: read(command, lambda options: None, argv))
    monkeypatch.chdir(ROOT)
    run = runs.new_run(tmp_path, Settings()).folder
    mine = tmp_path / "mine.toml"
    mine.write_text("".join(block for block in blocks("toml") if "task =" in block))
    stand_ins = {"FILE": SETTINGS_FILE, "mine.toml": str(mine), "...": None}
    stand_ins |= dict.fromkeys(("$RUN", "RUN", "OTHER_RUN"), str(run))

    def parse(line: str) -> None:
        _, _, module, *arguments = shlex.split(line, comments=True)
        given = [stand_ins.get(word, word) for word in arguments if word != "&"]
        monkeypatch.setattr(sys, "argv", [module, *(word for word in given if word is not None)])
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    return parse


def test_there_is_something_to_check():
    assert len(CALLS) > 30 and len(TOOLS) > 5 and len(blocks("python")) > 2
    assert {language for language, _ in BLOCKS} <= {"", "python", "toml", "js", "mermaid"}


@pytest.mark.parametrize("line", dict.fromkeys(CALLS))
def test_a_command_is_understood(parsed, line):
    parsed(line)


@pytest.mark.parametrize("line", ["python -m tfmedcai.search --no_such_option", "python -m tfmedcai.search --seeds 0"])
def test_a_command_that_is_wrong_is_seen(parsed, line):
    with pytest.raises(SystemExit):
        parsed(line)


def test_other_lines_are_known_and_blocks_are_shell():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in LINES:
        words = shlex.split(line, comments=True)
        assert words[0] in (*OTHERS, "python") or words[0].startswith("RUN="), line
        assert words[0] != "make" or words[1] in targets, line
    for block in blocks(""):
        if lines_of(block)[0] in LINES:  # else a drawing
            subprocess.run(["bash", "-n"], input=block.replace("...", ""), text=True, check=True)


@pytest.mark.parametrize("line", dict.fromkeys(TOOLS))
def test_programs_and_their_options_are_there(line):
    _, program, *words = shlex.split(line, comments=True)
    source = (ROOT / program).read_text()
    options = [word for word in words if word.startswith("--") and word != "--help"]
    topics = words[:1] if words and not words[0].startswith("-") else []
    assert all(f'"{word}"' in source for word in [*options, *topics]), line


def test_options_and_files_in_the_text_are_there(capsys, monkeypatch):
    known = "".join(help_of(command, capsys, monkeypatch) for command in COMMANDS)
    for verb in ("export", "serve", "ask"):
        known += help_of("serving", capsys, monkeypatch, verb)
    spans = {span.split()[0] for span in SPANS if span.startswith("--")} - {"--help"}
    options = {f"--{span[2:].replace('-', '_')}" for span in spans}  # both are understood
    known_by_tools = "".join(path.read_text() for path in (ROOT / "tools").rglob("*.py"))
    unknown = {name for name in options if not re.search(rf"{name}\b", known) and name not in known_by_tools}
    assert not unknown
    named = re.findall(r"(?:search|serving|tools|tests)/[\w./-]*\w", TEXT)
    linked = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(named) > 20
    places = [ROOT, ROOT / "tfmedcai"]
    assert not [name for name in {*named, *linked} if not any((place / name).exists() for place in places)]


def test_every_dependency_is_explained():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *dict(setup["options.extras_require"]).values()]
    table = TEXT.partition("## Dependencies")[2].partition("\n## ")[0].lower()
    wanted = {re.match(r"[\w-]+", line)[0] for text in lines for line in text.strip().splitlines()}
    assert len(wanted) > 25
    assert not {name for name in wanted if not re.search(rf"\b{name}\b", table)}


def help_of(command: str, capsys, monkeypatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", [command, *words, "--help", "all"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        runpy.run_module(f"tfmedcai.{command}", run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_python_and_its_imports_are_there(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_are_settings(block):
    Settings.model_validate(tomllib.loads(block))


def test_the_projector_block_runs():
    import tensorflow as tf

    (block,) = [block for block in blocks("python") if "ProjectiveSpatialTransformer" in block]
    given = {"pose": tf.zeros((1, 6)), "volume": tf.ones((1, 8, 8, 8, 1)), "target": tf.zeros((1, 192, 192, 1))}
    exec(compile(block, "README.md", "exec"), given)
    assert given["slope"].shape == (1, 6)


def save_frame(path: Path) -> np.ndarray:
    """Writes a picture in which the README's pose lies."""
    pixels = np.random.default_rng(0).uniform(0, 255, (640, 480)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.slow
def test_the_main_job_runs_shrunk(tmp_path):
    (block,) = [block for block in blocks("") if "RUN=$(" in block]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    save_frame(tmp_path / "frame.png")
    program = ["set -e", f'export PATH="{Path(sys.executable).parent}:$PATH"']
    for line in lines_of(block):
        command = line.partition("#")[0].strip()
        if command.startswith("python -m tfmedcai.search --settings"):
            command = f"{command.replace('search/', f'{ROOT}/search/')} --smoke --quiet"
        elif " serve " in command:
            # It prints where it listens as soon as it does.
            command = f"{command} --port {port} > ready & trap 'kill $!' EXIT; until [ -s ready ]; do sleep 1; done"
        elif " ask " in command:
            command = f"{command} --address 127.0.0.1:{port}"
        program += [] if command.startswith(("source", "tensorboard")) or "OTHER_RUN" in command else [command]
    done = subprocess.run(["bash"], input="\n".join(program), cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"landmarks"' in done.stdout and done.stdout.strip().endswith("report.html")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained run, an image, and the address of a server of that run."""
    from tfmedcai.serving.__main__ import Export, export
    from tfmedcai.serving.options import ServerOptions
    from tfmedcai.serving.server import Server
    from tfmedcai.train import TrainOptions, train

    folder = tmp_path_factory.mktemp("user")
    settings = Settings().smoke().updated({"training": {"baselines": ()}})
    run = train(TrainOptions(settings=settings, architecture="conv3x3 dw3x3", output=folder, quiet=True))
    (folder / OF_A_USER["run"]).parent.mkdir()
    run.folder.rename(folder / OF_A_USER["run"])
    pixels = save_frame(folder / OF_A_USER["image"])
    (folder / "image.json").write_text(str((pixels / 255).round(3).tolist()))
    version = export(Export(folder / OF_A_USER["run"]))
    with Server({"pose": version.parent}, ServerOptions(port=0, rest_api_port=-1)) as server:
        yield folder, server


def at(server, block: str) -> str:
    """The block with the ports of a server that runs."""
    return block.replace("127.0.0.1:8500", server.address).replace("127.0.0.1:8501", f"127.0.0.1:{server.rest_port}")


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in blocks("python") if "ProjectiveSpatialTransformer" not in block])
def test_python_blocks_run(place, block, monkeypatch, capsys):
    folder, server = place
    monkeypatch.chdir(folder)
    image = np.random.default_rng(0).uniform(size=(640, 480)).astype(np.float32)
    exec(compile(at(server, block), "README.md", "exec"), {"image": image})
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in blocks("") if "curl" in block])
def test_curl_blocks_run(place, block):
    folder, server = place
    command = ["bash", "-ec", at(server, block).replace("curl ", "curl -s ")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert '"outputs"' in done.stdout, done.stdout[:500]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("block", blocks("js"))
def test_node_blocks_run(place, block):
    folder, server = place
    (folder / "ask.mjs").write_text(at(server, block))
    done = subprocess.run(["node", "ask.mjs"], cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"-?\d+\.\d+", done.stdout)) >= 3
