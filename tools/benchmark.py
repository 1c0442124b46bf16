"""Measures speed: one JSON line a case, ours beside a peer's where there is one; medians over several runs."""

import argparse
import functools
import itertools
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfmedcai.cli import prepare_tensorflow

Case = dict[str, Any]
SEARCHES = Path(__file__).parents[1] / "search"


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
    from tfmedcai.tasks.fitting import compile_for, seed_everything
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
    for name, architecture in (("i3posnet", None), ("snapnet_a", program)):
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


def serving(runs: int) -> Iterator[Case]:
    """Answers over gRPC beside calling the same graph in the process: one client and eight, batching off and on."""
    import tempfile

    import keras
    import numpy as np
    import tensorflow as tf

    from tfmedcai.serving.export import export
    from tfmedcai.serving.servables import Servable
    from tfmedcai.tasks.task import Signature

    def tiny() -> keras.Model:
        layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((28, 28, 1)), *layers, keras.layers.Dense(10)])

    def passing() -> keras.Model:
        image = keras.Input((480, 480, 3))
        return keras.Model(image, keras.layers.Identity()(image))

    def large() -> keras.Model:
        image = keras.Input((480, 480, 3))
        return keras.Model(image, keras.applications.ResNet50(include_top=False, weights=None)(image))

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, network, shape in (("tiny", tiny(), (28, 28, 1)), ("pass", passing(), (480, 480, 3)),
                                     ("resnet50", large(), (480, 480, 3))):  # fmt: skip
            image = {"image": rng.random((1, *shape), np.float32)}
            spec = {"image": tf.TensorSpec((None, *shape), tf.float32)}
            meaning = {"image": "(batch, height, width, channels)", "maps": "what the network answers"}
            signature = Signature(lambda image, network=network: {"maps": network(image)}, spec, image, meaning)
            version = export({"serving_default": signature}, Path(folder) / name)
            servable = Servable(name, 1, version)
            entrance = servable.signatures["serving_default"]
            feeds = {entrance.inputs["image"].name: image["image"]}
            fetches = [entrance.outputs["maps"].name]
            count = 5 * runs if name == "resnet50" else 100 * runs
            alone, _ = _latencies([functools.partial(servable.run, feeds, fetches)], count)
            servable.close()
            for options in ([], ["--enable_batching"]):
                for clients in (1, 8):
                    yield _served(version.parent, image, clients, count, alone, options)
            if name == "tiny":
                yield _served(version.parent, image, 8, count, alone, ["--workers", str(os.cpu_count())])


def _served(folder: Path, image: dict[str, Any], clients: int, count: int, alone: float, options: list[str]) -> Case:
    """Starts a server of its own for one case and measures it; ratio is the part of the time that the graph takes."""
    import subprocess
    import sys

    from tfmedcai.serving.client import Client

    command = [sys.executable, "-m", "tfmedcai.serving", "serve", "--port", "0", "--model_name", folder.name]
    with subprocess.Popen(
        [*command, "--model_base_path", str(folder), *options], stdout=subprocess.PIPE, text=True
    ) as server:
        address = (server.stdout.readline() if server.stdout else "").split()[5].rstrip(",")
        open_clients = [Client(address) for _ in range(clients)]
        asks = [lambda client=client: client.predict(folder.name, image) for client in open_clients]
        median, rate = _latencies(asks, count)
        for client in open_clients:
            client.close()
        server.terminate()
    case = ":".join([folder.name, f"{clients}_clients", *(option.removeprefix("--") for option in options)])
    more = {"peer": "in process", "peer_s": round(alone, 6), "ratio": round(alone / median, 3)}
    return line(case, median, **more, requests_per_second=round(rate, 1))


def _latencies(asks: list[Callable[[], object]], count: int) -> tuple[float, float]:
    """Returns the median time of a call, each caller in a thread of its own, and all calls a second."""
    import threading

    seconds: list[float] = []

    def repeat(ask: Callable[[], object]) -> None:
        for _ in range(count // len(asks)):
            start = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - start)

    for ask in asks:
        ask()
    threads = [threading.Thread(target=repeat, args=(ask,)) for ask in asks]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.median(seconds), len(seconds) / (time.perf_counter() - start)


def supernet(runs: int, peers: Path | None = None, darts: Path | None = None) -> Iterator[Case]:
    """A step of DARTS's search at 16 features, 8 cells, batches of 8: weights alone, first and second order."""
    import keras
    import tensorflow as tf

    from tfmedcai.config import SupernetSettings
    from tfmedcai.metrics.complexity import training_memory
    from tfmedcai.models.darts_supernet import darts_supernet
    from tfmedcai.search.relaxed_search import compiled
    from tfmedcai.tasks.relaxed import Relaxed, Stream

    def batch() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.random.normal((8, 32, 32, 3)), tf.random.uniform((8,), 0, 10, tf.int32)

    data = (batch(), batch())
    stream = Stream(lambda epoch: tf.data.Dataset.from_tensors(data[0]), 1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    problem = Relaxed(lambda: darts_supernet(input_shape=(32, 32, 3), outputs=10), loss, stream, stream)
    estimate = round(training_memory(problem.build(), 8, optimizer_slots=1) / 2**20)
    if peers is None or darts is None:
        print("without --peers and --darts the original is left out", file=sys.stderr)
    for case, options in (("weights", {}), ("first", {}), ("second", {"second_order": True})):
        keras.backend.clear_session()
        model = compiled(problem, SupernetSettings(**options), seed=0)
        model.architecture_moves = case != "weights"
        start = time.perf_counter()
        step = tf.function(model.train_step)
        step(data)
        more = {"trace_s": round(time.perf_counter() - start, 1), "estimated_mb": estimate}
        peer = (
            darts_steps(peers, darts, case) if peers is not None and darts is not None and case != "weights" else None
        )
        yield interleaved(f"darts:{case}", lambda step=step: float(step(data)["loss"]), peer, runs) | more


def darts_steps(peers: Path, darts: Path, order: str) -> Iterator[tuple[float, int]]:
    """Yields seconds and peak memory in MB of step after step of the original DARTS, in an environment of its own."""
    import subprocess

    program = Path(__file__).with_name("peers") / "darts_step.py"
    command = [peers / "bin" / "python", program, darts, str(len(os.sched_getaffinity(0)))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            while True:
                print(order, file=process.stdin, flush=True)
                seconds, peak = process.stdout.readline().split()
                yield float(seconds), int(peak)
        finally:
            process.terminate()


def interleaved(case: str, run: Callable[[], object], peer: Iterator[tuple[float, int]] | None, runs: int) -> Case:
    """Times ours and the peer's runs in turn, after two of each that are not counted; medians."""
    ours, theirs = [], []
    for number in range(-2, runs):
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        other = next(peer) if peer is not None else None
        if number >= 0:
            ours.append(seconds)
            theirs += [other] if other is not None else []
    found = line(case, statistics.median(ours))
    if peer is None:
        return found
    middle = statistics.median(seconds for seconds, _ in theirs)
    peer.close()
    names = {"peer": "DARTS, PyTorch", "peer_s": round(middle, 5), "ratio": round(middle / found["ours_s"], 2)}
    return found | names | {"peer_peak_mb": theirs[-1][1]}


TOPICS = {"snap": snap, "serving": serving, "supernet": supernet}


def main() -> None:
    """Prints the cases of one topic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", choices=sorted(TOPICS))
    parser.add_argument("--runs", type=int, default=7, help="runs of each case")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    parser.add_argument("--peers", type=Path, help="environment with PyTorch, for topics that have a peer")
    parser.add_argument("--darts", type=Path, help="folder `cnn` of a clone of github.com/quark0/darts")
    given = parser.parse_args()
    prepare_tensorflow()
    if not given.json:
        print(f"{given.topic}: {(TOPICS[given.topic].__doc__ or '').strip()}")
    more = {"peers": given.peers, "darts": given.darts} if given.topic == "supernet" else {}
    for case in TOPICS[given.topic](given.runs, **more):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
