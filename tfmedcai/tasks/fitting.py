"""Fits a network to arrays: one seed, one result, also when it is stopped and resumed between epochs."""

import csv
import importlib
import json
import os
import pkgutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfmedcai import layers
from tfmedcai.config import Fit
from tfmedcai.tasks import optimizers
from tfmedcai.tasks.strategies import machine, replicas, shared_out, synchronise

Row = dict[str, float]
Loss = str | keras.losses.Loss | list[keras.losses.Loss]  # a list has one for each output


@dataclass(frozen=True)
class Arrays:
    """Samples in memory.

    Attributes:
        inputs: `(samples, ...)` network inputs; half precision is enough and halves the memory.
        targets: `(samples, ...)` float32 network outputs.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Source:
    """What a network is fitted to.

    Attributes:
        batches: first epoch -> endless data set of inputs and targets; what comes depends on the epoch alone.
        steps: batches in an epoch.
        loss: a Keras loss or its name; a list with one for each output of the network.
        measure: network and number of the epoch, from 1 -> what is reported of samples that are held back.
    """

    batches: Callable[[int], tf.data.Dataset]
    steps: int
    loss: Loss = "mse"
    measure: Callable[[keras.Model, int], Row] = lambda model, epoch: {}

    def from_step(self, step: int) -> tf.data.Dataset:
        """Returns the batches from a step on, counted from the first epoch."""
        return self.batches(step // self.steps).skip(step % self.steps)


@dataclass(frozen=True)
class Keeper:
    """Where an unfinished training keeps its state, and who is told of each epoch.

    Attributes:
        checkpoint: file that holds network and optimiser after an epoch; None keeps nothing.
        tell: called after each epoch with the row of losses.
        every: epochs from one checkpoint to the next.
        needed: whether a checkpoint that cannot be written or read is an error; else the training goes on without it.
        ends: rows of all epochs so far -> whether the training ends here.
    """

    checkpoint: Path | None = None
    tell: Callable[[Row], None] = lambda row: None
    every: int = 1
    needed: bool = True
    ends: Callable[[list[Row]], bool] = lambda rows: False


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy, Keras and TensorFlow, and makes TensorFlow's operations deterministic."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def training_batches(data: Arrays, batch_size: int, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
    """Returns an endless data set of shuffled batches whose order depends on seed and epoch alone.

    Args:
        data: the samples.
        batch_size: samples in a batch; the last, incomplete batch of an epoch is kept.
        seed: seed of the order.
        first_epoch: epoch to begin with; a resumed training sees the batches it would have seen.
    """
    inputs, targets = tf.constant(data.inputs), tf.constant(data.targets)

    def epoch_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(data)), seed=tf.stack([seed, epoch]))
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    def gather(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(tf.gather(inputs, index), tf.float32), tf.gather(targets, index)

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max, output_type=tf.int32)
    return epochs.flat_map(epoch_indices).map(gather, num_parallel_calls=2).prefetch(2)


def array_source(
    data: Arrays, batch_size: int, seed: int, measure: Callable[[keras.Model, int], Row] = lambda model, epoch: {}
) -> Source:
    """Returns samples in memory as a source, with an order for each epoch; arguments as of `training_batches`."""

    def batches(first_epoch: int) -> tf.data.Dataset:
        return training_batches(data, batch_size, seed, first_epoch)

    return Source(batches, -(-len(data) // batch_size), measure=measure)


def compile_for(model: keras.Model, fit: Fit, steps: int, epochs: int, loss: Loss = "mse") -> None:
    """Compiles a network with the optimiser and learning-rate course of the settings.

    Args:
        model: the network.
        fit: optimiser, learning rate and its course.
        steps: batches in an epoch.
        epochs: of the whole training.
        loss: a Keras loss or its name; a list with one for each output.
    """
    optimizer = _optimizer(fit, _learning_rate(fit, steps, epochs))
    model.compile(optimizer, loss=loss, jit_compile=choose_compiler())
    # Else Keras makes the optimiser's variables in the first step and traces that step twice.
    model.optimizer.build(model.trainable_variables)


def choose_compiler() -> bool:
    """Switches TensorFlow's own rewriting of graphs on or off for this process, and says whether to compile by XLA.

    XLA pays on one GPU; what several share it cannot compile. On a CPU either takes longer than it saves: a training
    step gains nothing from the rewriting, which took half a minute to a minute for the tens of thousands of operations
    of a supernet.

    Returns:
        Whether to compile by XLA.
    """
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not on_gpu})
    return on_gpu and replicas() == 1


def _optimizer(fit: Fit, rate: float | keras.optimizers.schedules.LearningRateSchedule) -> keras.optimizers.Optimizer:
    clip = fit.clip or None
    if fit.optimizer == "sgd":
        # Keras shrinks the weights beside the momentum; in the gradient the decay would run through it and grow.
        decay = fit.weight_decay / (1 - fit.momentum)
        return optimizers.SGD(rate, momentum=fit.momentum, weight_decay=decay or None, global_clipnorm=clip)
    return {"adam": optimizers.Adam, "rmsprop": optimizers.RMSprop}[fit.optimizer](rate, global_clipnorm=clip)


def _learning_rate(fit: Fit, steps: int, epochs: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if fit.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(fit.learning_rate, steps * epochs)
    if fit.schedule == "polynomial":
        return keras.optimizers.schedules.PolynomialDecay(fit.learning_rate, steps * epochs, 0.0, fit.decay_power)
    if fit.schedule == "step":
        return keras.optimizers.schedules.ExponentialDecay(
            fit.learning_rate, steps * fit.decay_epochs, 0.1, staircase=True
        )
    if fit.schedule == "cyclical":
        return optimizers.CyclicalRate(fit.learning_rate, fit.highest_rate, fit.half_cycle)
    return fit.learning_rate


def train(
    build: Callable[[], keras.Model],
    data: Arrays,
    validation: Arrays | None,
    fit: Fit,
    epochs: int,
    seed: int,
    keeper: Keeper = Keeper(),
) -> tuple[keras.Model, list[Row]]:
    """Builds and fits a regression network to arrays, or goes on from its checkpoint; see `train_on`.

    Args:
        build: makes the untrained network; called after seeding.
        data: training samples.
        validation: samples whose loss is reported after each epoch; None reports none.
        fit: optimiser, learning rate, batch size.
        epochs: number of passes over `data`.
        seed: seed of weights and order.
        keeper: where the state is kept after each epoch, and who is told.

    Returns:
        The network and one row of losses an epoch.

    Raises:
        ValueError: if the loss is not a number, or if the checkpoint cannot be read.
    """

    def measure(model: keras.Model, _: int) -> Row:
        return {} if validation is None else {"validation_loss": mean_squared_error(model, validation)}

    return train_on(build, array_source(data, fit.batch_size, seed, measure), fit, epochs, seed, keeper)


def train_on(
    build: Callable[[], keras.Model],
    source: Source,
    fit: Fit,
    epochs: int,
    seed: int,
    keeper: Keeper = Keeper(),
) -> tuple[keras.Model, list[Row]]:
    """Builds and fits a network, or goes on from its checkpoint; in the scope of a strategy on all its devices.

    Args:
        build: makes the untrained network; called after seeding.
        source: training samples, loss and measures.
        fit: optimiser, learning rate.
        epochs: number of epochs.
        seed: seed of weights and order.
        keeper: where the state is kept after each epoch, and who is told.

    Returns:
        The network and one row of losses an epoch.

    Raises:
        ValueError: if the loss is not a number, or if the checkpoint cannot be read.
    """
    seed_everything(seed)
    model, rows = _start(build, keeper)
    if not model.compiled:
        compile_for(model, fit, source.steps, epochs, source.loss)
    watch = _EpochEnd(rows, source, keeper, epochs)
    if len(rows) < epochs:
        synchronise(model, replicas() > 1)
        model.fit(
            shared_out(source.batches(len(rows))),
            initial_epoch=len(rows),
            epochs=epochs,
            steps_per_epoch=source.steps,
            shuffle=False,
            verbose=0,
            callbacks=[watch],
        )
        synchronise(model, on=False)
    return model, rows


def mean_squared_error(model: keras.Model, data: Arrays, batch_size: int = 256) -> float:
    """Returns the mean squared error of a network over samples.

    Args:
        model: the network.
        data: samples.
        batch_size: samples that are predicted together.
    """
    # Not `predict`, which would share the samples out among machines, of which each would see its own alone.
    signature = [tf.TensorSpec((None, *data.inputs.shape[1:]), tf.float32)]
    answer = tf.function(lambda inputs: model(inputs, training=False), input_signature=signature, autograph=False)
    starts = range(0, len(data), batch_size)
    predicted = [answer(data.inputs[start : start + batch_size].astype(np.float32)) for start in starts]
    return float(np.mean(np.square(np.concatenate(predicted) - data.targets)))


class _EpochEnd(keras.callbacks.Callback):
    """Writes down losses and state after each epoch; stops on a loss that is not a number."""

    def __init__(self, rows: list[Row], source: Source, keeper: Keeper, epochs: int):
        super().__init__()
        self.rows, self.source, self.keeper, self.epochs = rows, source, keeper, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not np.isfinite(loss):
            raise ValueError(f"the training loss became {loss} in epoch {epoch + 1}: lower the learning rate.")
        row = {"epoch": epoch + 1, "loss": loss} | self.source.measure(self.model, epoch + 1)
        self.rows.append(row)
        self.keeper.tell(row)
        if self.keeper.ends(self.rows):
            self.model.stop_training = True
        elif self.keeper.checkpoint is not None and epoch + 1 < self.epochs and (epoch + 1) % self.keeper.every == 0:
            self._keep(self.keeper.checkpoint)

    def _keep(self, checkpoint: Path) -> None:
        try:
            _save(self.model, self.rows, checkpoint)
        except OSError as error:
            if self.keeper.needed:
                raise
            print(f"{checkpoint}: not written ({error.strerror}); the training goes on without it")


def _save(model: keras.Model, rows: list[Row], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Of several machines each writes the same: to save a network shared by them takes all of them.
    temporary = checkpoint.with_name(f".{checkpoint.name}.part{machine(tf.distribute.get_strategy())}.keras")
    model.save(temporary)
    # The losses travel in the same file, so that state and history cannot disagree.
    with zipfile.ZipFile(temporary, "a") as archive:
        archive.writestr("history.json", json.dumps(rows))
    os.replace(temporary, checkpoint)


def _start(build: Callable[[], keras.Model], keeper: Keeper) -> tuple[keras.Model, list[Row]]:
    checkpoint = keeper.checkpoint
    if checkpoint is None or not checkpoint.exists():
        return build(), []
    _know_layers()
    by_xla = choose_compiler()  # a graph that TensorFlow rewrites rounds in another way
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            rows = json.loads(archive.read("history.json"))
        model = keras.saving.load_model(checkpoint, safe_mode=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        if not keeper.needed:
            print(f"{checkpoint}: this checkpoint is damaged; training from the start")
            return build(), []
        raise ValueError(f"{checkpoint}: this checkpoint is damaged. Delete it to train from the start.") from error
    model.jit_compile = by_xla  # it may have been kept with other devices
    return model, rows


def without_training(model: keras.Model) -> keras.Model:
    """Takes optimiser and loss off a network, so that its file is smaller, a third after Adam, and asks for neither."""
    model.optimizer, model.compiled = None, False
    return model


def load_model(path: Path) -> keras.Model:
    """Returns a trained Keras model, loaded in safe mode.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    _know_layers()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: cannot load this model: {str(error).splitlines()[0]}") from error


def _know_layers() -> None:
    """Imports the layers of this package, so that Keras finds those that a saved network contains."""
    for module in pkgutil.iter_modules(layers.__path__, f"{layers.__name__}."):
        importlib.import_module(module.name)


def write_history(path: Path, rows: list[Row]) -> None:
    """Writes the losses by epoch as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["epoch", "loss"])
        writer.writeheader()
        writer.writerows(rows)


def read_history(path: Path) -> dict[str, list[float]]:
    """Reads a CSV of losses by epoch as columns."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
