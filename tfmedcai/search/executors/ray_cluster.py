"""Runs calls on a Ray cluster, or on a Ray of this machine alone: a fresh process for each, wherever there is room."""

import os
from pathlib import Path
from typing import Any

from tfmedcai.cli import prepare_tensorflow
from tfmedcai.search.executors.executor import (
    ONE_CORE,
    USUAL_CARE,
    Answer,
    Care,
    Ended,
    Function,
    Needs,
    Workers,
    answered,
)
from tfmedcai.search.executors.processes import flush_output, write_output

GIB = 2**30


class RayCluster(Workers):
    """Runs as many calls side by side as the cluster has room for; machines may come and go.

    The function lies in Ray's store: a machine gets it once, and its arrays are read there by all calls.

    Args:
        function: is called; it can be pickled.
        address: of a cluster ("auto" finds it, "ray://HOST:10001" asks from outside); None starts a Ray here.
        workers: most calls side by side; None takes all the cluster has.
        needs: of a call.
        care: retries, time limit, logs; a log is written where the folder of the run is reached.
    """

    def __init__(
        self,
        function: Function,
        address: str | None = None,
        workers: int | None = None,
        needs: Needs = ONE_CORE,
        care: Care = USUAL_CARE,
    ):
        super().__init__(function, care)
        self.most, self.needs = workers, needs
        self.ray = _joined(address)
        self._calls_by_ref: dict[Any, str] = {}
        self._stored: Any = None
        resources = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "memory": int(needs.memory_gb * GIB) or None}
        # A process of its own for each call; what is lost is begun again here, so that it is counted.
        self._task = self.ray.remote(max_calls=1, max_retries=0, **resources)(_work)

    @property
    def workers(self) -> int:
        """As many as the machines that are there now have room for."""
        has, needs = self.ray.cluster_resources(), self.needs
        asked = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_gb * GIB}
        room = min(int(has.get(name, 0) / need) for name, need in asked.items() if need)
        return room if self.most is None else min(room, self.most)

    def close(self) -> None:
        """Stops whatever runs, and leaves the cluster."""
        super().close()
        self.ray.shutdown()

    def _begin(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self._stored is None:
            self._stored = self.ray.put(self.function)
        # In a list, so that Ray hands it on unread: what it holds imports TensorFlow, which is to be prepared first.
        ref = self._task.options(name=name).remote([self._stored], name, arguments, self.care.log(name), self.needs)
        self._calls_by_ref[ref] = name

    def _poll(self, timeout_s: float | None) -> list[Ended]:
        if not self._calls_by_ref:
            return []
        refs = list(self._calls_by_ref)
        ready, _ = self.ray.wait(refs, timeout=timeout_s)
        # All that is ready, not only the first.
        ready, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0) if ready else ([], None)
        return [self._read(ref) for ref in ready]

    def _read(self, ref: Any) -> Ended:
        name = self._calls_by_ref.pop(ref)
        try:
            return self.ray.get(ref)
        except (self.ray.exceptions.RayError, OSError) as error:
            return Ended(name, reason=_death(error), lost=True)

    def _stop(self, name: str) -> None:
        for ref in [ref for ref, known in self._calls_by_ref.items() if known == name]:
            del self._calls_by_ref[ref]
            self.ray.cancel(ref, force=True)


def _joined(address: str | None) -> Any:
    """Returns the module `ray`, as a part of the cluster; it may have been one before."""
    if address is None:
        # Read as it is imported: a Ray for this machine alone is to be reached from this machine alone.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError('the executor `ray` needs Ray: `pip install "tfmedcai[cluster]"`.') from error
    if not ray.is_initialized():
        started = {} if address else {"include_dashboard": False}
        # Without "local" Ray looks for a cluster that was here before, and waits for it where it was killed.
        ray.init(address or "local", log_to_driver=False, logging_level="error", **started)
    return ray


def _death(error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return f"its process went away ({type(error).__name__}: {first})"


def _work(stored: list[Any], name: str, arguments: tuple[Any, ...], log: Path | None, needs: Needs) -> Ended:
    """Runs one call in its process."""
    import ray

    os.environ |= needs.variables()
    prepare_tensorflow()
    write_output(log)

    def call(*given: Any) -> Answer:
        function: Any = ray.get(stored[0])
        return function(*given)

    ended = answered(name, call, arguments)
    flush_output()
    return ended
