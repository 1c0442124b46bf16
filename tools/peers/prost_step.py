"""Times the original of ProST (PyTorch): `VENV/bin/python prost_step.py FOLDER GROUP --threads 1 --runs 7`.

FOLDER is `src` of a clone of github.com/gaocong13/Projective-Spatial-Transformers, which needs no change: its branch
master has the projector and the network of MICCAI 2020, its branch tmi that of the journal, which needs the package
vit-pytorch. The grid of rays is made by whole arrays here: the loop over pixels of the CPU build takes longer than all
else. Prints a JSON line a case.
"""

import argparse
import importlib.util
import json
import resource
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

SIZE, VOXEL_MM, PIXEL_MM, STEP_MM, SOURCE_MM, DETECTOR_MM = 128, 2.33203125, 2.92, 1.75, 620.0, -400.0
POSE = (0.0349, 0.0175, -0.0524, 3.0, -2.0, 5.0)  # rad and mm
CORNERS = [[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]


def grid(
    _: Tensor,
    size: torch.Size,
    low: float,
    high: float,
    source: float,
    detector: float,
    pixel: float,
    step: float,
    __: bool,
) -> Tensor:
    """Places of all samples of all rays in the frame of the C-arm, homogeneous: `(batch, rays * samples, 4)`."""
    count, _, rows, columns = size
    along = torch.arange(float(low) - step, float(high) + 1.001 * step, step)
    y, x = (pixel * (torch.arange(length) - length / 2) for length in (columns, rows))
    x, y = torch.meshgrid(x, y, indexing="ij")
    length = torch.sqrt(x**2 + y**2 + (source - detector) ** 2)[..., None]
    z = source - along * (source - detector) / length
    places = torch.stack([along * x[..., None] / length, along * y[..., None] / length, z, torch.ones_like(z)], -1)
    return places.reshape(1, -1, 4).repeat(count, 1, 1)


def rigid(pose: Tensor) -> Tensor:
    """The matrices `(batch, 4, 4)` of poses of a rotation vector and a translation."""
    zero = torch.zeros_like(pose[:, 0])
    x, y, z = pose[:, 0], pose[:, 1], pose[:, 2]
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    top = torch.cat([torch.linalg.matrix_exp(skew), pose[:, 3:, None]], -1)
    return torch.cat([top, torch.tensor([[[0.0, 0.0, 0.0, 1.0]]]).expand(len(pose), 1, 4)], 1)


def stand_in(folder: str) -> None:
    """Modules that the code imports and that are left out here, and a GPU that is none."""
    tensors: type = Tensor
    tensors.cuda = nn.Module.cuda = lambda self, *_, **__: self
    found_vit = importlib.util.find_spec("vit_pytorch")
    transformers = {"__path__": found_vit.submodule_search_locations} if found_vit else {}
    stand_ins = {
        "ProSTGrid": {"forward": grid},
        "torchgeometry": {"rtvec_to_pose": rigid},
        "cv2": {},
        "vit_pytorch": transformers,  # only one of its files, not all that the package imports
    }
    for name, found in stand_ins.items():
        module = types.ModuleType(name)
        module.__dict__.update(found)
        sys.modules[name] = module
    sys.path.insert(0, folder)


def geometry(size: int) -> tuple[tuple[float, float, float, float], Tensor, Tensor]:
    """Parameters of the projector in units of half the volume, a volume of `size` voxels an edge, and a pose."""
    unit = SIZE * VOXEL_MM / 2
    pose = torch.tensor([[*POSE[:3], *(length / unit for length in POSE[3:])]], requires_grad=True)
    parameters = (SOURCE_MM / unit, DETECTOR_MM / unit, PIXEL_MM / unit, STEP_MM / unit)
    return parameters, 0.02 * torch.rand(1, 1, size, size, size), pose


def projections() -> dict[str, Callable[[], object]]:
    """Image, gradients and double backward of the original's projector."""
    from module import ProST

    parameters, volume, pose = geometry(SIZE)
    volume.requires_grad_(True)
    target, weight, corners = torch.zeros(1, 1, SIZE, SIZE), torch.randn(1, 1, SIZE, SIZE), torch.tensor([CORNERS])
    project = ProST(parameters)

    def forward() -> Tensor:
        with torch.no_grad():
            return project(volume, target, pose, corners)

    def slope(sources: list[Tensor], *, keep: bool = False) -> tuple[Tensor, ...]:
        image = project(volume, target, pose, corners)
        return torch.autograd.grad((image * weight).sum(), sources, create_graph=keep)

    return {
        "fwd": forward,
        "bwd_pose": lambda: slope([pose]),
        "bwd_pose_vol": lambda: slope([pose, volume]),
        "dbl": lambda: torch.autograd.grad((slope([pose], keep=True)[0] ** 2).sum(), pose),
        "dbl_vol": lambda: torch.autograd.grad((slope([pose], keep=True)[0] ** 2).sum(), volume),
    }


def training_step(
    similarity: Callable[[Tensor, Tensor, Tensor], Tensor], network: nn.Module, size: int
) -> Callable[[], None]:
    """A step of the double backward for one pose, images of 128 x 128 px."""
    _, volume, pose = geometry(size)
    target, aim = torch.rand(1, 1, SIZE, SIZE), torch.randn(1, 6)
    optimizer = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        slope = torch.autograd.grad(similarity(volume, target, pose), pose, create_graph=True)[0]
        ((slope / slope.norm() - aim / aim.norm()) ** 2).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()

    return step


def conference_step(size: int) -> Callable[[], None]:
    """The network of MICCAI 2020."""
    from module import RegiNet

    parameters, corners = geometry(size)[0], torch.tensor([CORNERS])
    network = RegiNet(parameters, SIZE)

    def similarity(volume: Tensor, target: Tensor, pose: Tensor) -> Tensor:
        moving, fixed, _ = network(volume, target, pose, corners)
        return nn.functional.mse_loss(moving, fixed)

    return training_step(similarity, network, size)


def journal_step(size: int) -> Callable[[], None]:
    """The network of the journal."""
    from module_vit import RegiNet_CrossViTv2_SW

    parameters, corners = geometry(size)[0], torch.tensor([CORNERS])
    network = RegiNet_CrossViTv2_SW()

    def similarity(volume: Tensor, target: Tensor, pose: Tensor) -> Tensor:
        answer = network(volume, target, pose, corners, parameters)
        return (answer[0] if isinstance(answer, tuple) else answer).mean()

    return training_step(similarity, network, size)


def main() -> None:
    """Measures what the folder holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("group", choices=("projector", "step"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")  # the code was written for an older PyTorch
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    stand_in(given.folder)
    try:
        import module  # noqa: F401

        steps = {f"prost_miccai {size}^3": conference_step for size in (64, 128)}
    except ModuleNotFoundError:
        steps = {"prost 128^3": journal_step}
    for name, run in (projections() if given.group == "projector" else {}).items():
        report(name, run, given.runs)
    for name, make in (steps if given.group == "step" else {}).items():
        report(name, make(int(name.split()[1].removesuffix("^3"))), given.runs)


def report(name: str, run: Callable[[], object], runs: int) -> None:
    """Prints the median time of a case."""
    run()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"case": f"original:{name}", "median_s": statistics.median(seconds), "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    main()
