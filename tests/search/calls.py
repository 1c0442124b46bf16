"""What executors are tested with: calls that need no TensorFlow, and fail in every way."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


def double(number):
    return {"value": 2.0 * number}


def meet(folder, name, others):
    """Ends when all others have begun: only if they run side by side."""
    (Path(folder) / name).touch()
    while not all((Path(folder) / other).exists() for other in others):
        time.sleep(0.01)
    return {"value": 1.0}


def die(folder, name, times, how=signal.SIGKILL):
    """Kills its own process the first times that it is called."""
    begun = len(list(Path(folder).glob(f"{name}-*")))
    (Path(folder) / f"{name}-{begun}").touch()
    if begun < times:
        os.kill(os.getpid(), how)
        time.sleep(60)
    return {"value": float(begun)}


def fail(kind):
    print("to the log")
    print("and an error", file=sys.stderr, flush=True)
    if kind == "hang":
        time.sleep(600)
    if kind == "exit":
        os._exit(3)
    if kind == "memory":
        raise MemoryError("too large")
    if kind == "array":
        np.ones(1 << 50)
    if kind == "disk":
        raise OSError(28, "No space left on device", "/full")
    if kind == "unpicklable":
        raise type("Odd", (Exception,), {})("odd")
    raise ZeroDivisionError("division by zero")


def process_id(seconds=0.0):
    time.sleep(seconds)
    return {"value": float(os.getpid())}


def call(what, *arguments):
    """One function for all, since an executor has one."""
    return globals()[what](*arguments)


class Data:
    """A function with an array, which all calls share."""

    def __init__(self, size):
        self.array = np.arange(size, dtype=np.float32)
        self.empty = np.zeros(0)

    def total(self, change=0.0):
        if change:
            self.array[0] = change
        return {"value": float(self.array.sum()), "owned": float(self.array.flags.owndata)}


def score_snap(architecture, epochs):
    """A cheap score."""
    symbols = architecture.symbols
    return {"value": float(symbols.count("conv3x3")), "parameters": 10 * len(symbols)}


@dataclass(frozen=True)
class Slow:
    """Takes its time, and says that it has begun."""

    folder: str
    seconds: float = 1.0

    def __call__(self, architecture, epochs):
        (Path(self.folder) / f"begun-{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        return score_snap(architecture, epochs)


@dataclass(frozen=True)
class Deadly:
    """Kills its process on blocks with a pooling, as one that takes too much memory is killed."""

    def __call__(self, architecture, epochs):
        if "maxpool3x3" in architecture.symbols:
            os.kill(os.getpid(), signal.SIGKILL)
        return score_snap(architecture, epochs)


@dataclass(frozen=True)
class Hanging:
    """Never ends on blocks with a pooling."""

    def __call__(self, architecture, epochs):
        if "maxpool3x3" in architecture.symbols:
            time.sleep(600)
        return score_snap(architecture, epochs)
