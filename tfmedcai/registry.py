"""The names of tasks, search spaces, oracles, networks and supernets, read from the entry points of packages."""

import difflib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

KINDS = ("tasks", "spaces", "oracles", "networks", "supernets")


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


def names(kind: str) -> list[str]:
    """Returns the registered names of one of `KINDS`, sorted, without importing what they stand for.

    >>> "pose" in names("tasks")
    True
    """
    return sorted(_entry_points(kind))


def check(kind: str, name: str) -> None:
    """Checks that `name` is registered.

    Args:
        kind: one of `KINDS`.
        name: the name asked for.

    Raises:
        ValueError: if no installed package registers the name.

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

    Raises:
        ValueError: if no installed package registers the name.
    """
    check(kind, name)
    return _entry_points(kind)[name].load()
