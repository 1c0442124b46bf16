"""Speed of the tracking of instruments in video."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measures import Case, Peers, beside, line, median_seconds
from benchmarks.serving import server_of

RESNET50_480_GMAC = 18.77  # of the classifier of torchvision with its last layer, at 480 x 480 px


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
        lambda: peers.measure("net_peers.py", ["resnet50_480"], runs),
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
            with server_of(version.parent) as address, Client(address) as client:

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
