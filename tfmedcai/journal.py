"""An append-only file of JSON rows, one a line, each with a checksum and on disk before the next thing happens."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

Row = dict[str, Any]
CHECKSUM = "crc"


class Journal:
    """Rows of a run, readable while they are written.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path

    def append(self, row: Row) -> None:
        """Writes one row and waits until it is on disk.

        Raises:
            ValueError: if the file cannot be written.
        """
        line = json.dumps(row | {CHECKSUM: _checksum(row)}) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ValueError(
                f"{self.path}: cannot write the journal ({error.strerror}). Choose another folder."
            ) from error

    def read(self) -> list[Row]:
        """Returns all whole rows, without their checksums; a line that is still being written is left out.

        Raises:
            ValueError: if a line before the last is damaged; the message names file and line.
        """
        return [_row(self.path, number, line) for number, line in enumerate(self._text().splitlines(), start=1)]

    def repair(self) -> bool:
        """Cuts off a last line that a stopped process left half-written; returns whether there was one."""
        whole = len(self._text().encode())
        if not self.path.exists() or self.path.stat().st_size == whole:
            return False
        os.truncate(self.path, whole)
        return True

    def _text(self) -> str:
        if not self.path.exists():
            return ""
        text = self.path.read_bytes().decode(errors="replace")
        return text[: text.rfind("\n") + 1]


def _checksum(row: Row) -> int:
    return zlib.crc32(json.dumps(row, sort_keys=True).encode())


def _row(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
        if row.pop(CHECKSUM) != _checksum(row):
            raise ValueError("its checksum does not fit")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path}, line {number}: this row is damaged ({error}). "
            "Delete it and the lines below; `--resume` runs those trials again."
        ) from error
    return row
