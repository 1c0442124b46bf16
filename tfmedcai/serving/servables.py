"""One version of a model, loaded from its SavedModel folder and ready to run."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo

from tfmedcai.serving.batching import BatchScheduler
from tfmedcai.serving.errors import from_number, invalid
from tfmedcai.serving.options import ShapePolicy

DEFAULT_SIGNATURE = "serving_default"
TAG = "serve"
# oneDNN's kernels for these operations end the process when the rank is wrong, instead of returning an error.
_RANK_SENSITIVE = re.compile("Conv|Pool")


class Servable:
    """A loaded version of a model.

    Args:
        name: name of the model.
        version: number of the version.
        folder: the SavedModel folder, tagged `serve`.
        shape_policy: which inputs are refused before the graph runs. `"off"`: none, as TensorFlow Serving does;
            `"rank"`: those with another number of dimensions than the signature; `"full"`: also those with another
            size where the signature fixes it; `"auto"`: `"rank"` for graphs that convolve or pool (where a wrong rank
            can end the process), else `"off"`.
        batches: merges requests; None runs each by itself.
        threads: threads of one operation; 0 uses all cores.

    Raises:
        ValueError: if the folder holds no SavedModel that can be loaded.
    """

    def __init__(
        self,
        name: str,
        version: int,
        folder: Path,
        shape_policy: ShapePolicy = "auto",
        batches: BatchScheduler | None = None,
        threads: int = 0,
    ) -> None:
        self._batches = batches
        self.name = name
        self.version = version
        self.folder = folder
        self._session, meta_graph = _load(folder, threads)
        self.signatures: dict[str, SignatureDef] = dict(meta_graph.signature_def)
        if shape_policy == "auto":
            shape_policy = "rank" if any(map(_RANK_SENSITIVE.search, operations(meta_graph))) else "off"
        self.shape_policy = shape_policy
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[..., list[np.ndarray]]] = {}
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Runs the graph, alone or together with requests of the same kind.

        Args:
            inputs: arrays by the names of the graph's tensors.
            outputs: names of the graph's tensors to compute.

        Returns:
            The values of `outputs`, in their order.

        Raises:
            RequestError: with the code and message of the kernel that failed.
        """
        if self._batches is None:
            return self._run(inputs, outputs)
        return self._batches.run(self, self._run, inputs, outputs)

    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        feeds, fetches = tuple(inputs), tuple(sorted(set(outputs)))
        try:
            values = dict(zip(fetches, self._callable(feeds, fetches)(*inputs.values()), strict=True))
        except tf.errors.OpError as error:
            raise from_number(error.error_code, error.message) from error
        return [values[name] for name in outputs]

    def check_shape(self, alias: str, info: TensorInfo, array: np.ndarray) -> None:
        """Refuses an input whose shape the policy does not let into the graph.

        Args:
            alias: the input's name in the signature.
            info: what the signature says of it.
            array: what came.

        Raises:
            RequestError: with code INVALID_ARGUMENT.
        """
        if self.shape_policy == "off" or info.tensor_shape.unknown_rank:
            return
        expected = [dim.size for dim in info.tensor_shape.dim]
        fits = len(expected) == array.ndim
        if fits and self.shape_policy == "full":
            fits = all(size in (-1, received) for size, received in zip(expected, array.shape, strict=True))
        if not fits:
            wanted = "?".join(str(expected).split("-1"))
            raise invalid(
                f"`{alias}` must have shape {wanted} (? is any size), {len(expected)} dimensions. "
                f"Received shape {list(array.shape)}. Add or remove dimensions of size 1, or resize."
            )

    def close(self) -> None:
        """Frees what the version holds; it must not run any more."""
        self._callables.clear()
        self._session.close()

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Callable[..., list[np.ndarray]]:
        found = self._callables.get((feeds, fetches))
        if found is None:
            with self._lock:
                options = CallableOptions(feed=feeds, fetch=fetches)
                # Session.run and Session.make_callable compare the shapes of feeds with the placeholders' and cost
                # more for each call; TensorFlow Serving feeds as this callable does.
                found = self._session._make_callable_from_options(options)
                self._callables[feeds, fetches] = found
        return found


def operations(meta_graph: MetaGraphDef) -> set[str]:
    """Returns the names of all operations of a graph and of the functions that it calls."""
    functions = meta_graph.graph_def.library.function
    return {node.op for node in meta_graph.graph_def.node} | {node.op for item in functions for node in item.node_def}


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Silences TensorFlow's own notes, on deprecated loaders and written assets, within a block."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _load(folder: Path, threads: int) -> tuple[tf.compat.v1.Session, MetaGraphDef]:
    graph = tf.Graph()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with graph.as_default(), quiet_tensorflow():
            return session, tf.compat.v1.saved_model.load(session, [TAG], str(folder))
    except (OSError, RuntimeError, ValueError, KeyError, tf.errors.OpError) as error:
        session.close()
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"`{folder}` must hold a SavedModel tagged `{TAG}` that can be loaded: {message}") from error
