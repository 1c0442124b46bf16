"""The models that a server holds: their versions, loaded, watched, replaced and unloaded while requests run."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec

from tfmedcai.serving.batching import BatchScheduler, read_batching
from tfmedcai.serving.errors import RequestError, invalid
from tfmedcai.serving.metrics import LATENCY, LOADS, REQUESTS, Metrics
from tfmedcai.serving.options import ServerOptions
from tfmedcai.serving.predict import warm_up
from tfmedcai.serving.servables import Servable
from tfmedcai.serving.sources import ModelSource, chosen_versions, versions_in

START, LOADING, AVAILABLE = ModelVersionStatus.START, ModelVersionStatus.LOADING, ModelVersionStatus.AVAILABLE
UNLOADING, END = ModelVersionStatus.UNLOADING, ModelVersionStatus.END
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass
class Version:
    """One version of a model and where it stands in its life.

    Attributes:
        number: its number.
        folder: its SavedModel folder.
        state: START, LOADING, AVAILABLE, UNLOADING, END.
        servable: what answers; None unless it is loaded.
        error: why it could not be loaded.
        users: requests under way.
        failures: how often it could not be loaded.
        retry_at: when it may be tried again, on the monotonic clock.
        fingerprint: names, sizes and times of its files when they were last looked at.
    """

    number: int
    folder: Path
    state: "ModelVersionStatus.State.ValueType" = START
    servable: Servable | None = None
    error: RequestError | None = None
    users: int = 0
    failures: int = 0
    retry_at: float = 0.0
    fingerprint: Fingerprint | None = None


class Catalog:
    """Loads models, finds the version that a request asks for, and follows what appears and disappears on the disk.

    A version is loaded once its files have not changed between two looks, and an old one is unloaded when a wanted one
    is available and its last request is answered: so no request meets a half-written version, and none is lost.

    Args:
        sources: the models; a name may stand once only.
        options: how often to look, how often to try again, what is refused.
        metrics: where loads are counted.

    Raises:
        ValueError: if a folder, version or label is missing, or a version cannot be loaded.
    """

    def __init__(
        self, sources: Iterable[ModelSource], options: ServerOptions | None = None, metrics: Metrics | None = None
    ) -> None:
        self.options = options or ServerOptions()
        self._metrics = metrics or Metrics()
        self._lock = threading.Lock()  # of what requests read
        self._updating = threading.Lock()  # of loading and unloading
        self._closed = threading.Event()
        self._sources: dict[str, ModelSource] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._watchers: list[threading.Thread] = []
        self._batches: BatchScheduler | None = None
        if self.options.enable_batching:
            self._batches = BatchScheduler(read_batching(self.options.batching_parameters_file))
        try:
            for source in sources:
                self._start(source)
        except Exception:  # whatever stopped it, the versions that are loaded already must not stay open
            self.close()
            raise

    def watch(self, reread: Callable[[], Sequence[ModelSource]] | None = None) -> None:
        """Starts to look for new and removed versions, every `file_system_poll_wait_seconds`; 0 never looks.

        Args:
            reread: reads the list of models again, every `model_config_file_poll_wait_seconds`; 0 never does.
        """
        for every, look in (
            (self.options.file_system_poll_wait_seconds, self.refresh),
            (self.options.model_config_file_poll_wait_seconds, lambda: self.reload(reread() if reread else ())),
        ):
            if every > 0:
                self._watchers.append(threading.Thread(target=self._repeat, args=(every, look), daemon=True))
                self._watchers[-1].start()

    @contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[Servable]:
        """Lends the version that `spec` asks for: by number, by label, or else the newest; it stays loaded meanwhile.

        Yields:
            The loaded version.

        Raises:
            RequestError: with TensorFlow Serving's code and message.
        """
        with self._lock:
            version = self._find(spec)
            version.users += 1
            servable = version.servable
        assert servable is not None  # noqa: S101 (an available version is loaded)
        try:
            yield servable
        finally:
            with self._lock:
                version.users -= 1
                ended = version.state == UNLOADING and version.users == 0
            if ended:
                self._end(version)

    @contextmanager
    def counted(self, name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request and its outcome.

        Args:
            name: model that is asked. One that is not served is counted without its name: anybody can make up names,
                and they must not fill the memory.
            api: what is asked: Predict, Classify, ...
            entrypoint: how: GRPC or REST.
        """
        start, status = time.perf_counter(), grpc.StatusCode.OK.name
        try:
            yield
        except RequestError as error:
            status = error.code.name
            raise
        finally:
            label = name if name in self._sources else ""
            self._metrics.count(REQUESTS, [label, status])
            self._metrics.observe(LATENCY, [label, api, entrypoint], time.perf_counter() - start)

    def status(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """Returns the states of a model's versions, newest first; of one where `spec` gives a number.

        Raises:
            RequestError: if there is no such model or version.
        """
        with self._lock:
            versions = dict(self._versions.get(spec.name, {}))
        numbers = sorted(versions, reverse=True)
        if spec.HasField("version"):
            number = spec.version.value
            if number not in versions:
                raise _not_found(f"Could not find version {number} of model {spec.name}")
            numbers = [number]
        if not numbers:
            raise _not_found(f"Could not find any versions of model {spec.name}")
        return [_described(versions[number]) for number in numbers]

    def reload(self, sources: Iterable[ModelSource]) -> None:
        """Replaces the list of models: new ones are loaded before this returns, dropped ones at the next look.

        Raises:
            RequestError: if a model did not become available or a label names a version that is not.
        """
        wanted = {source.name: source for source in sources}
        with self._updating:
            for source in wanted.values():
                self._update(source, at_once=True)
                self._check_labels(source)
            failed = [name for name, source in wanted.items() if not self._available(source)]
            if failed:
                listed = ", ".join(f"{{name: {name} version: {_numbers(wanted[name])}}}" for name in failed)
                raise RequestError(
                    grpc.StatusCode.UNKNOWN, f"{len(failed)} model(s) did not become available: {{{{{listed}}}, }}"
                )
            with self._lock:
                self._sources = wanted

    @property
    def sources(self) -> Mapping[str, ModelSource]:
        """The models that are served, by name."""
        return dict(self._sources)

    def refresh(self) -> None:
        """Looks at the disk once: loads what is new and wanted, unloads what is not wanted any more."""
        with self._updating:
            for name in list(self._versions):
                if name not in self._sources:
                    self._retire(name, set())
            for source in list(self._sources.values()):
                if source.base_path.is_dir():
                    wanted = self._update(source, at_once=False)
                    if self._available(source) or not wanted:
                        self._retire(source.name, wanted)

    def close(self) -> None:
        """Stops looking and frees all versions."""
        self._closed.set()
        for watcher in self._watchers:
            watcher.join()
        if self._batches is not None:
            self._batches.close()
        with self._lock:
            versions = [version for found in self._versions.values() for version in found.values()]
            self._versions = {}
        for version in versions:
            if version.servable is not None:
                version.servable.close()

    def __str__(self) -> str:
        with self._lock:
            served = [
                f"{name} version {number}"
                for name, versions in self._versions.items()
                for number, version in sorted(versions.items())
                if version.state == AVAILABLE
            ]
        return ", ".join(served)

    def _start(self, source: ModelSource) -> None:
        if source.name in self._sources:
            raise ValueError(f"Illegal to list model {source.name} multiple times in config list")
        self._sources[source.name] = source
        chosen_versions(source)
        self._update(source, at_once=True)
        for version in self._versions[source.name].values():
            if version.error is not None:
                raise ValueError(version.error.message)
        try:
            self._check_labels(source)
        except RequestError as error:
            raise ValueError(f"{error.message} ({_numbers(source)} are served)") from error

    def _find(self, spec: ModelSpec) -> Version:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        versions = {
            number: version
            for number, version in self._versions.get(spec.name, {}).items()
            if version.state == AVAILABLE
        }
        if choice is None:
            if not versions:
                raise _not_found(f"Servable not found for request: Latest({spec.name})")
            return versions[max(versions)]
        number = spec.version.value
        if choice == "version_label":
            source = self._sources.get(spec.name)
            if source is None or spec.version_label not in source.labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            number = source.labels[spec.version_label]
        if number not in versions:
            raise _not_found(f"Servable not found for request: Specific({spec.name}, {number})")
        return versions[number]

    def _repeat(self, every: float, look: Callable[[], None]) -> None:
        while not self._closed.wait(every):
            try:
                look()
            except (OSError, ValueError) as error:  # a disk that is away or a wrong file must not end the watch
                print(f"the list of models stays as it is: {error}", flush=True)

    def _update(self, source: ModelSource, *, at_once: bool) -> set[int]:
        """Loads the wanted versions that are not loaded; returns the numbers of all wanted ones.

        Args:
            source: the model.
            at_once: load without waiting for a second look at the files.

        Returns:
            Numbers of versions.
        """
        wanted = wanted_versions(source)
        with self._lock:
            versions = self._versions.setdefault(source.name, {})
        for number, folder in wanted.items():
            version = versions.get(number)
            if version is None or (version.state == END and version.error is None):
                version = Version(number, folder)
                with self._lock:
                    versions[number] = version
            if version.state in (START, END) and self._is_due(version, at_once=at_once):
                self._load(source.name, version)
        return set(wanted)

    def _is_due(self, version: Version, *, at_once: bool) -> bool:
        """Tells whether a version is to be loaded now; writes down how its files look."""
        before, version.fingerprint = version.fingerprint, fingerprint(version.folder)
        settled = at_once or before == version.fingerprint
        if version.error is None:
            return settled
        if before != version.fingerprint:  # somebody repairs it
            version.failures, version.retry_at = 0, 0.0
            return False
        return version.failures <= self.options.max_num_load_retries and time.monotonic() >= version.retry_at

    def _load(self, name: str, version: Version) -> None:
        version.state = LOADING
        servable = None
        try:
            threads = self.options.tensorflow_intra_op_parallelism
            servable = Servable(name, version.number, version.folder, self.options.shape_policy, self._batches, threads)
            if self.options.enable_model_warmup:
                warm_up(servable)
        except ValueError as error:
            if servable is not None:
                servable.close()
            version.error = RequestError(grpc.StatusCode.UNKNOWN, str(error))
            version.failures += 1
            version.retry_at = time.monotonic() + self.options.load_retry_interval_micros * 1e-6
            version.state = END
        else:
            with self._lock:
                version.servable, version.error, version.state = servable, None, AVAILABLE
        self._metrics.count(LOADS, [str(version.folder), "success" if version.error is None else "fail"])

    def _available(self, source: ModelSource) -> bool:
        versions = self._versions.get(source.name, {})
        wanted = wanted_versions(source)
        return any(number in versions and versions[number].state == AVAILABLE for number in wanted)

    def _retire(self, name: str, wanted: set[int]) -> None:
        """Unloads the versions that are not wanted, each when its last request is answered."""
        ended = []
        with self._lock:
            for number, version in self._versions[name].items():
                if number not in wanted and version.state == AVAILABLE:
                    version.state = UNLOADING
                    if version.users == 0:
                        ended.append(version)
                elif number not in wanted and version.state == START:
                    version.state = END
        for version in ended:
            self._end(version)

    def _end(self, version: Version) -> None:
        servable, version.servable = version.servable, None
        if servable is not None:
            servable.close()
        version.state = END

    def _check_labels(self, source: ModelSource) -> None:
        if self.options.allow_version_labels_for_unavailable_models:
            return
        versions = self._versions.get(source.name, {})
        for version in source.labels.values():
            if version not in versions or versions[version].state != AVAILABLE:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {source.name}, which is not currently "
                    "available for inference",
                )


def wanted_versions(source: ModelSource) -> dict[int, Path]:
    """Returns the folders of the versions that the source's policy wants and that are there."""
    try:
        return chosen_versions(source)
    except ValueError:
        found = versions_in(source.base_path) if source.base_path.is_dir() else {}
        return {number: found[number] for number in source.versions or () if number in found}


def fingerprint(folder: Path) -> Fingerprint:
    """Returns names, sizes and times of all files of a folder: what changes while a version is being copied."""
    files = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        files.append((str(path), stat.st_size, stat.st_mtime_ns))
    return tuple(files)


def _numbers(source: ModelSource) -> str:
    return ", ".join(map(str, wanted_versions(source))) or "none"


def _described(version: Version) -> ModelVersionStatus:
    status = ModelVersionStatus(version=version.number, state=version.state)
    status.status.SetInParent()
    if version.error is not None:
        status.status.error_code = version.error.code.value[0]
        status.status.error_message = version.error.message
    return status


def _not_found(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
