"""Writes what TensorBoard shows of a run: courses by epoch, trials as HParams, graphs, pictures. All stays local."""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from tfmedcai.reports.document import Picture, Stack
from tfmedcai.reports.series import Row, finite

DPI = 90


@contextlib.contextmanager
def _forgiving() -> Iterator[None]:
    """A full disk costs a picture of the run, not the run."""
    with contextlib.suppress(OSError, tf.errors.OpError):
        yield


def course(folder: Path, tell: Callable[[Row], None] = lambda row: None) -> Callable[[Row], None]:
    """Returns a function that is told the row of each epoch and writes its numbers.

    Args:
        folder: of the training in TensorBoard; made with the first row.
        tell: who is told as well, and first.
    """
    writers: list[tf.summary.SummaryWriter] = []

    @_forgiving()
    def write(row: Row) -> None:
        writers[:] = writers or [tf.summary.create_file_writer(str(folder))]
        _scalars(writers[0], {name: value for name, value in row.items() if name != "epoch"}, int(row["epoch"]))

    def told(row: Row) -> None:
        tell(row)
        write(row)

    return told


@_forgiving()
def write_trial(folder: Path, name: str, row: Row) -> None:
    """Writes a trial: the values that it was made of as HParams, its score, metrics and cost.

    Args:
        folder: of the trial in TensorBoard.
        name: of the trial.
        row: of the journal.
    """
    from tensorboard.plugins.hparams import api as hparams

    given = {"oracle": row["oracle"], "seed": row["seed"], "epochs": row["epochs"], **row["values"]}
    told = {"score": row["score"], "parameters": row["parameters"], **row["metrics"], **row["time"]}
    with _writing(folder) as writer:
        with writer.as_default(step=0):
            hparams.hparams({key: _simple(value) for key, value in given.items()}, trial_id=name)
            tf.summary.text("architecture", row["architecture"])
        _scalars(writer, {f"trial/{key}": value for key, value in told.items()}, 0)


@_forgiving()
def write_measures(folder: Path, groups: Mapping[str, Mapping[str, Row]]) -> None:
    """Writes the means of an evaluation: group -> metric -> statistics."""
    means = {f"evaluation/{metric}/{group}": s["mean"] for group, of in groups.items() for metric, s in of.items()}
    with _writing(folder) as writer:
        _scalars(writer, means, 0)


@_forgiving()
def write_pictures(folder: Path, pictures: Iterable[Picture | Stack]) -> None:
    """Writes the pictures of an evaluation, of stacks the one that is shown first; what they show is their caption."""
    with _writing(folder) as writer, writer.as_default(step=0):
        for picture in pictures:
            name, _, caption = picture.caption.partition(":")
            shown = picture.images[picture.start] if isinstance(picture, Stack) else pixels(picture.figure)
            tf.summary.image(f"cases/{name[:40]}", shown[np.newaxis], description=caption.strip())


@_forgiving()
def write_drawing(folder: Path, figure: Figure, architecture: str) -> None:
    """Writes the drawing of an architecture.

    Args:
        folder: of the events.
        figure: the drawing.
        architecture: its text.
    """
    with _writing(folder) as writer, writer.as_default(step=0):
        tf.summary.image("architecture", pixels(figure)[np.newaxis])
        tf.summary.text("architecture", architecture)


@_forgiving()
def write_graph(folder: Path, model: keras.Model) -> None:
    """Writes the layers of a functional network and what flows between them, read from its configuration.

    Args:
        folder: of the events.
        model: not traced, which may take minutes. What is in a layer or in a model within it stays in it.
    """
    # TensorBoard's own reader of configurations fails where a layer takes a number, as in ProST.
    graph = tf.compat.v1.GraphDef()
    for layer in model.get_config().get("layers", ()):
        node = graph.node.add(name=layer["config"]["name"], op=layer["class_name"])
        flows = list(_flows(layer.get("inbound_nodes", ())))
        node.input.extend(name for name, _ in flows)
        node.attr["input_shapes"].s = "; ".join(shape for _, shape in flows).encode()
    with _writing(folder) as writer, writer.as_default(step=0):
        tf.summary.graph(graph)


def _flows(of: Any) -> Iterator[tuple[str, str]]:
    """Finds the tensors that a layer takes, in whatever form: name of the layer that gives it, and shape."""
    if isinstance(of, dict) and of.get("class_name") == "__keras_tensor__":
        yield of["config"]["keras_history"][0], str(tuple(of["config"]["shape"]))
    elif isinstance(of, (dict, list, tuple)):
        for one in of.values() if isinstance(of, dict) else of:
            yield from _flows(one)


def pixels(figure: Figure) -> np.ndarray:
    """Draws a figure: `(height, width, 3)` uint8."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return np.asarray(Image.open(stream).convert("RGB"))


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[tf.summary.SummaryWriter]:
    writer = tf.summary.create_file_writer(str(folder))
    try:
        yield writer
    finally:
        writer.close()


def _scalars(writer: tf.summary.SummaryWriter, values: Mapping[str, Any], step: int) -> None:
    with writer.as_default(step=step):
        for name, value in values.items():
            if finite(value):
                tf.summary.scalar(name, value)
    # Whoever looks sees it at once, and a process that is stopped has written all that it told.
    writer.flush()


def _simple(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float, bool)) else str(value)
