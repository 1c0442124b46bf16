"""The journal: rows come back as written; torn and damaged lines are told apart."""

import pytest

from tfmedcai.journal import Journal


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "run" / "trials.jsonl")
    for number in range(3):
        journal.append({"trial": number, "score": 0.1 * number, "values": {"b": 1, "a": "x"}})
    return journal


def test_rows_come_back(journal):
    assert [row["trial"] for row in journal.read()] == [0, 1, 2]
    assert journal.read()[1] == {"trial": 1, "score": 0.1, "values": {"b": 1, "a": "x"}}


def test_a_torn_last_line_is_left_out_and_cut_off_by_repair(journal):
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"trial": 3, "sco')
    assert len(journal.read()) == 3
    assert journal.repair()
    assert journal.path.read_bytes() == whole
    assert not journal.repair()


@pytest.mark.parametrize("damage", [(b"0.1", b"0.7"), (b'"trial": 1', b'"trial" 1'), (b'{"trial": 1', b'["trial", 1')])
def test_a_damaged_row_is_one_line_with_its_place(journal, damage):
    journal.path.write_bytes(journal.path.read_bytes().replace(*damage, 1))
    with pytest.raises(ValueError, match=r"line 2: this row is damaged") as caught:
        journal.read()
    assert str(journal.path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_means_no_rows(tmp_path):
    assert Journal(tmp_path / "none").read() == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write the journal"):
        Journal(tmp_path / "file" / "trials.jsonl").append({})
