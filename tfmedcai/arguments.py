"""Reads the options of a command with tyro: help a group at a time, and every mistake in one line."""

import io
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from difflib import SequenceMatcher
from typing import Any, TypeVar

import tyro

from tfmedcai.registry import did_you_mean

Command = TypeVar("Command")
HELP = ("-h", "--help")
COMPLETION = {"--tyro-print-completion", "--tyro-write-completion"}
ALL = "all"  # what is said behind --help to see every group
_TITLE = re.compile(r"╭─ (?:(\S+) )?options ─")
_RULE = re.compile(r"[│ ]*─+[│ ]*")
_PYDANTIC = re.compile(
    r"Error parsing (\S+): \d+ validation errors? for \w+\n(?:(\S+)\n)?(.*) \[type=\w+, input_value=(.*), input_type="
)


def parse(command: type[Command], arguments: Sequence[str], program: str, default: Any = None) -> Command:
    """Reads the options of a command; prints its help where that is asked for.

    Args:
        command: a dataclass whose fields are the options; the class docstring is the help text.
        arguments: what stands behind the command.
        program: how the command is called.
        default: an instance with the defaults; None has those of the class. With one, its groups of settings are left
            out of the help unless they are asked for: `--help GROUP`, `--help all`.

    Returns:
        The command with its options.

    Raises:
        ValueError: if an option is unknown, missing or wrong: one line that says which.
        SystemExit: after the help.
    """
    given = {} if default is None else {"default": default}
    asked = next((place for place, word in enumerate(arguments) if word in HELP), None)
    if asked is not None and default is not None:
        text = _groups(_help(command, program, given), "".join(arguments[asked + 1 : asked + 2]), program)
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding))
        raise SystemExit(0)
    if asked is not None or COMPLETION & set(arguments[:1]):
        tyro.cli(command, prog=program, args=arguments, use_underscores=True, **given)
    with _captured() as told:
        try:
            return tyro.cli(command, prog=program, args=arguments, use_underscores=True, **given)
        except SystemExit:
            pass
    raise ValueError(one_line(_text(told), program))


def one_line(box: str, program: str) -> str:
    """Returns what a box of tyro's says is wrong as one line, with the nearest option and where to read on.

    >>> one_line("╭─ Unrecognized options ─╮\\n│ Unrecognized options: --ouput, x │\\n╰──╯", "python -m tfmedcai.train")
    'Unrecognized options: --ouput, x. `python -m tfmedcai.train --help` shows what there is.'
    """
    rows = [row.strip("│ ") for row in box.splitlines() if not row.startswith(("╭", "╰"))]
    ends = [place for place, row in enumerate(rows) if _RULE.fullmatch(row)]
    if wrong := _PYDANTIC.match("\n".join(rows)):
        table, key, message, value = wrong.groups()
        name = ".".join(part for part in (table.removeprefix("settings."), key) if part)
        received = f" Received {value}." if key else ""
        return f"setting `{name}`: {message.removeprefix('Value error, ')}.{received}"
    text = " ".join(rows[: ends[0] if ends else None]).removesuffix(".")
    text = re.sub(r"^Error parsing (?!-)\S+: ", "", text).removeprefix("Error parsing ")
    options = [row.split(" (")[0] for row in rows if row.startswith("--")]  # with what each takes
    if options and "Perhaps you meant:" in rows:
        given = next((word.strip(",") for word in text.split() if word.startswith("--")), "")
        near = max(options, key=lambda option: SequenceMatcher(None, given, option.split()[0]).ratio())
        return f"{text}. Did you mean `{near}`?"
    if missing := re.match("Missing from (.*?): ", text):
        program = missing[1]
    if options and "Argument helptext:" in rows:
        return f"{text}. It is `{options[0]}`."
    return f"{text}. `{program} --help` shows what there is."


def _help(command: type, program: str, given: dict[str, Any]) -> str:
    with _captured(shutil.get_terminal_size().columns) as told, suppress(SystemExit):
        tyro.cli(command, prog=program, args=["--help"], use_underscores=True, **given)
    return _text(told)


def _groups(text: str, asked: str, program: str) -> str:
    """Returns one group of a help text, or the command's own options and a list of the groups, or everything."""
    head, *boxes = re.split(r"(?m)^(?=╭)", text)
    titles = [title[1] if (title := _TITLE.match(box)) else None for box in boxes]
    groups = {title: box for title, box in zip(titles, boxes, strict=True) if title}
    if asked == ALL:
        return text
    if asked and not asked.startswith("-"):
        chosen = {title: box for title, box in groups.items() if title == asked or title.startswith(f"{asked}.")}
        if not chosen:
            raise ValueError(f"`{asked}` is no group of settings: {', '.join(groups)}.{did_you_mean(asked, groups)}")
        return "".join(chosen.values())
    own = [box for title, box in zip(titles, boxes, strict=True) if title is None]
    rows = [f"  {title:28} {_about(box)}".rstrip() for title, box in groups.items() if "." not in title]
    listed = f"Settings, in groups: `{program} --help GROUP` shows one, `--help {ALL}` all."
    return "\n".join(["".join([head, *own]), listed, *rows])


def _about(box: str) -> str:
    rows = [row.strip("│ ") for row in box.splitlines()[1:-1]]
    ends = [place for place, row in enumerate(rows) if _RULE.fullmatch(row)]
    return " ".join(rows[: ends[0] if ends else 0])


@contextmanager
def _captured(columns: int = 100_000) -> Iterator[io.TextIOWrapper]:
    """Collects what tyro prints, lines broken there, in an encoding that has its frames: they tell what is what."""
    before = os.environ.get("COLUMNS")
    told = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    os.environ["COLUMNS"] = str(columns)
    try:
        with redirect_stdout(told), redirect_stderr(told):
            yield told
    finally:
        os.environ.pop("COLUMNS")
        os.environ |= {"COLUMNS": before} if before is not None else {}


def _text(told: io.TextIOWrapper) -> str:
    told.seek(0)
    return told.read()
