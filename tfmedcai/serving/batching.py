"""Merges requests that arrive at about the same time into one run of the graph."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tfmedcai.serving.config_files import read
from tfmedcai.serving.errors import RequestError, invalid

Run = Callable[[Mapping[str, np.ndarray], Sequence[str]], list[np.ndarray]]


@dataclass(frozen=True)
class Batching:
    """TensorFlow Serving's batching parameters, with its defaults."""

    max_batch_size: int = 1000
    """most rows in a batch"""
    batch_timeout_micros: int = 0
    """microseconds that a batch that is not full waits for more"""
    max_enqueued_batches: int = 10
    """batches that wait, for each kind of request; more are refused"""
    num_batch_threads: int = os.cpu_count() or 1
    """batches that run at once"""
    allowed_batch_sizes: tuple[int, ...] = ()
    """sizes to which batches are filled up with copies of their first row; empty: any"""


def read_batching(path: Path | None) -> Batching:
    """Returns what a file of batching parameters says; None gives the defaults.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not such a file, or its sizes contradict each other.
    """
    if path is None:
        return Batching()
    message = read(path, "BatchingParameters")
    if message.pad_variable_length_inputs:
        raise ValueError(f"`{path}`: `pad_variable_length_inputs` is not supported; requests of one shape are merged.")
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in names if message.HasField(name)}
    batching = Batching(**given, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    sizes = batching.allowed_batch_sizes
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != batching.max_batch_size):
        raise ValueError(
            f"`{path}`: `allowed_batch_sizes` must increase and end with `max_batch_size`, {batching.max_batch_size}. "
            f"Received {list(sizes)}."
        )
    return batching


@dataclass
class _Task:
    inputs: Mapping[str, np.ndarray]
    rows: int
    done: threading.Event = field(default_factory=threading.Event)
    values: list[np.ndarray] | None = None
    error: Exception | None = None


@dataclass
class _Batch:
    key: Any
    run: Run
    outputs: Sequence[str]
    due: float
    tasks: list[_Task] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


class BatchScheduler:
    """Collects requests of one model, signature, shape and type, and runs them together.

    TensorFlow Serving merges what has one signature and fails all of a batch when shapes differ: here a request only
    ever meets its like.

    Args:
        batching: sizes and times.
    """

    def __init__(self, batching: Batching) -> None:
        self.batching = batching
        self._change = threading.Condition()
        self._waiting: list[_Batch] = []
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="batch", daemon=True) for _ in range(batching.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self, owner: object, run: Run, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """Runs one request as part of a batch.

        Args:
            owner: what requests must have in common: the loaded version.
            run: runs the graph on inputs by tensor name, returns the outputs asked for.
            inputs: arrays by tensor name, rows first.
            outputs: tensor names.

        Returns:
            The rows of `outputs` that belong to this request.

        Raises:
            RequestError: with TensorFlow Serving's code and message.
        """
        rows = _rows(inputs)
        most = self.batching.max_batch_size
        if rows > most:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {most}")
        if rows == 0:
            return run(inputs, outputs)
        kinds = tuple((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items())
        task = _Task(inputs, rows)
        self._enqueue((id(owner), kinds, tuple(outputs)), run, outputs, task)
        task.done.wait()
        if task.error is not None:
            raise task.error
        assert task.values is not None  # noqa: S101 (a task without error has values)
        return task.values

    def close(self) -> None:
        """Runs what waits and ends the threads."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, key: Any, run: Run, outputs: Sequence[str], task: _Task) -> None:
        with self._change:
            own = [batch for batch in self._waiting if batch.key == key]
            if own and own[-1].rows + task.rows <= self.batching.max_batch_size:
                batch = own[-1]
            elif len(own) >= self.batching.max_enqueued_batches:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; currently "
                    f"{len(own)} batches enqueued and max_enqueued_batches is {self.batching.max_enqueued_batches}",
                )
            else:
                batch = _Batch(key, run, outputs, time.monotonic() + self.batching.batch_timeout_micros * 1e-6)
                self._waiting.append(batch)
            batch.tasks.append(task)
            self._change.notify()

    def _work(self) -> None:
        while True:
            with self._change:
                batch = self._next()
                while batch is None:
                    if self._closed and not self._waiting:
                        return
                    due = min((waiting.due for waiting in self._waiting), default=None)
                    self._change.wait(None if due is None else max(0.0, due - time.monotonic()))
                    batch = self._next()
                self._waiting.remove(batch)
            _run(batch, self.batching.allowed_batch_sizes)

    def _next(self) -> _Batch | None:
        now = time.monotonic()
        for place, batch in enumerate(self._waiting):
            full = batch.rows >= self.batching.max_batch_size
            followed = any(later.key == batch.key for later in self._waiting[place + 1 :])
            if full or followed or self._closed or batch.due <= now:
                return batch
        return None


def _rows(inputs: Mapping[str, np.ndarray]) -> int:
    if any(array.ndim == 0 for array in inputs.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _run(batch: _Batch, allowed: Sequence[int]) -> None:
    """Runs a batch and hands each task its rows, or all of them the error."""
    try:
        values = batch.run(_merged(batch, allowed), batch.outputs)
        filled = _filled(batch.rows, allowed)
        for value in values:
            if value.ndim == 0:
                raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
            if len(value) != filled:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    "input tensors",
                )
        start = 0
        for task in batch.tasks:
            task.values = [value[start : start + task.rows] for value in values]
            start += task.rows
    except Exception as error:  # whatever it is, those who wait must hear of it
        for task in batch.tasks:
            task.error = error
    for task in batch.tasks:
        task.done.set()


def _filled(rows: int, allowed: Sequence[int]) -> int:
    return next((size for size in allowed if size >= rows), rows)


def _merged(batch: _Batch, allowed: Sequence[int]) -> Mapping[str, np.ndarray]:
    missing = _filled(batch.rows, allowed) - batch.rows
    if len(batch.tasks) == 1 and not missing:
        return batch.tasks[0].inputs
    merged = {}
    for name, first in batch.tasks[0].inputs.items():
        copies = [np.repeat(first[:1], missing, axis=0)] if missing else []
        merged[name] = np.concatenate([*(task.inputs[name] for task in batch.tasks), *copies])
    return merged
