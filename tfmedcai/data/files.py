"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | Path, write: Callable[[Path], object]) -> None:
    """Writes a file beside its place, then moves it there in one step.

    Args:
        path: where the file appears; folders are made, an existing file is replaced.
        write: called with the temporary path, in the same folder and with the same ending.

    Raises:
        ValueError: if the place cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path}: cannot write here ({error.strerror or error}). Choose another folder.") from error
    finally:
        with suppress(OSError):  # what went wrong is told above
            temporary.unlink(missing_ok=True)
