"""Run folders: files appear whole or not at all; other settings are another run."""

import pytest

from tfmedcai.config import Settings
from tfmedcai.runs import new_run, open_run, read_json, write_json, write_whole


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def half(temporary):
        temporary.write_text("ne")
        raise RuntimeError("power")

    with pytest.raises(RuntimeError):
        write_whole(path, half)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.txt"]


def test_a_folder_is_swapped_as_a_whole(tmp_path):
    path = tmp_path / "version"
    for content in ("first", "second"):
        write_whole(path, lambda temporary, content=content: (temporary.mkdir(), (temporary / content).write_text("")))
    assert [entry.name for entry in path.iterdir()] == ["second"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["version"]


def test_json_comes_back_and_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "deep" / "value.json"
    write_json(path, {"a": [1, 2]})
    assert read_json(path) == {"a": [1, 2]}
    path.write_text("{")
    with pytest.raises(ValueError, match=r"value\.json: not a JSON file"):
        read_json(path)
    with pytest.raises(ValueError, match="cannot read this file"):
        read_json(tmp_path / "none.json")


def test_runs_of_other_settings_lie_apart(tmp_path):
    first = new_run(tmp_path, Settings())
    second = new_run(tmp_path, Settings(seed=1))
    assert first.folder != second.folder
    assert open_run(second.folder)[1] == Settings(seed=1)
    assert set(read_json(first.environment)["packages"]) >= {"tensorflow", "keras", "tfmedcai"}


def test_fresh_deletes_and_resume_keeps(tmp_path):
    run = new_run(tmp_path, Settings())
    assert new_run(tmp_path, Settings()) == run, "nothing is lost by going on with a run without trials"
    run.trials.write_text("{}\n")
    (run.folder / "kept").write_text("")
    with pytest.raises(ValueError, match=r"1 of 200 trials found; `--resume` continues"):
        new_run(tmp_path, Settings())
    assert (new_run(tmp_path, Settings(), resume=True).folder / "kept").exists()
    assert not (new_run(tmp_path, Settings(), fresh=True).folder / "kept").exists()
