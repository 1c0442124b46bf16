"""The stages of a registration."""

import numpy as np
import pytest

from tests.tasks.registration_bones import TRUTH, problem
from tfmedcai.config.registration import RegisterSettings
from tfmedcai.geometry.rigid import compose, inverse
from tfmedcai.tasks.registration_stages import (
    Stage,
    descent_stage,
    disturbed,
    evolution_stage,
    polish_stage,
    register_from,
)

LEVEL = {"size": 32, "voxel_mm": 6.0, "patch_px": 3}
SETTINGS = RegisterSettings.model_validate(
    {
        "cma_es": LEVEL | {"population": 30, "generations": 12, "spread_deg": (8, 8, 8), "spread_mm": (10, 10, 30)},
        "polish": LEVEL | {"evaluations": 40},
        "descent": LEVEL | {"steps": 15},
    }
)
START = np.add(TRUTH, [0.08, -0.06, 0.05, 8.0, 6.0, -10.0])


@pytest.fixture(scope="module")
def case():
    return problem()


def far(pose) -> float:
    return float(np.linalg.norm(compose(inverse(TRUTH), np.asarray(pose)).numpy() / [0.1, 0.1, 0.1, 10, 10, 30]))


def test_every_stage_comes_nearer(case):
    stages = [
        evolution_stage(SETTINGS, "gradient_ncc"),
        descent_stage(SETTINGS, "gradient_ncc"),
        polish_stage(SETTINGS, "gradient_ncc"),
    ]
    found = register_from(case, [START], stages)[0]
    assert [trace.stage for trace in found.traces] == ["cma_es", "descent", "polish"]
    for trace in found.traces:
        assert trace.poses.shape == (len(trace.costs), 6) and trace.seconds > 0
        assert np.isfinite(trace.costs).all()
    distances = [far(pose) for pose in (START, *(trace.pose for trace in found.traces))]
    assert distances[1] < 0.6 * distances[0]
    assert found.traces[1].cost <= found.traces[0].cost + 1e-6
    assert found.cost <= found.traces[1].cost + 1e-6 and distances[-1] < 0.15 * distances[0]


def test_the_start_of_least_cost_wins(case):
    tried = []

    def search(_, start):
        tried.append(start)
        return start, float(start[0]), start[np.newaxis], start[:1]

    starts = [np.add(TRUTH, [0.3, 0, 0, 0, 0, 0]), TRUTH, np.add(TRUTH, [0.1, 0, 0, 0, 0, 0])]
    found = register_from(case, starts, [Stage("none", search)])
    np.testing.assert_array_equal(tried, starts)
    np.testing.assert_array_equal([one.pose[0] for one in found], sorted(start[0] for start in starts))


def test_stages_go_on_where_the_last_one_ended(case):
    def search(_, start):
        return start + 1, 0.0, start[np.newaxis] + 1, np.zeros(1)

    found = register_from(case, [TRUTH], 2 * [Stage("on", search)])[0]
    np.testing.assert_allclose(found.pose, TRUTH + 2)
    np.testing.assert_array_equal(found.start, TRUTH)


def test_disturbed_starts_are_the_same_with_the_same_seed():
    starts = disturbed(START, 400, SETTINGS, seed=3)
    np.testing.assert_allclose(starts[0], START, atol=1e-12)
    np.testing.assert_array_equal(starts, disturbed(START, 400, SETTINGS, seed=3))
    assert np.abs(np.array(starts) - disturbed(START, 400, SETTINGS, seed=4))[1:].max(axis=1).min() > 0
    steps = compose(inverse(START), np.array(starts)).numpy()[1:]
    spread = [*np.radians(SETTINGS.starts_deg), *SETTINGS.starts_mm]
    np.testing.assert_allclose(steps.std(axis=0), spread, rtol=0.2)


def test_no_start_and_no_stage_are_refused(case):
    for starts, stages in (([], [None]), ([TRUTH], [])):
        with pytest.raises(ValueError, match="must not be empty"):
            register_from(case, starts, stages)
    with pytest.raises(ValueError, match="misses it"):
        register_from(case, [np.add(TRUTH, [0, 0, 0, 900, 0, 0])], [None])
