"""What every command shares: settings from a file and from options, one-line errors, quiet TensorFlow."""

import errno
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import ValidationError

from tfmedcai import presets, registry
from tfmedcai.arguments import parse
from tfmedcai.config import Settings, check_names, explain, read_settings
from tfmedcai.quiet_import import QuietTensorFlow
from tfmedcai.runs import open_run

Command = TypeVar("Command")
SETTINGS_OPTION = "--settings"
RUN_OPTION = "--run"
SELDOM_S = 10.0  # between plain lines of progress that say only how far it is
# What a user is told of in one line; all else is a bug of ours.
_TOLD = (ValueError, OSError, RuntimeError, ImportError)
_PACKAGES = {"tensorflow_graphics": "--no-deps tensorflow-graphics", "ray": '"tfmedcai[cluster]"'}
_ADVICE = {
    errno.ENOSPC: "The disk is full: make room, then go on.",
    errno.EACCES: "Change its permissions, or choose another place.",
    errno.EROFS: "Choose another place.",
}


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of every command."""

    dry_run: bool = False
    """say as JSON what would be done, and do nothing of it: nothing is trained, written or sent"""
    traceback: bool = False
    """show where an error was raised"""


@dataclass(frozen=True, kw_only=True)
class ScriptOptions(CommonOptions):
    """Options of a command that comes to an end."""

    json: bool = False
    """print one JSON object at the end and nothing else; what is said on the way goes to the standard error"""


@dataclass(frozen=True, kw_only=True)
class SettingsOptions(ScriptOptions):
    """Options of a command that takes settings."""

    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)
    settings_file: Annotated[Path | None, tyro.conf.arg(name=SETTINGS_OPTION[2:], metavar="FILE")] = None
    """TOML file with settings; options given beside it win"""
    smoke: bool = False
    """shrink all sizes to try the whole way in minutes"""


class Plan(dict[str, Any]):
    """What a dry run found out: what would be done, JSON types."""


class Unfinished(RuntimeError):
    """A part of the work failed; what was done stands.

    Args:
        message: what failed, and where it says why.
        done: what was done, as the command returns it.
    """

    def __init__(self, message: str, done: Any) -> None:
        super().__init__(message)
        self.done = done


def main(
    command: type[Command],
    act: Callable[[Command], Any],
    argv: Sequence[str] | None = None,
    *,
    outcome: Callable[[Any], dict[str, Any]] = dict,
) -> None:
    """Reads a command's options and runs it; an error is one line on the standard error and an exit code.

    Exit codes: 0 done; 1 failed, wholly or in part; 2 wrong input, settings or options; 130 stopped by Ctrl-C;
    141 nobody reads what is printed any more.

    Args:
        command: a dataclass whose fields are the options; the class docstring is the help text.
        act: what the command does; returns a `Plan` for a dry run.
        argv: the arguments; those of the process by default.
        outcome: what `act` returns -> what `--json` prints, JSON types.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    prepare_tensorflow()
    try:
        try:
            _carry_out(command, act, arguments, outcome)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains of it once more at its end
        sys.exit(141)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "--traceback" in arguments or not (isinstance(error, _TOLD) or _is_no_memory(error)):
            raise
        if "--json" in arguments:
            done = outcome(error.done) if isinstance(error, Unfinished) else {}
            print(json.dumps(_finite(done | {"error": one_line(error)})))
        fail(error)


def _carry_out(
    command: type[Command],
    act: Callable[[Command], Any],
    arguments: list[str],
    outcome: Callable[[Any], dict[str, Any]],
) -> None:
    as_json = "--json" in arguments
    if "--list" in arguments:
        lines = (f"{kind:9} {', '.join(known)}" for kind, known in names().items())
        print(json.dumps(names()) if as_json else "\n".join(lines))
        return
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        done = act(_parse(command, arguments))
    if isinstance(done, Plan):
        print(json.dumps(done, indent=None if as_json else 1))
    elif as_json:
        print(json.dumps(_finite(outcome(done))))


def _finite(value: Any) -> Any:
    """Returns a value with null for what JSON cannot say: a number that is none, or infinite."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def prepare_tensorflow() -> None:
    """Sets what TensorFlow and gRPC read when they are imported: log lines stay away, memory is kept between steps."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    QuietTensorFlow.install()
    # Else it warns of retracing with every candidate, each of which is a new graph.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Convolutions in oneDNN's kernels, its default on some processors only: training takes two thirds of the time.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Keeps large tensors between steps instead of giving their pages back: a quarter less time on a CPU.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")


def fail(error: Exception) -> None:
    """Prints an error as one line and ends the process: exit code 2 for what a user can mend, else 1."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    sys.exit(1 if isinstance(error, RuntimeError) or _is_no_memory(error) else 2)


def one_line(error: Exception) -> str:
    """Returns what is wrong as one line that says what to do."""
    if isinstance(error, ValidationError):
        return explain(error)
    if _is_no_memory(error):
        return "out of memory. Take smaller batches or sizes, or fewer `--workers`."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package `{error.name}` is not installed: `pip install {_PACKAGES.get(error.name, error.name)}`."
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        advice = _ADVICE.get(error.errno, "Check the path.") if error.errno else ""
        return f"{error.filename}: {error.strerror}. {advice}"
    first, *more = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first}{' (--traceback shows more)' if more else ''}"


def _is_no_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's


def names() -> dict[str, list[str]]:
    """Returns the names of all tasks, spaces, oracles, networks, supernets and presets by kind."""
    return {kind: registry.names(kind) for kind in registry.KINDS} | {"presets": presets.names()}


@contextmanager
def progress(total: int, label: str, *, quiet: bool = False, seldom: bool = False) -> Iterator[Callable[[str], None]]:
    """Shows one line of progress on a terminal, and plain lines elsewhere.

    Args:
        total: number of steps.
        label: what is being done.
        quiet: show nothing.
        seldom: plain lines for the last step and every ten seconds only, instead of one for each step.

    Yields:
        A function to be called after each step with a short text.
    """
    if quiet:
        yield lambda text: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # What is printed meanwhile goes above the bar, but on to its pipe where there is one.
        view = {"console": Console(stderr=True), "redirect_stdout": sys.stdout.isatty()}
        with Progress(*columns, TextColumn("{task.fields[text]}"), **view) as bar:
            job = bar.add_task(label, total=total, text="")
            yield lambda text: bar.update(job, advance=1, text=text)
    else:
        step, said = 0, time.monotonic()

        def tell(text: str) -> None:
            nonlocal step, said
            step += 1
            if not seldom or step == total or time.monotonic() - said >= SELDOM_S:
                said = time.monotonic()
                print(f"{label}: {step}/{total} {text}".rstrip(), file=sys.stderr, flush=True)

        yield tell


def followed(steps: Sequence[Any], label: str, *, quiet: bool = False) -> Iterable[Any]:
    """Yields steps one by one and shows how many are done.

    Args:
        steps: what is done, one after the other.
        label: what is being done.
        quiet: show nothing.

    Yields:
        The steps.

    >>> list(followed("ab", "letters", quiet=True))
    ['a', 'b']
    """
    with progress(len(steps), label, quiet=quiet, seldom=True) as tell:
        for step in steps:
            yield step
            tell("")


def in_words(row: Mapping[str, float]) -> str:
    """Returns the numbers of an epoch as text for a line of progress.

    >>> in_words({"epoch": 2, "loss": 0.123456})
    'epoch 2 loss 0.12346'
    """
    return " ".join(f"{name} {value:.5g}" for name, value in row.items())


def _parse(command: type[Command], arguments: list[str]) -> Command:
    if not issubclass(command, SettingsOptions):
        return parse(command, arguments, _program())
    file, run = _value_of(SETTINGS_OPTION, arguments), _value_of(RUN_OPTION, arguments)
    settings = read_settings(Path(file)) if file else open_run(Path(run))[1] if run else Settings()
    parsed = parse(command, arguments, _program(), command(settings=settings))
    check_names(parsed.settings)
    return replace(parsed, settings=parsed.settings.smoke()) if parsed.smoke else parsed


def _program() -> str:
    """How this process was called: `python -m tfmedcai.search`, or `tfmedcai search`."""
    path = Path(sys.argv[0])
    if path.name.startswith("tfmedcai "):
        return path.name
    name = path.parent.name if path.stem == "__main__" else path.stem
    return f"python -m tfmedcai.{name}"


def _value_of(option: str, arguments: list[str]) -> str | None:
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None
