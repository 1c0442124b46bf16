"""Measures speed: one JSON line a case, ours beside a peer's where there is one; medians over several runs."""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from tfmedcai.cli import prepare_tensorflow

Case = dict[str, Any]


def median_seconds(run: Callable[[], object], runs: int) -> float:
    """Returns the median time of `run` over several runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def line(case: str, seconds: float, **more: Any) -> Case:
    """One case without a peer; `more` holds rates and sizes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "case": case,
        "ours_s": round(seconds, 5),
        "peer": None,
        "peer_s": None,
        "ratio": None,
        "peak_mb": peak,
    } | more


def snap(runs: int) -> Iterator[Case]:
    """Training steps, the overhead of a trial, the simulator, and the latency of one image."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.config import Fit, Settings
    from tfmedcai.search_spaces.snap import Snap
    from tfmedcai.simulators.xray_instruments import XRayScene, dataset
    from tfmedcai.tasks.fitting import Arrays, compile_for, seed_everything, train
    from tfmedcai.tasks.task import make_task

    task = make_task(Settings())
    program = Snap.parse("branch dws3x3 switch conv3x3 merge")
    rng = np.random.default_rng(0)
    batch = rng.uniform(size=(64, 48, 92, 1)).astype(np.float32), rng.normal(size=(64, 12)).astype(np.float32)
    for name, architecture in (("i3posnet", None), ("snapnet_a", program)):
        model = task.network(architecture)
        compile_for(model, Fit(), 100, 1)
        seconds = median_seconds(lambda model=model: model.train_on_batch(*batch), runs)
        yield line(f"{name}:train_step", seconds, batch=64, parameters=model.count_params())

    small = Arrays(np.repeat(batch[0], 16, axis=0).astype(np.float16), np.repeat(batch[1], 16, axis=0))
    fit = Fit()

    def trial(epochs: int) -> float:
        start = time.perf_counter()
        train(lambda: task.network(program, search=True), small, None, fit, epochs, 0)
        return time.perf_counter() - start

    one, three = trial(1), trial(3)
    overhead = one - (three - one) / 2
    yield line("trial:overhead", overhead, epoch_s=round((three - one) / 2, 3), samples=len(small))

    seed_everything(0)
    for size in (256, 512, 1024):
        scene = XRayScene(image_size=(size, size))
        for _ in dataset(scene, 2, 0):
            pass
        start, count = time.perf_counter(), 32
        for _ in dataset(scene, count, 1):
            pass
        seconds = time.perf_counter() - start
        yield line(f"simulator:{size}x{size}", seconds / count, images_per_second=round(count / seconds, 1))

    image = tf.constant(rng.uniform(size=(1, 1024, 1024)).astype(np.float32))
    pose = tf.constant([[500.0, 500.0, 20.0, 0.0, 0.15]])
    for name, architecture in (("i3posnet", None), ("snapnet_a", program)):
        for iterations, signature in (("3", "serving_default"), ("1", "one_iteration")):
            answer = tf.function(task.signatures(task.network(architecture))[signature].function)
            seconds = median_seconds(lambda answer=answer: answer(image, pose)["pose"].numpy(), max(runs, 20))
            yield line(f"{name}:crop_network_pose", seconds, iterations=iterations, image="1024x1024")


TOPICS = {"snap": snap}


def main() -> None:
    """Prints the cases of one topic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", choices=sorted(TOPICS))
    parser.add_argument("--runs", type=int, default=7, help="runs of each case")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    given = parser.parse_args()
    prepare_tensorflow()
    if not given.json:
        print("no peer does these jobs: peer and ratio are left out")
    for case in TOPICS[given.topic](given.runs):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
