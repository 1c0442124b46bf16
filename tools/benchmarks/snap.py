"""Speed of instrument pose estimation."""

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measures import Case, Peers, line, median_seconds

SEARCHES = Path(__file__).parents[2] / "search"


def snap(runs: int, _: Peers) -> Iterator[Case]:
    """Training steps, the overhead of a trial, the simulator, and the latency of one image."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.config import Fit, Settings
    from tfmedcai.search_spaces.snap import Snap
    from tfmedcai.simulators.xray_instruments import XRayScene, dataset
    from tfmedcai.tasks.fitting import compile_for, seed_everything
    from tfmedcai.tasks.task import make_task

    task = make_task(Settings())
    program = Snap.parse("branch dws3x3 switch conv3x3 merge")
    rng = np.random.default_rng(0)
    batch = rng.uniform(size=(64, 48, 92, 1)).astype(np.float32), rng.normal(size=(64, 12)).astype(np.float32)
    for name, architecture in (("i3posnet", "i3posnet"), ("snapnet_a", program)):
        model = task.network(architecture)
        compile_for(model, Fit(), 100, 1)
        seconds = median_seconds(lambda model=model: model.train_on_batch(*batch), runs)
        yield line(f"{name}:train_step", seconds, batch=64, parameters=model.count_params())

    yield _trial()

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
    for name, architecture in (("i3posnet", "i3posnet"), ("snapnet_a", program)):
        for iterations, signature in (("3", "serving_default"), ("1", "one_iteration")):
            answer = tf.function(task.signatures(task.network(architecture))[signature].function)
            seconds = median_seconds(lambda answer=answer: answer(image, pose)["pose"].numpy(), max(runs, 20))
            yield line(f"{name}:crop_network_pose", seconds, iterations=iterations, image="1024x1024")


def _trial() -> Case:
    """What a trial of the small search spends before and beside its steps: building, tracing, compiling."""
    import numpy as np

    from tfmedcai.config import read_settings
    from tfmedcai.search_spaces.snap import Snap
    from tfmedcai.tasks.fitting import Arrays, Keeper, train
    from tfmedcai.tasks.task import make_task

    settings = read_settings(SEARCHES / "autosnap_pose_small.toml")
    task, fit = make_task(settings), settings.search.fit
    samples = int(0.7 * settings.pose.images) * settings.pose.augmentation
    rng = np.random.default_rng(0)
    patches = rng.uniform(size=(samples, 48, 92, 1)).astype(np.float16)
    data = Arrays(patches, rng.normal(size=(samples, 12)).astype(np.float32))
    program = Snap.parse("branch dws3x3 switch conv3x3 merge")
    ends = [time.perf_counter()]
    keeper = Keeper(tell=lambda row: ends.append(time.perf_counter()))
    train(lambda: task.network(program, search=True), data, None, fit, max(3, fit.epochs), 0, keeper)
    epoch = statistics.median(later - earlier for earlier, later in itertools.pairwise(ends[1:]))
    overhead = ends[1] - ends[0] - epoch
    share = overhead / (overhead + fit.epochs * epoch)
    return line("trial:overhead", overhead, share=round(share, 3), epoch_s=round(epoch, 2), samples=samples)
