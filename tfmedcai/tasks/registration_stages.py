"""The stages that a registration goes through, each from where the one before ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfmedcai.config.registration import LevelSettings, RegisterSettings, SimilaritySettings
from tfmedcai.geometry.rigid import compose
from tfmedcai.inference.pose_descent import descend
from tfmedcai.inference.pose_evolution import evolve, polish
from tfmedcai.tasks.registration_problem import Cost, Problem, Similarity


class Trace(NamedTuple):
    """What one stage came to, and its way there.

    Attributes:
        stage: its name.
        pose: `(6,)`, rotation vector in rad, translation in mm.
        cost: at the pose.
        poses: `(n, 6)`, after each of its steps.
        costs: `(n,)`, the least or latest of each step.
        seconds: that it took, with what it compiled.
    """

    stage: str
    pose: np.ndarray
    cost: float
    poses: np.ndarray
    costs: np.ndarray
    seconds: float


class Found(NamedTuple):
    """A registration from one start.

    Attributes:
        start: `(6,)`, rotation vector in rad, translation in mm.
        traces: of the stages in turn.
    """

    start: np.ndarray
    traces: tuple[Trace, ...]

    @property
    def pose(self) -> np.ndarray:
        """Where the last stage ended, `(6,)`."""
        return self.traces[-1].pose

    @property
    def cost(self) -> float:
        """Of the last stage."""
        return self.traces[-1].cost


class Stage(NamedTuple):
    """A stage: its name, and a function of problem and start that returns pose, cost, poses and costs."""

    name: str
    search: Callable[[Problem, np.ndarray], tuple[np.ndarray, float, np.ndarray, np.ndarray]]

    def __call__(self, problem: Problem, start: np.ndarray) -> Trace:
        """Goes through the stage."""
        begun = time.perf_counter()
        pose, cost, poses, costs = (np.array(part, float) for part in self.search(problem, start))
        return Trace(self.name, pose, float(cost), poses, costs, time.perf_counter() - begun)


def evolution_stage(settings: RegisterSettings, similarity: Similarity, seed: int = 0) -> Stage:
    """Makes the stage cma_es from its settings.

    Args:
        settings: `cma_es` of them is read.
        similarity: what is compared, and how.
        seed: of the populations.

    Returns:
        The stage.
    """
    table = settings.cma_es

    def search(problem: Problem, start: np.ndarray) -> tuple:
        found = evolve(
            _cost(problem, table, similarity),
            start,
            spread=_six(table.spread_deg, table.spread_mm),
            population=table.population,
            generations=table.generations,
            tolerance=table.tolerance,
            penalty=table.penalty,
            penalty_spread=_six(table.penalty_deg, table.penalty_mm),
            answer=table.answer,
            seed=seed,
        )
        return found[:4]

    return Stage("cma_es", search)


def polish_stage(settings: RegisterSettings, similarity: Similarity) -> Stage:
    """Makes the stage polish from its settings."""
    table = settings.polish

    def search(problem: Problem, start: np.ndarray) -> tuple:
        reach = _six(table.reach_deg, table.reach_mm)
        return polish(_cost(problem, table, similarity), start, reach=reach, evaluations=table.evaluations)[:4]

    return Stage("polish", search)


def descent_stage(settings: RegisterSettings, similarity: Similarity) -> Stage:
    """Makes the stage descent from its settings."""
    table = settings.descent

    def search(problem: Problem, start: np.ndarray) -> tuple:
        return descended(_cost(problem, table, similarity, differentiable=True), start, table)

    return Stage("descent", search)


def descended(cost: Cost, start: np.ndarray, table: SimilaritySettings) -> tuple:
    """Descends a cost as a table of settings says, from one start.

    Args:
        cost: of poses `(n, 6)`, `(n,)`.
        start: pose `(6,)`, rotation vector in rad, translation in mm.
        table: rates and number of steps.

    Returns:
        Pose `(6,)`, cost `()`, poses `(steps, 6)` and costs `(steps,)` of the way.
    """
    found = descend(cost, tf.constant(start[np.newaxis], tf.float32), **table.descent())
    made = int(found.steps[0]) + 1
    return found.pose[0], found.cost[0], found.poses[1:made, 0], found.costs[1:made, 0]


def register_from(problem: Problem, starts: Sequence[np.ndarray], stages: Sequence[Stage]) -> list[Found]:
    """Registers a case from several starts.

    Args:
        problem: the case.
        starts: poses `(6,)`, rotation vector in rad, translation in mm.
        stages: what each start goes through.

    Returns:
        What was found from each start, the least cost first.

    Raises:
        ValueError: if there is no start or stage, or the anatomy is not seen from a start.
    """
    if not len(starts) or not stages:
        raise ValueError(f"`starts` and `stages` must not be empty. Received {len(starts)} and {len(stages)}.")
    problem.check_seen(starts[0])
    found = []
    for start in starts:
        pose, traces = np.asarray(start, float), []
        for stage in stages:
            traces.append(stage(problem, pose))
            pose = traces[-1].pose
        found.append(Found(np.asarray(start, float), tuple(traces)))
    return sorted(found, key=lambda one: one.cost)


def disturbed(start: np.ndarray, count: int, settings: RegisterSettings, seed: int = 0) -> list[np.ndarray]:
    """Draws more starts around one: the C-arm turned and shifted in its own frame, normally.

    Args:
        start: `(6,)`, rotation vector in rad, translation in mm.
        count: of starts, the given one among them.
        settings: `starts_deg` and `starts_mm`.
        seed: of the draw.

    Returns:
        Poses `(6,)`, the given one first.
    """
    steps = np.random.default_rng(seed).normal(size=(count, 6)) * _six(settings.starts_deg, settings.starts_mm)
    steps[0] = 0
    return list(compose(np.asarray(start, float), steps).numpy())


def _cost(problem: Problem, table: LevelSettings, similarity: Similarity, *, differentiable: bool = False) -> Cost:
    level = problem.level(table.size, table.voxel_mm)
    return level.cost(similarity, table.patch_px, differentiable=differentiable)


def _six(deg: Sequence[float], mm: Sequence[float]) -> np.ndarray:
    return np.array([*np.radians(deg), *mm])
