"""Files appear whole or not at all."""

import pytest

from tfmedcai.data.files import write_whole


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "second"):
        write_whole(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_what_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path):
    def fail(temporary):
        assert temporary.name.endswith("a.nii.gz")
        temporary.write_text("half")
        raise RuntimeError("interrupted")

    (tmp_path / "a.nii.gz").write_text("old")
    with pytest.raises(RuntimeError, match="interrupted"):
        write_whole(tmp_path / "a.nii.gz", fail)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.nii.gz", "old")]


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"a\.txt: cannot write here"):
        write_whole(tmp_path / "file" / "a.txt", lambda temporary: temporary.write_text(""))
