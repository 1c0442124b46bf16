"""Names of packages and of a program's own stand beside each other."""

import pytest

from tfmedcai import registry


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch):
    monkeypatch.setattr(registry, "_given", {})


def test_a_program_registers_members_of_its_own():
    registry.register("oracles", "mine", len)
    registry.register("oracles", "mine", len)  # again, as where a program is imported twice
    assert "mine" in registry.names("oracles") and "mine" not in registry.names("spaces")
    registry.check("oracles", "mine")
    assert registry.load("oracles", "mine") is len


def test_a_name_stands_for_one_thing():
    registry.register("oracles", "mine", len)
    with pytest.raises(ValueError, match="`mine` is the name of one of the oracles already"):
        registry.register("oracles", "mine", print)
    with pytest.raises(ValueError, match="`snap` is the name of one of the spaces already"):
        registry.register("spaces", "snap", len)
    with pytest.raises(ValueError, match=r"`kind` must be one of tasks, .* Received 'space'"):
        registry.register("space", "mine", len)
