"""Keeps what TensorFlow's libraries print while they are loaded off the terminal."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class QuietTensorFlow(MetaPathFinder):
    """Loads `tensorflow` with the standard error put aside; shows what was said if that fails.

    Some lines are printed before TensorFlow has read the level of its log, whatever the level is.
    """

    @classmethod
    def install(cls) -> None:
        """Makes the next import of TensorFlow a quiet one."""
        if "tensorflow" not in sys.modules and not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for `tensorflow`, once.

        Args:
            fullname: of the module that is imported.
            path: of its package; not looked at.
            target: module that is loaded again; not looked at.

        Returns:
            What loads it, quietly; None for all other modules.
        """
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _aside(load, module)
        return spec


def _aside(load, module: ModuleType) -> None:
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            load(module)
        except BaseException:
            said.seek(0)
            os.write(before, said.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
