"""The pose that the example reads out of an annotated wire."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def fluoroscopy():
    path = Path(__file__).parents[2] / "tools" / "examples" / "fluoroscopy.py"
    spec = importlib.util.spec_from_file_location("fluoroscopy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_annotated_pose_is_the_tip_and_the_direction_out_of_it(fluoroscopy):
    wire = np.array([[10.0, 100.0], [30.0, 80.0], [50.0, 60.0]])
    pose = fluoroscopy.annotated_pose(wire, 0.2)[0]
    assert pose == pytest.approx([50, 60, math.pi / 4, 0, 0.2])
    assert fluoroscopy.annotated_pose(wire[::-1], 0.2)[0, 2] == pytest.approx(-3 * math.pi / 4)


def test_errors_of_the_true_axis_are_none(fluoroscopy):
    wire = np.array([[10.0, 100.0], [50.0, 60.0]])
    truth = np.repeat(fluoroscopy.annotated_pose(wire, 0.2), 2, axis=0)
    start = truth + np.array([5.0, 0.0, 0.1, 0.0, 0.0], np.float32)
    line = fluoroscopy.described(fluoroscopy.ANNOTATED, "3", truth, start, wire, 0.2)
    assert line["found"]["angle_deg"]["median"] == pytest.approx(0, abs=1e-3)
    assert line["found"]["distance_mm"]["median"] == pytest.approx(0, abs=1e-3)
    assert line["start"]["angle_deg"]["median"] == pytest.approx(math.degrees(0.1), abs=1e-3)
