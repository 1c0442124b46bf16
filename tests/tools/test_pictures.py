"""What the README's pictures are drawn from is there, and so are they."""

import importlib
from pathlib import Path

import pytest

from tfmedcai import registry
from tfmedcai.config import read_settings
from tfmedcai.tasks.task import make_space

LARGEST = 100_000  # bytes


@pytest.fixture(scope="module")
def pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "tools")
        yield importlib.import_module("pictures")


def test_every_system_has_settings_and_a_picture(pictures):
    for name, shown in pictures.SYSTEMS.items():
        settings = read_settings(pictures.ROOT / "search" / shown.settings).updated(shown.changes)
        if shown.architecture is not None and shown.architecture not in registry.names("networks"):
            assert make_space(settings).parse(shown.architecture)
        assert 0 < (pictures.ROOT / "tools" / "pictures" / f"{name}.webp").stat().st_size <= LARGEST
