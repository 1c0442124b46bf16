"""Steps of the original search of DARTS (PyTorch), timed on request: `VENV/bin/python darts_step.py FOLDER THREADS`.

FOLDER is `cnn` of a clone of github.com/quark0/darts. Each line read, "first" or "second" (order), is answered by the
seconds of one step and the peak memory in MB.
"""

import resource
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


def main(folder: str, threads: int) -> None:
    """Answers until the input ends."""
    warnings.filterwarnings("ignore")  # the code was written for an older PyTorch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.Tensor.cuda = nn.Module.cuda = lambda self, *_: self  # and for a GPU
    sys.path.insert(0, folder)
    from architect import Architect
    from model_search import Network

    decays = types.SimpleNamespace(momentum=0.9, weight_decay=3e-4, arch_learning_rate=3e-4, arch_weight_decay=1e-3)
    criterion = nn.CrossEntropyLoss()
    network = Network(FILTERS, CLASSES, CELLS, criterion)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    architect = Architect(network, decays)
    (x, y), (x_validation, y_validation) = batch(), batch()
    for order in map(str.strip, sys.stdin):
        start = time.perf_counter()
        architect.step(x, y, x_validation, y_validation, 0.025, optimizer, unrolled=order == "second")
        optimizer.zero_grad()
        criterion(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        seconds = time.perf_counter() - start
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
