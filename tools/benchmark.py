"""Measures speed: one JSON line a case, ours beside a peer's where there is one; medians over several runs."""

import argparse
import functools
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmedcai.cli import prepare_tensorflow

Case = dict[str, Any]
SEARCHES = Path(__file__).parents[1] / "search"
RESNET50_480_GMAC = 18.77  # of the classifier with its last layer, at 480 x 480 px
ROUNDS = 3  # ours and the peers' in turn, so that both see the same machine


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


@dataclass(frozen=True)
class Peers:
    """Programs that measure other packages in an environment of their own and print a JSON line a case.

    Attributes:
        python: of that environment; None measures no peers.
        scripts: folder of the programs.
    """

    python: Path | None
    scripts: Path

    def measure(self, script: str, group: str, runs: int) -> dict[str, float]:
        """Runs a program on one thread; returns the median time of each of its cases, none without an environment."""
        if self.python is None:
            return {}
        command = [self.python, self.scripts / script, group, "--threads", "1", "--runs", str(runs)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        cases = [json.loads(row) for row in printed.stdout.splitlines() if row.startswith("{")]
        return {case["case"]: case["median_s"] for case in cases}


def beside(
    ours: dict[str, Callable[[], object]], names: dict[str, str], measure: Callable[[], dict[str, float]], runs: int
) -> Iterator[Case]:
    """Measures our cases and the peers' in turn; `names` says which of our cases does what a peer's case does."""
    rounds = [({name: median_seconds(run, runs) for name, run in ours.items()}, measure()) for _ in range(ROUNDS)]
    for name in ours:
        seconds = statistics.median(mine[name] for mine, _ in rounds)
        compared = [peer for peer, same in names.items() if same == name and peer in rounds[0][1]]
        if not compared:
            yield line(name, seconds)
        for peer in compared:
            peer_s = statistics.median(theirs[peer] for _, theirs in rounds)
            yield line(name, seconds, peer=peer, peer_s=round(peer_s, 5), ratio=round(peer_s / seconds, 2))


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
    from tfmedcai.serving.client import Client

    with _server(folder, options) as address:
        open_clients = [Client(address) for _ in range(clients)]
        asks = [lambda client=client: client.predict(folder.name, image) for client in open_clients]
        median, rate = _latencies(asks, count)
        for client in open_clients:
            client.close()
    case = ":".join([folder.name, f"{clients}_clients", *(option.removeprefix("--") for option in options)])
    more = {"peer": "in process", "peer_s": round(alone, 6), "ratio": round(alone / median, 3)}
    return line(case, median, **more, requests_per_second=round(rate, 1))


@contextmanager
def _server(folder: Path, options: list[str]) -> Iterator[str]:
    """Runs a server of one model, whose folder it is, and yields its address."""
    command = [sys.executable, "-m", "tfmedcai.serving", "serve", "--port", "0", "--model_name", folder.name]
    with subprocess.Popen(
        [*command, "--model_base_path", str(folder), *options], stdout=subprocess.PIPE, text=True
    ) as server:
        yield (server.stdout.readline() if server.stdout else "").split()[5].rstrip(",")
        server.terminate()


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


def segmentation(runs: int, peers: Peers) -> Iterator[Case]:
    """Surface metrics and augmentation on one thread, beside DeepMind, MONAI and MedPy."""
    yield from surface_metrics(runs, peers)
    yield from augmentation(runs, peers)


def surface_metrics(runs: int, peers: Peers) -> Iterator[Case]:
    """95 % Hausdorff distance and surface Dice of two ellipsoids in 256 x 256 x 128 voxels."""
    import numpy as np

    from tfmedcai.metrics.surface import surface_distances

    places = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in (256, 256, 128))]
    truth, prediction = (
        sum(((x - c) / 0.38) ** 2 for x, c in zip(places, centre, strict=True)) < 1
        for centre in ((0, 0, 0), (0.03, 0.03, 0.02))
    )
    spacing = (0.8, 0.8, 2.5)

    def both() -> None:
        found = surface_distances(prediction, truth, spacing)
        found.dice(2.0)
        found.hausdorff(95)

    ours = {
        "surface:sd2+hd95": both,
        "surface:hd95,border": lambda: surface_distances(prediction, truth, spacing, "border").hausdorff(95),
        "surface:sd2,border": lambda: surface_distances(prediction, truth, spacing, "border").dice(2.0),
    }
    names = {
        "deepmind:sd2+hd95": "surface:sd2+hd95",
        "monai:hd95": "surface:hd95,border",
        "monai:sd2": "surface:sd2,border",
        "medpy:hd95": "surface:hd95,border",
    }
    yield from beside(ours, names, lambda: peers.measure("metric_peers.py", "metrics", runs), runs)


def augmentation(runs: int, peers: Peers) -> Iterator[Case]:
    """Random changes of a patch of 96 x 96 x 64 voxels and its label, out of a pipeline."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.data.augmentation import Augmentation

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng, size = np.random.default_rng(0), (96, 96, 64)
    image = tf.constant(rng.normal(size=(*size, 1)).astype(np.float32))
    label = tf.constant(rng.integers(0, 2, size).astype(np.uint8))

    def pipeline(change: Augmentation) -> Callable[[], object]:
        seeds = tf.data.Dataset.range(np.iinfo(np.int32).max, output_type=tf.int32)
        changed = iter(seeds.map(lambda index: change(image, label, tf.stack([0, index]))))
        return lambda: next(changed)

    ours = {
        "augmentation:rot90+flips": pipeline(Augmentation(flip=(True,) * 3, quarter_turns=True)),
        "augmentation:affine": pipeline(Augmentation(scale=(0.9, 1.1), rotate_deg=(17.2,) * 3)),
    }
    names = {name.replace("augmentation", "monai"): name for name in ours}
    yield from beside(ours, names, lambda: peers.measure("metric_peers.py", "augmentation", runs), 5 * runs)


def tracking(runs: int, peers: Peers) -> Iterator[Case]:
    """CSL at 480 x 480: inference by work beside ResNet-50 of PyTorch, a served video, the input pipeline."""
    yield from csl_inference(runs, peers)
    yield from served_video()
    yield from frame_pipeline(runs)


def csl_inference(runs: int, peers: Peers) -> Iterator[Case]:
    """Seconds of a thousand million multiply-accumulates, on one thread."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.metrics.complexity import multiply_accumulates
    from tfmedcai.models.csl import csl

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = csl(outputs=5, per_pixel=True, landmarks=3, stride=2)
    image = tf.constant(np.random.default_rng(0).normal(size=(1, 480, 480, 3)).astype(np.float32))
    answer = tf.function(lambda image: model(image, training=False), autograph=False)
    work = multiply_accumulates(model) / 1e9
    for case in beside(
        {"csl:infer": lambda: answer(image).numpy()},
        {"resnet50_480:infer": "csl:infer"},
        lambda: peers.measure("net_peers.py", "resnet50_480", runs),
        runs,
    ):
        each = {"gmac": round(work, 2), "ours_s_per_gmac": round(case["ours_s"] / work, 5)}
        if case["peer_s"] is not None:
            each |= {
                "peer_s_per_gmac": round(case["peer_s"] / RESNET50_480_GMAC, 5),
                "ratio": round(case["peer_s"] / RESNET50_480_GMAC / (case["ours_s"] / work), 2),
            }
        yield case | each


def served_video() -> Iterator[Case]:
    """Frames a second of a video over gRPC: decoded, sent as bytes, answered, drawn and encoded."""
    import tempfile

    import numpy as np

    from tfmedcai.config import Settings
    from tfmedcai.data.video import write_video
    from tfmedcai.serving.client import Client
    from tfmedcai.serving.export import export
    from tfmedcai.simulators.endoscopy import EndoscopyScene, simulate
    from tfmedcai.tasks.task import make_task
    from tfmedcai.tasks.tracking_video import follow

    frames = [simulate(EndoscopyScene(), 0, number).image for number in range(16)]
    for filters in (64, 16):
        settings = Settings().updated({"task": "tracking", "csl": {"filters": filters}})
        task = make_task(settings)
        with tempfile.TemporaryDirectory() as folder:
            write_video(Path(folder) / "video.mp4", frames, 25)
            version = export(task.signatures(task.network("csl")), Path(folder) / "csl")
            with _server(version.parent, []) as address, Client(address) as client:

                def tracker(images: np.ndarray, client: Client = client) -> dict[str, np.ndarray]:
                    return dict(client.predict("csl", {"frame": images}))

                answer = follow(tracker, Path(folder) / "video.mp4", Path(folder), settings.tracking)
        speed = answer["frames_per_second"]
        yield line(f"csl{filters}:served_video", 1 / speed["all"], frames_per_second=speed, frame="640x480")


def frame_pipeline(runs: int) -> Iterator[Case]:
    """Augmented frames with targets a second, beside the frames a second of the training steps that eat them."""

    from tfmedcai.config import Settings
    from tfmedcai.tasks.fitting import compile_for
    from tfmedcai.tasks.task import make_task
    from tfmedcai.tasks.tracking_data import batches

    settings = Settings().updated(
        {"task": "tracking", "csl": {"filters": 16}, "tracking": {"sequences": 2, "frames": 8}}
    )
    task, size = make_task(settings), 4
    data, _ = batches(task.samples, settings.tracking, (True, False), size, seed=0)
    source = iter(data(0))
    drawn = median_seconds(lambda: [next(source) for _ in range(8)], runs) / 8
    model, batch = task.network("csl"), next(source)
    compile_for(model, settings.training, 1, 1, task.loss((True, False)))
    step = median_seconds(lambda: model.train_on_batch(*batch), runs)
    rates = {"images_per_second": round(size / drawn, 1), "step_images_per_second": round(size / step, 2)}
    yield line("frames:augmented", drawn, batch=size, image="480x480", **rates, share_of_step=round(drawn / step, 3))


TOPICS = {
    "snap": lambda runs, peers: snap(runs),
    "serving": lambda runs, peers: serving(runs),
    "segmentation": segmentation,
    "tracking": tracking,
}
SUMMARIES = {
    "snap": snap.__doc__,
    "serving": serving.__doc__,
    "segmentation": segmentation.__doc__,
    "tracking": tracking.__doc__,
}


def main() -> None:
    """Prints the cases of one topic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic", choices=sorted(TOPICS))
    parser.add_argument("--runs", type=int, default=7, help="runs of each case")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    parser.add_argument(
        "--peers", type=Path, metavar="VENV", help="environment of the peers; without it they are left out"
    )
    bench = Path(__file__).parents[2] / "shared" / "bench"
    parser.add_argument(
        "--peer_scripts", type=Path, default=bench, help="folder of the programs that measure the peers"
    )
    given = parser.parse_args()
    prepare_tensorflow()
    peers = Peers(given.peers / "bin" / "python" if given.peers else None, given.peer_scripts)
    if not given.json:
        print(f"{given.topic}: {(SUMMARIES[given.topic] or '').strip()}")
    for case in TOPICS[given.topic](given.runs, peers):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
