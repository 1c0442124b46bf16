"""What runs the trials of a search: calls of one function, some of them side by side, each answered once."""

import abc
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Answer = dict[str, float]
Function = Callable[..., Answer]


@dataclass(frozen=True)
class Ended:
    """How a call ended.

    Attributes:
        name: name of the call.
        answer: what the function returned; None if there is no answer.
        reason: why there is none, or what ended the training early, in one line.
        details: traceback of what the function raised.
        lost: whether the process went away, so that nothing is known about the call itself.
    """

    name: str
    answer: Answer | None = None
    reason: str | None = None
    details: str = ""
    lost: bool = False


@dataclass(frozen=True)
class Needs:
    """What a call takes of a machine.

    Attributes:
        cpus: cores, which are its threads as well.
        gpus: GPUs, also a part of one.
        memory_gb: memory [GiB]; no more calls are placed on a machine than fit. 0 leaves it out.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float = 0.0

    def variables(self) -> dict[str, str]:
        """Returns what the process of a call reads in its environment."""
        threads = str(max(1, int(self.cpus)))
        return {
            "TF_NUM_INTRAOP_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several calls may share a GPU, and the search itself may use it
        }


@dataclass(frozen=True)
class Care:
    """How calls in other processes are looked after.

    Attributes:
        retries: times that a call is begun again after its process was killed or its machine went away.
        time_limit_s: a call that takes longer is stopped and has failed; None waits for ever.
        logs: where the output of a call is written; None drops it.
    """

    retries: int = 3
    time_limit_s: float | None = None
    logs: Callable[[str], Path] | None = None

    def log(self, name: str) -> Path | None:
        """Returns the file of the output of a call."""
        return self.logs(name) if self.logs else None


ONE_CORE, USUAL_CARE = Needs(), Care()


class Executor(abc.ABC):
    """Runs calls; whoever submits them waits for what has ended, in whatever order that is."""

    @property
    @abc.abstractmethod
    def free(self) -> int:
        """How many calls could begin now."""

    @property
    @abc.abstractmethod
    def running(self) -> int:
        """How many calls are not yet answered."""

    @abc.abstractmethod
    def submit(self, name: str, *arguments: Any) -> None:
        """Begins a call; its name must not be that of another one that runs."""

    @abc.abstractmethod
    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Returns calls that have ended, each once: at least one, unless none runs or the time is over."""

    def close(self) -> None:  # noqa: B027 (there may be nothing to stop)
        """Stops at once whatever runs."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InProcess(Executor):
    """Runs one call after the other, here."""

    def __init__(self, function: Function):
        self.function = function
        self._calls: deque[tuple[str, tuple[Any, ...]]] = deque()

    @property
    def free(self) -> int:
        """One while there is nothing to do."""
        return 1 - len(self._calls)

    @property
    def running(self) -> int:
        """Zero or one."""
        return len(self._calls)

    def submit(self, name: str, *arguments: Any) -> None:
        """Keeps the call until somebody waits for it."""
        self._calls.append((name, arguments))

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Runs the call."""
        return [answered(name, self.function, arguments) for name, arguments in self._take()]

    def _take(self) -> Iterable[tuple[str, tuple[Any, ...]]]:
        while self._calls:
            yield self._calls.popleft()


class Workers(Executor):
    """Runs each call in a process of its own, which ends with it, so that its memory comes back.

    A call whose process went away is begun again where there is room, a few times; one that takes too long is stopped.

    Args:
        function: is called; it can be pickled.
        care: retries, time limit, logs.
    """

    def __init__(self, function: Function, care: Care = USUAL_CARE):
        self.function, self.care = function, care
        self._calls: dict[str, tuple[Any, ...]] = {}
        self._began: dict[str, float] = {}
        self._losses: dict[str, int] = {}
        self._again: deque[str] = deque()

    @property
    @abc.abstractmethod
    def workers(self) -> int:
        """How many calls may run side by side now."""

    @property
    def free(self) -> int:
        """Workers without a call."""
        return max(0, self.workers - len(self._calls))

    @property
    def running(self) -> int:
        """Calls that run, or wait to be begun again."""
        return len(self._calls)

    def submit(self, name: str, *arguments: Any) -> None:
        """Begins a call."""
        self._calls[name], self._losses[name] = arguments, 0
        self._start(name)

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """Returns calls that have ended; begins again those whose process went away."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        ended: list[Ended] = []
        while self._calls and not ended and (deadline is None or time.monotonic() < deadline):
            while self._again and len(self._began) < self.workers:
                self._start(self._again.popleft())
            for call in self._poll(self._patience(deadline)):
                self._began.pop(call.name)
                if call.lost and self._losses[call.name] < self.care.retries:
                    self._losses[call.name] += 1
                    self._again.append(call.name)
                else:
                    ended.append(self._forget(call))
            ended += [self._forget(call) for call in self._overdue()]
        return ended

    def close(self) -> None:
        """Stops whatever runs."""
        for name in [*self._began]:
            self._stop(name)
        for calls in (self._calls, self._began, self._again):
            calls.clear()

    def _start(self, name: str) -> None:
        self._began[name] = time.monotonic()
        self._begin(name, self._calls[name])

    def _forget(self, call: Ended) -> Ended:
        self._calls.pop(call.name)
        losses = self._losses.pop(call.name)
        if call.lost and losses:
            return Ended(call.name, reason=f"{call.reason}, the last of {losses + 1} times", details=call.details)
        return call

    def _patience(self, deadline: float | None) -> float | None:
        """Seconds until somebody's time is over."""
        limit = self.care.time_limit_s
        ends = [began + limit for began in self._began.values()] if limit is not None else []
        ends += [deadline] if deadline is not None else []
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _overdue(self) -> list[Ended]:
        limit = self.care.time_limit_s
        if limit is None:
            return []
        late = [name for name, began in self._began.items() if time.monotonic() - began >= limit]
        for name in late:
            self._stop(name)
            self._began.pop(name)
        return [Ended(name, reason=f"stopped after its time limit of {limit:g} s") for name in late]

    @abc.abstractmethod
    def _begin(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Begins a call in a fresh process."""

    @abc.abstractmethod
    def _poll(self, timeout_s: float | None) -> list[Ended]:
        """Returns calls that ended or got lost; at least one, unless the time is over."""

    @abc.abstractmethod
    def _stop(self, name: str) -> None:
        """Stops a call; it ends no more."""


def answered(name: str, function: Function, arguments: tuple[Any, ...]) -> Ended:
    """Calls a function; whatever it raises is a call without an answer.

    Args:
        name: of the call.
        function: what is called.
        arguments: with what.

    Returns:
        How the call ended.

    >>> answered("a", lambda word: {"value": float(word)}, ("x",)).reason
    "ValueError: could not convert string to float: 'x'"
    """
    try:
        return Ended(name, function(*arguments))
    except Exception as error:  # a candidate may fail in any way; the search must go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Ended(name, reason=reason, details=traceback.format_exc())
