"""Speed of the embedded server."""

import functools
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measures import Case, Peers, line


def serving(runs: int, _: Peers) -> Iterator[Case]:
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
            alone = _latencies([functools.partial(servable.run, feeds, fetches)], count)[0]
            servable.close()
            for options in ([], ["--enable_batching"]):
                for clients in (1, 8):
                    yield _served(version.parent, image, clients, count, alone, options)
            if name == "tiny":
                yield _served(version.parent, image, 8, count, alone, ["--workers", str(os.cpu_count())])


def _served(folder: Path, image: dict[str, Any], clients: int, count: int, alone: float, options: list[str]) -> Case:
    """Starts a server of its own for one case and measures it; ratio is the part of the time that the graph takes."""
    from tfmedcai.serving.client import Client

    with server_of(folder, options) as address:
        open_clients = [Client(address) for _ in range(clients)]
        asks = [lambda client=client: client.predict(folder.name, image) for client in open_clients]
        median, rate = _latencies(asks, count)
        for client in open_clients:
            client.close()
    case = ":".join([folder.name, f"{clients}_clients", *(option.removeprefix("--") for option in options)])
    more = {"peer": "in process", "peer_s": round(alone, 6), "ratio": round(alone / median, 3)}
    return line(case, median, **more, requests_per_second=round(rate, 1))


@contextmanager
def server_of(folder: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Runs a server of one model, whose folder it is, and yields its address."""
    command = [sys.executable, "-m", "tfmedcai.serving", "serve", "--port", "0", "--model_name", folder.name]
    with subprocess.Popen(
        [*command, "--model_base_path", str(folder), *options], stdout=subprocess.PIPE, text=True
    ) as server:
        yield (server.stdout.readline() if server.stdout else "").split()[5].rstrip(",")
        server.terminate()


def _latencies(asks: list[Callable[[], object]], count: int) -> tuple[float, float]:
    """Returns the median time of a call, each caller in a thread of its own, and all calls a second."""

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
