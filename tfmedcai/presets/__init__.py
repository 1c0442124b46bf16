"""Published networks by name: one JSON file holds an architecture or a network made by hand, its sizes and its ends."""

import json
from importlib.resources import files
from typing import Any

from tfmedcai.registry import did_you_mean


def names() -> list[str]:
    """Returns the names of the presets, sorted.

    >>> "snapnet_a" in names()
    True
    """
    return sorted(file.name.removesuffix(".json") for file in files(__name__).iterdir() if file.name.endswith(".json"))


def read(name: str) -> dict[str, Any]:
    """Reads one preset.

    Args:
        name: one of `names()`.

    Returns:
        "space" and "architecture" (its text in that space), or "network" (made by hand); "sizes", the settings tables
        that belong to it; "ends", the other arguments of its network: shape of a sample, number of outputs.

    Raises:
        ValueError: if there is no such preset.

    >>> read("snapnet_b")["sizes"]["snapnet"]["filters"]
    56
    """
    if name not in names():
        raise ValueError(f"`{name}` is not one of the presets: {', '.join(names())}.{did_you_mean(name, names())}")
    return json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
