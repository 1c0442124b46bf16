"""Counters and histograms under TensorFlow Serving's names, in the text form that Prometheus reads."""

import bisect
import threading
from collections.abc import Sequence

# Upper bounds of the latency buckets: 10 us, 18 us, ... (TensorFlow Serving: 10 * 1.8^k, 33 of them).
BUCKETS_US = tuple(10 * 1.8**power for power in range(33))
REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
_COUNTERS = {REQUESTS: ("model_name", "status"), LOADS: ("model_path", "status")}
_HISTOGRAMS = {LATENCY: ("model_name", "API", "entrypoint")}


class Metrics:
    """What a server has done since it started; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, tuple[str, ...]], int] = {}
        self._times: dict[tuple[str, tuple[str, ...]], tuple[list[int], float]] = {}

    def count(self, name: str, labels: Sequence[str]) -> None:
        """Adds one to a counter.

        Args:
            name: one of the counters above.
            labels: values of its labels, in their order.
        """
        key = name, tuple(labels)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def observe(self, name: str, labels: Sequence[str], seconds: float) -> None:
        """Adds a time to a histogram.

        Args:
            name: one of the histograms above.
            labels: values of its labels, in their order.
            seconds: the time.
        """
        key, microseconds = (name, tuple(labels)), seconds * 1e6
        place = bisect.bisect_left(BUCKETS_US, microseconds)
        with self._lock:
            buckets, total = self._times.get(key, ([0] * (len(BUCKETS_US) + 1), 0.0))
            buckets[place] += 1
            self._times[key] = buckets, total + microseconds

    def text(self) -> str:
        """Returns all of them in Prometheus's text form; times in microseconds."""
        lines = []
        with self._lock:
            for name, labels in _COUNTERS.items():
                lines.append(f"# TYPE {name} counter")
                lines += [
                    f"{name}{_labelled(labels, values)} {count}"
                    for (counter, values), count in sorted(self._counts.items())
                    if counter == name
                ]
            for name, labels in _HISTOGRAMS.items():
                lines.append(f"# TYPE {name} histogram")
                for (histogram, values), (buckets, total) in sorted(self._times.items()):
                    if histogram == name:
                        lines += _histogram(name, labels, values, buckets, total)
        return "\n".join(lines) + "\n"


def _histogram(
    name: str, labels: Sequence[str], values: Sequence[str], buckets: Sequence[int], total: float
) -> list[str]:
    lines, below = [], 0
    for bound, count in zip([*(f"{bound:g}" for bound in BUCKETS_US), "+Inf"], buckets, strict=True):
        below += count
        lines.append(f"{name}_bucket{_labelled([*labels, 'le'], [*values, bound])} {below}")
    named = _labelled(labels, values)
    return [*lines, f"{name}_sum{named} {total:g}", f"{name}_count{named} {below}"]


def _labelled(names: Sequence[str], values: Sequence[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for value in values)
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True)) + "}"
