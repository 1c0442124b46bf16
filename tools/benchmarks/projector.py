"""Speed of the X-ray projector beside DiffDRR and nanodrr."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from benchmarks.measures import Case, Peers, beside, line, median_seconds

PEERS = ("diffdrr_siddon", "diffdrr_trilinear171", "nanodrr171")
# What the peers call a case, and what we do: the double backward of training goes to the volume, theirs to the pose.
CASES = {"fwd": "forward", "bwd_pose": "pose", "bwd_pose_vol": "pose_and_volume", "dbl": "double_to_pose"}
POSE = (2.0, 1.0, -3.0, 3.0, -2.0, 5.0)  # deg and mm
STEP_MM = 1.75


def projector(runs: int, peers: Peers) -> Iterator[Case]:
    """A volume of 128^3 onto a detector of 128^2: image and gradients, on one thread; then how they grow with size."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    names = {f"{peer}:{theirs}": ours for peer in PEERS for theirs, ours in CASES.items()}

    def measure() -> dict[str, float]:
        found: dict[str, float] = {}
        for name in names:
            found |= peers.measure("drr_peers.py", name, runs)
        return found

    yield from beside(_cases(128), names, measure, runs)
    for name, run in _cases(128, "siddon").items():
        yield line(f"siddon:{name}", median_seconds(run, runs))
    for size in (64, 128, 256):
        for name, run in _cases(size).items():
            yield line(f"{size}:{name}", median_seconds(run, max(1, runs // 3)))


def _cases(size: int, method: Literal["trilinear", "siddon"] = "trilinear") -> dict[str, Callable[[], object]]:
    """Forward, gradients and double backward of a volume and a detector of a size, which cover the same space."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.geometry.camera import Camera
    from tfmedcai.layers.projector import ProjectiveSpatialTransformer

    scale = 128 / size
    camera = Camera.from_c_arm(1020.0, 2.92 * scale, (size, size), source_isocentre_mm=620.0)
    project = ProjectiveSpatialTransformer(camera, (2.33203125 * scale,) * 3, STEP_MM * scale, method=method)
    random = np.random.default_rng(0)
    volume = tf.constant(random.uniform(0, 0.02, (1, size, size, size, 1)), tf.float32)
    weight = tf.constant(random.normal(size=(1, size, size, 1)), tf.float32)
    pose = tf.constant([[*np.radians(POSE[:3]), *POSE[3:]]], tf.float32)

    def gradients(volume: tf.Tensor, pose: tf.Tensor, *, of_volume: bool) -> Any:
        with tf.GradientTape() as tape:
            sources = [pose, volume] if of_volume else [pose]
            tape.watch(sources)
            weighted = tf.reduce_sum(project([volume, pose]) * weight)
        return tape.gradient(weighted, sources)

    def double(volume: tf.Tensor, pose: tf.Tensor, *, to_volume: bool) -> Any:
        with tf.GradientTape() as tape:
            source = volume if to_volume else pose
            tape.watch(source)
            squared = tf.reduce_sum(gradients(volume, pose, of_volume=False)[0] ** 2)
        return tape.gradient(squared, source)

    made: dict[str, Callable[..., Any]] = {
        "forward": lambda volume, pose: project([volume, pose]),
        "pose": lambda volume, pose: gradients(volume, pose, of_volume=False),
        "pose_and_volume": lambda volume, pose: gradients(volume, pose, of_volume=True),
        "double_to_pose": lambda volume, pose: double(volume, pose, to_volume=False),
        "double_to_volume": lambda volume, pose: double(volume, pose, to_volume=True),
    }
    compiled = {name: tf.function(run, jit_compile=True, autograph=False) for name, run in made.items()}
    return {
        name: lambda run=run: tf.nest.map_structure(lambda x: x.numpy(), run(volume, pose))
        for name, run in compiled.items()
    }
