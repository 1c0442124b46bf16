"""Runs searches of supernets, or goes on from their checkpoints: one file holds all that an epoch left behind."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmedcai.config import SupernetSettings
from tfmedcai.runs import write_whole
from tfmedcai.search.supernet import ArchitectureStart, Supernet
from tfmedcai.tasks import optimizers
from tfmedcai.tasks.fitting import Keeper, Row, choose_compiler, seed_everything
from tfmedcai.tasks.relaxed import Relaxed
from tfmedcai.tasks.strategies import replicas, shared_out, synchronise

Mixtures = dict[str, np.ndarray]
HISTORY, MIXTURE, VARIABLE = "history", "mixture_", "variable_"
LOGGED = ("loss", "architecture_loss", "entropy", "temperature")
POLY_POWER = 0.9
NO_KEEPER = Keeper()


class RelaxedSearch:
    """Searches one after the other, of seeds and parts of the data, that share the graph of one network.

    Tracing a supernet can take longer than many of its epochs, and TensorFlow gives the memory of a traced graph back
    with the process only. So the network is traced once, and set to the variables that a search begins with.

    Args:
        settings: numbers of the searches.
        strategy: shares each batch out among devices; None takes one.
    """

    def __init__(self, settings: SupernetSettings, strategy: tf.distribute.Strategy | None = None):
        self.settings, self.strategy = settings, strategy or tf.distribute.get_strategy()
        self._supernets: dict[Any, Supernet] = {}

    def run(self, problem: Callable[[], Relaxed], seed: int, keeper: Keeper = NO_KEEPER) -> tuple[Mixtures, list[Row]]:
        """Descends weights and architecture parameters of a relaxed problem in turn.

        On a CPU a search that was stopped and resumed ends in the same bits as an uninterrupted one.

        Args:
            problem: makes the network, its loss, and data for the weights and for the architecture; not called for a
                search that has ended. The loss must be the same for all problems of one shape.
            seed: seed of weights, architecture parameters and whatever is drawn at random in the network.
            keeper: where the state is kept after each epoch, and who is told.

        Returns:
            The mixing weights by name, and one row of losses, entropy and seconds an epoch.

        Raises:
            ValueError: if a loss is not a number, or if the checkpoint is damaged or of another search.
        """
        if keeper.checkpoint is not None and keeper.checkpoint.exists():
            rows, mixtures, _ = _read(keeper.checkpoint)
            if len(rows) >= self.settings.epochs:
                return mixtures, rows
        with self.strategy.scope():
            return self._descend(problem(), seed, keeper)

    def _descend(self, relaxed: Relaxed, seed: int, keeper: Keeper) -> tuple[Mixtures, list[Row]]:
        settings = self.settings
        supernet = self._untrained(relaxed, seed)
        rows = _restored(supernet, keeper.checkpoint)
        first = len(rows) * relaxed.weights.steps
        batches = tf.data.Dataset.zip(relaxed.weights.from_step(first), relaxed.architecture.from_step(first))
        synchronise(supernet, replicas() > 1)
        supernet.fit(
            shared_out(batches),
            initial_epoch=len(rows),
            epochs=settings.epochs,
            steps_per_epoch=relaxed.weights.steps,
            shuffle=False,
            verbose=0,
            callbacks=[ArchitectureStart(settings.start_epoch), _EpochEnd(rows, keeper)],
        )
        return supernet.named_mixtures(), rows

    def _untrained(self, relaxed: Relaxed, seed: int) -> Supernet:
        """Returns the supernet of an earlier problem of the same shape as it is before a search, or else a new one."""
        seed_everything(seed)
        fresh = compiled(relaxed, self.settings, seed)
        shapes = tuple(tuple(variable.shape) for variable in _state(fresh))
        # The learning rate depends on the number of steps.
        kept = self._supernets.setdefault((relaxed.weights.steps, shapes), fresh)
        if kept is not fresh:
            for variable, value in zip(_state(kept), _state(fresh), strict=True):
                variable.assign(value)
        return kept


def compiled(problem: Relaxed, settings: SupernetSettings, seed: int) -> Supernet:
    """Builds the supernet of a problem with the optimisers of the settings: SGD for the weights, Adam for the rest.

    Args:
        problem: builds the network, and says its loss.
        settings: of the search.
        seed: of the architecture parameters.

    Returns:
        The supernet, ready to fit.
    """
    supernet = Supernet(
        problem.build(),
        spread=settings.spread,
        temperature=settings.temperature,
        second_order=settings.second_order,
        seed=seed,
    )
    beta_1, beta_2 = settings.architecture_betas
    supernet.compile(
        optimizers.SGD(_learning_rate(settings, problem.weights.steps), momentum=settings.momentum),
        optimizers.Adam(settings.architecture_rate, beta_1=beta_1, beta_2=beta_2, epsilon=1e-8),
        weight_decay=settings.weight_decay,
        architecture_decay=settings.architecture_decay,
        clip=settings.clip or None,
        loss=problem.weights.loss,
        jit_compile=choose_compiler(),
    )
    return supernet


def _learning_rate(settings: SupernetSettings, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    start, end, count = settings.learning_rate, settings.final_learning_rate, steps * settings.epochs
    if settings.schedule == "poly":
        return keras.optimizers.schedules.PolynomialDecay(start, count, end, POLY_POWER)
    return keras.optimizers.schedules.CosineDecay(start, count, alpha=end / start)


class _EpochEnd(keras.callbacks.Callback):
    """Writes down losses, entropy, time and state after each epoch; stops on a loss that is not a number."""

    def __init__(self, rows: list[Row], keeper: Keeper):
        super().__init__()
        self.rows, self.keeper = rows, keeper

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = {name: float((logs or {})[name]) for name in LOGGED}
        if not all(np.isfinite(value) for value in found.values()):
            raise ValueError(
                f"the losses became {found['loss']} and {found['architecture_loss']} in epoch {epoch + 1}: "
                "lower `supernet.learning_rate`."
            )
        self.rows.append({"epoch": epoch + 1} | found | {"seconds": round(time.perf_counter() - self.began, 2)})
        if self.keeper.checkpoint is not None:
            _write(self.model, self.rows, self.keeper.checkpoint)
        self.keeper.tell(self.rows[-1])


def _state(supernet: Supernet) -> list[Any]:
    """Lists all that a next step depends on: weights and statistics, architecture, temperature, both optimisers."""
    optimizers = (supernet.optimizer, supernet.architecture_optimizer)
    own = [*supernet.network.variables, *supernet.architecture, supernet.temperature]
    return [*own, *(variable for optimizer in optimizers for variable in optimizer.variables)]


def _write(supernet: Supernet, rows: list[Row], checkpoint: Path) -> None:
    arrays = {f"{VARIABLE}{number}": np.asarray(variable) for number, variable in enumerate(_state(supernet))}
    arrays |= {f"{MIXTURE}{name}": mixture for name, mixture in supernet.named_mixtures().items()}
    arrays[HISTORY] = np.array(json.dumps(rows))

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    write_whole(checkpoint, save)


def _read(checkpoint: Path) -> tuple[list[Row], Mixtures, list[np.ndarray]]:
    try:
        # Opened here: numpy leaves a damaged file open.
        with checkpoint.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        rows = json.loads(str(arrays.pop(HISTORY)))
        mixtures = {name.removeprefix(MIXTURE): arrays[name] for name in arrays if name.startswith(MIXTURE)}
        variables = [arrays[f"{VARIABLE}{number}"] for number in range(len(arrays) - len(mixtures))]
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{checkpoint}: this checkpoint is damaged. Delete it to search from the start.") from error
    return rows, mixtures, variables


def _restored(supernet: Supernet, checkpoint: Path | None) -> list[Row]:
    """Sets the state of the last epoch, if there is one, and returns its rows."""
    if checkpoint is None or not checkpoint.exists():
        return []
    rows, _, values = _read(checkpoint)
    variables = _state(supernet)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise ValueError(f"{checkpoint}: this checkpoint is of another search. Delete it to search from the start.")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return rows
