"""The rotations come fast, and leave the library as it was."""

import subprocess
import sys

PROGRAM = """
import time, tensorflow, keras
start = time.process_time()
from tfmedcai.geometry import rotations
assert time.process_time() - start < 2, "tensorflow-graphics takes seconds again"
from tensorflow_graphics.util import export_api
assert export_api.get_modules.__module__ == export_api.__name__
"""


def test_the_import_is_short():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
