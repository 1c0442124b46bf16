"""Times steps of the original search of DARTS (PyTorch): `VENV/bin/python darts_step.py FOLDER --threads 1 --runs 7`.

FOLDER is `cnn` of a clone of github.com/quark0/darts, which needs no change. Prints a JSON line for each order.
"""

import argparse
import json
import resource
import statistics
import sys
import time
import types
import warnings

import torch
from torch import nn

BATCH, FILTERS, CELLS, CLASSES = 8, 16, 8, 10


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and classes."""
    return torch.randn(BATCH, 3, 32, 32), torch.randint(0, CLASSES, (BATCH,))


def main() -> None:
    """Measures both orders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")  # the code was written for an older PyTorch
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *_: self  # and for a GPU
    sys.path.insert(0, given.folder)
    from architect import Architect
    from model_search import Network

    decays = types.SimpleNamespace(momentum=0.9, weight_decay=3e-4, arch_learning_rate=3e-4, arch_weight_decay=1e-3)
    criterion = nn.CrossEntropyLoss()
    network = Network(FILTERS, CLASSES, CELLS, criterion)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    architect = Architect(network, decays)
    (x, y), (x_validation, y_validation) = batch(), batch()

    def seconds_of(order: str) -> float:
        start = time.perf_counter()
        architect.step(x, y, x_validation, y_validation, 0.025, optimizer, unrolled=order == "second")
        optimizer.zero_grad()
        criterion(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        return time.perf_counter() - start

    for order in ("first", "second"):
        seconds = [seconds_of(order) for _ in range(given.runs + 1)][1:]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        case = {"case": f"original:darts:{order}_order", "median_s": statistics.median(seconds), "peak_mb": peak}
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
