"""Runs calls in processes of this machine: a fresh one for each call, the data shared between all of them."""

import contextlib
import mmap
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from tfmedcai.search.executors.executor import ONE_CORE, USUAL_CARE, Care, Ended, Function, Needs, Workers, answered

SPAWN = multiprocessing.get_context("spawn")


class LocalProcesses(Workers):
    """Runs at most `workers` calls side by side on this machine.

    The function is pickled once. Arrays in it lie in a file without a name, which all processes map into their memory,
    so that a data set is there once, however many trials run.

    Args:
        function: is called; it can be pickled.
        workers: processes side by side; by default as many as there are cores for.
        needs: of a call; each sees its own GPUs, and `workers` are to be as many as there is memory for.
        care: retries, time limit, logs.
    """

    def __init__(
        self, function: Function, workers: int | None = None, needs: Needs = ONE_CORE, care: Care = USUAL_CARE
    ):
        super().__init__(function, care)
        self._workers, self.needs = workers or max(1, int((os.cpu_count() or 1) / needs.cpus)), needs
        self._processes: dict[str, tuple[multiprocessing.process.BaseProcess, Connection, int]] = {}
        self._shared: _Shared | None = None

    @property
    def workers(self) -> int:
        """As many as were asked for."""
        return self._workers

    def close(self) -> None:
        """Stops whatever runs, and gives the shared data back."""
        super().close()
        if self._shared is not None:
            self._shared.file.close()
            self._shared = None

    def _begin(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self._shared is None:
            self._shared = _Shared(self.function)
        place = min(set(range(self.workers)) - {place for *_, place in self._processes.values()})
        ours, theirs = SPAWN.Pipe(duplex=False)
        call = (name, arguments, self.care.log(name), self._variables(place))
        process = SPAWN.Process(target=_work, args=(theirs, self._shared, *call), name=name)
        with _deaf():
            process.start()
        theirs.close()
        self._processes[name] = process, ours, place

    def _variables(self, place: int) -> dict[str, str]:
        """What a process reads in its environment: its threads, and the GPUs that it sees where it has some."""
        gpus = self.needs.gpus
        first = int(place * gpus)
        seen = ",".join(map(str, range(first, first + max(1, int(gpus)))))
        return self.needs.variables() | ({"CUDA_VISIBLE_DEVICES": seen} if gpus else {})

    def _poll(self, timeout_s: float | None) -> list[Ended]:
        ready = set(wait([ours for _, ours, _ in self._processes.values()], timeout_s))
        return [self._read(name) for name, (_, ours, _) in [*self._processes.items()] if ours in ready]

    def _read(self, name: str) -> Ended:
        process, ours, _ = self._processes[name]
        try:
            ended = ours.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            process.join()
            ended = Ended(name, reason=_death(process.exitcode), lost=True)
        self._stop(name)
        return ended

    def _stop(self, name: str) -> None:
        process, ours, _ = self._processes.pop(name)
        process.kill()  # all is said: nothing in it is waited for
        process.join()
        process.close()
        ours.close()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        more = ": out of memory?" if -code == signal.SIGKILL else ""
        return f"its process was killed ({signal.Signals(-code).name}{more})"
    return f"its process ended with code {code} and no answer"


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Keeps Ctrl-C from a process that is started here: what runs is ended by the search, not by the terminal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(
    theirs: Connection,
    shared: "_Shared",
    name: str,
    arguments: tuple[Any, ...],
    log: Path | None,
    variables: dict[str, str],
) -> None:
    """Runs one call in its process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= variables
    write_output(log)
    ended = answered(name, lambda *given: shared.read()(*given), arguments)
    flush_output()
    theirs.send(ended)


def _end_with_parent() -> None:
    """Nobody would read the answer of a process whose search was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def write_output(log: Path | None) -> None:
    """Sends what this process prints to a file; nowhere, where the file cannot be written."""
    target = os.open(os.devnull, os.O_WRONLY)
    if log is not None:
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    flush_output()
    for stream in (1, 2):
        os.dup2(target, stream)


def flush_output() -> None:
    """Hands what was printed to the system; a full disk costs a log, not a trial."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


class _Shared:
    """A value that many processes read, pickled once; its arrays are mapped into each of them, not copied."""

    def __init__(self, value: Any):
        arrays: list[pickle.PickleBuffer] = []
        text = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
        self.file, self.places = tempfile.TemporaryFile(), []
        for part in (text, *arrays):
            self.file.seek(-self.file.tell() % mmap.ALLOCATIONGRANULARITY, os.SEEK_CUR)
            self.places.append((self.file.tell(), memoryview(part).nbytes))
            self.file.write(memoryview(part).cast("B") if isinstance(part, bytes) else part.raw())
        self.file.flush()

    def __getstate__(self) -> tuple[Any, Any]:
        return DupFd(self.file.fileno()), self.places

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        handle, self.places = state
        self.file = os.fdopen(handle.detach(), "rb")

    def read(self) -> Any:
        """Returns the value; what is changed in its arrays is changed for this process alone."""
        text, *arrays = (self._map(*place) for place in self.places)
        return pickle.loads(text, buffers=arrays)

    def _map(self, start: int, size: int) -> Any:
        return mmap.mmap(self.file.fileno(), size, offset=start, access=mmap.ACCESS_COPY) if size else bytearray()
