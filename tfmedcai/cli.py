"""What every command shares: settings from a file and from options, one-line errors, quiet TensorFlow."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import ValidationError

from tfmedcai import presets, registry
from tfmedcai.config import Settings, check_names, explain, read_settings
from tfmedcai.runs import open_run

Command = TypeVar("Command")
SETTINGS_OPTION = "--settings"
RUN_OPTION = "--run"
SELDOM_S = 10.0  # between plain lines of progress that say only how far it is


@dataclass(frozen=True)
class SettingsOptions:
    """Options of a command that takes settings."""

    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)
    settings_file: Annotated[Path | None, tyro.conf.arg(name=SETTINGS_OPTION[2:])] = None
    """TOML file with settings; options given beside it win"""
    smoke: bool = False
    """shrink all sizes to try the whole way in minutes"""
    traceback: bool = False
    """show where an error was raised"""


def main(command: type[Command], act: Callable[[Command], object], argv: Sequence[str] | None = None) -> None:
    """Reads a command's options and runs it; ends the process with exit code 2 and one line on a user's error.

    Args:
        command: a dataclass whose fields are the options; the class docstring is the help text.
        act: what the command does.
        argv: the arguments; those of the process by default.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    prepare_tensorflow()
    if "--list" in arguments:
        print_names()
        return
    with_traceback = "--traceback" in arguments
    try:
        act(_parse(command, arguments))
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if with_traceback:
            raise
        fail(error)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)


def prepare_tensorflow() -> None:
    """Sets what TensorFlow reads when it is imported: its own log lines stay away, memory is kept between steps."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Else it warns of retracing with every candidate, each of which is a new graph.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Convolutions in oneDNN's kernels, its default on some processors only: training takes two thirds of the time.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Keeps large tensors between steps instead of giving their pages back: a quarter less time on a CPU.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")


def fail(error: Exception) -> None:
    """Prints a user's error as one line and ends the process with exit code 2."""
    message = explain(error) if isinstance(error, ValidationError) else str(error)
    first, *more = message.strip().splitlines() or [type(error).__name__]
    print(f"error: {first}{' (--traceback shows more)' if more else ''}", file=sys.stderr)
    sys.exit(2)


def print_names() -> None:
    """Prints the names of all tasks, spaces, oracles, networks and presets."""
    for kind in registry.KINDS:
        print(f"{kind:9} {', '.join(registry.names(kind))}")
    print(f"presets   {', '.join(presets.names())}")


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
        return tyro.cli(command, prog=_program(), args=arguments, use_underscores=True)
    file, run = _value_of(SETTINGS_OPTION, arguments), _value_of(RUN_OPTION, arguments)
    settings = read_settings(Path(file)) if file else open_run(Path(run))[1] if run else Settings()
    default = command(settings=settings)
    parsed = tyro.cli(command, prog=_program(), args=arguments, default=default, use_underscores=True)
    check_names(parsed.settings)
    return replace(parsed, settings=parsed.settings.smoke()) if parsed.smoke else parsed


def _program() -> str:
    """How this process was called: `python -m tfmedcai.search`."""
    path = Path(sys.argv[0])
    name = path.parent.name if path.stem == "__main__" else path.stem
    return f"python -m tfmedcai.{name}"


def _value_of(option: str, arguments: list[str]) -> str | None:
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None
