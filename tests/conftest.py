"""One seed for every test; what lies beside the repository, and tests skip without: recorded answers, real data."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = (ROOT / os.environ.get("TFMEDCAI_GOLDEN", "../shared/golden")).resolve()
DATA = (ROOT / os.environ.get("TFMEDCAI_DATA", "../shared/data")).resolve()
CONFORMANCE = "test_conformance.py"

# Some processors have it on by themselves; commands have it on everywhere, and so do tests.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Draws the same weights in every run, whatever ran before."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Finds a file or folder of recorded answers."""
    return lambda name: _there(GOLDEN / name, "set TFMEDCAI_GOLDEN to the folder of recorded answers")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a file or folder of real data."""
    return lambda name: _there(DATA / name, "set TFMEDCAI_DATA to the folder of real data")


def _there(path: Path, advice: str) -> Path:
    if not path.exists():
        pytest.skip(f"no {path}: {advice}")
    return path


def pytest_terminal_summary(terminalreporter):
    """Says how many of the answers recorded from TensorFlow Serving the embedded server gives as well."""
    agree, differ = (
        sum(CONFORMANCE in report.nodeid for report in terminalreporter.stats.get(outcome, []))
        for outcome in ("passed", "failed")
    )
    if agree + differ:
        terminalreporter.write_line(f"TensorFlow Serving's recorded answers: {agree} of {agree + differ} agree")
