"""The names of tasks, search spaces, oracles, networks and supernets: entry points of packages, and a program's own."""

import difflib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

KINDS = ("tasks", "spaces", "oracles", "networks", "supernets")
_given: dict[tuple[str, str], Any] = {}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean `x`?" for the known word nearest to `word`, or an empty string.

    >>> did_you_mean("latnet", ["latent", "random"])
    ' Did you mean `latent`?'
    >>> did_you_mean("zebra", ["latent", "random"])
    ''
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean `{near[0]}`?" if near else ""


def _entry_points(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"tfmedcai.{kind}")}


def register(kind: str, name: str, member: Any) -> None:
    """Gives a name to a member of a program of one's own, for as long as the process lives.

    A package does the same for every command with an entry point. Call it outside of `main`: the processes that
    `--executor processes` starts import the program again, and so know the name. The machines of a Ray cluster do not.

    Args:
        kind: one of `KINDS`.
        name: what settings call it.
        member: a class for tasks and spaces, else a function.

    Raises:
        ValueError: if the kind is unknown, or the name stands for something else already.

    >>> register("oracles", "random", print)
    Traceback (most recent call last):
    ...
    ValueError: `random` is the name of one of the oracles already. Choose another name.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received {kind!r}.")
    if name in _entry_points(kind) or _given.get((kind, name), member) is not member:
        raise ValueError(f"`{name}` is the name of one of the {kind} already. Choose another name.")
    _given[kind, name] = member


def names(kind: str) -> list[str]:
    """Returns the registered names of one of `KINDS`, sorted, without importing what they stand for.

    >>> "pose" in names("tasks")
    True
    """
    return sorted([*_entry_points(kind), *(name for of, name in _given if of == kind)])


def check(kind: str, name: str) -> None:
    """Checks that `name` is registered.

    Args:
        kind: one of `KINDS`.
        name: the name asked for.

    Raises:
        ValueError: if neither an installed package nor `register` gave the name.

    >>> check("oracles", "latnet")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: `latnet` is not one of the oracles: bayesian, hyperband, latent, ... Did you mean `latent`?
    """
    known = names(kind)
    if name not in known:
        raise ValueError(f"`{name}` is not one of the {kind}: {', '.join(known)}.{did_you_mean(name, known)}")


def load(kind: str, name: str) -> Any:
    """Imports and returns what `name` stands for: a class for tasks and spaces, else a function.

    Args:
        kind: one of `KINDS`.
        name: a registered name.

    Returns:
        The member.

    Raises:
        ValueError: if neither an installed package nor `register` gave the name.
    """
    check(kind, name)
    return _given[kind, name] if (kind, name) in _given else _entry_points(kind)[name].load()
