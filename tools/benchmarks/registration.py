"""Speed of 2D/3D registration: whole registrations, and training steps with their double backward."""

import os
from collections.abc import Callable, Iterator
from statistics import median

from benchmarks.measures import Case, Peers, beside, line
from benchmarks.projector import ORIGINAL

START = 20.0  # deg and mm off the truth
STEPS = ("prost_miccai 64^3", "prost_miccai 128^3", "prost 128^3")


def registration(runs: int, peers: Peers) -> Iterator[Case]:
    """Simulated pelves of 128^3 voxels and images of 128^2 px, on all cores; a training step of one pose."""
    yield from whole_registrations(runs)
    names = {f"original:{name}": name for name in STEPS}
    yield from beside(
        {name: training_step(*name.split()) for name in STEPS}, names, lambda: _original(peers, runs), runs
    )


def _original(peers: Peers, runs: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for folder in peers.prost:
        found |= peers.measure(ORIGINAL, [str(folder), "step"], runs, threads=os.cpu_count() or 1)
    return found


def whole_registrations(runs: int) -> Iterator[Case]:
    """CMA-ES alone, and the default stages; the first case of a size compiles, the others do not."""
    import time

    import numpy as np

    from tfmedcai.config import Settings
    from tfmedcai.metrics.registration import registration_errors
    from tfmedcai.tasks.registration_data import read_subjects
    from tfmedcai.tasks.registration_evaluation import Trials
    from tfmedcai.tasks.registration_stages import descent_stage, evolution_stage, polish_stage, register_from

    table = {"subjects": 1, "held_back": 1, "evaluation_subjects": 1, "evaluation_cases": runs, "magnitudes": [START]}
    settings = Settings().updated({"task": "registration", "registration": table})
    trials = Trials(read_subjects(settings.registration)[-1:], settings.registration, settings.registering, 0)
    evolution = evolution_stage(settings.registering, "patch_gradient_ncc")
    descent, polish = (
        descent_stage(settings.registering, "gradient_ncc"),
        polish_stage(settings.registering, "patch_gradient_ncc"),
    )
    for name, stages in {
        "cma_es": [evolution],
        "cma_es descent": [evolution, descent],
        "cma_es polish": [evolution, polish],
    }.items():
        seconds, found = [], []
        for problem, start in zip(trials.problems[:runs], trials.starts[:runs], strict=True):
            begun = time.perf_counter()
            found.append(register_from(problem, [start], stages)[0].pose)
            seconds.append(time.perf_counter() - begun)
        points, truth = trials.points[:runs], trials.truth[:runs]
        tre = registration_errors(np.stack(found), truth, points, trials.camera)["mean_tre_mm"]
        errors = {"first_s": round(seconds[0], 2), "mean_tre_mm": [round(float(error), 2) for error in tre]}
        yield line(f"register:{name}", median(seconds[1:] or seconds), **errors, cases=runs)


def training_step(network: str, cube: str) -> Callable[[], object]:
    """A step of the double backward: volume network, projection, image network, one pose."""
    import tensorflow as tf

    from tfmedcai.config import Settings
    from tfmedcai.geometry.geodesic import geodesic_gradient
    from tfmedcai.losses.pose_gradients import PoseGradientLoss
    from tfmedcai.tasks.fitting import compile_for
    from tfmedcai.tasks.registration_data import case_maker, read_subjects
    from tfmedcai.tasks.task import make_task

    size = int(cube.removesuffix("^3"))
    small = {"spacing_mm": 298.0 / size, "size": [size] * 3, "image_size": [128, 128]}
    counts = {"subjects": 1, "held_back": 1, "evaluation_subjects": 1}
    settings = Settings().updated({"task": "registration", "registration": small | counts})
    model = make_task(settings).network(network)
    table = settings.registration
    compile_for(model, settings.training, 1, 1, PoseGradientLoss(table.loss, table.normaliser_mm))
    make = case_maker(read_subjects(table)[:1], table, 1, randomised=True)
    case = make(tf.constant(0), tf.constant([0, 0]))
    aim = geodesic_gradient(case.moving_pose, case.target_pose, table.normaliser_mm)
    return lambda: model.train_on_batch(tuple(case[:3]), aim)
