"""How the training of a candidate is looked after: kept for a restart, measured at some epochs, and ended early."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras

from tfmedcai.reports.series import Objective
from tfmedcai.tasks.fitting import Keeper, Row

AT, EPOCHS = "@", "epochs"  # the metric `value@3` is the value after epoch 3


class Bar(NamedTuple):
    """What a candidate must have reached after an epoch, in the unit of the objective.

    Attributes:
        epoch: when it is looked at.
        limit: the best value so far is to be as good; None asks for nothing.
        others: how many candidates it is made of.
    """

    epoch: int
    limit: float | None
    others: int


@dataclass(frozen=True)
class Watch:
    """What the training of a candidate is told, and whom it tells.

    Attributes:
        bars: where the candidate is measured, and what it must have reached there.
        checkpoint: where its state is kept; None keeps nothing.
        every: epochs from one checkpoint to the next.
        tell: called after each epoch with the row of losses.
    """

    bars: tuple[Bar, ...] = ()
    checkpoint: Path | None = None
    every: int = 1
    tell: Callable[[Row], None] = lambda row: None

    @property
    def looks(self) -> set[int]:
        """Epochs after which the candidate is measured."""
        return {bar.epoch for bar in self.bars}

    def keeper(self, objective: Objective) -> Keeper:
        """Returns what keeps the state, and ends the training where its best value so far is too bad."""
        limits = {bar.epoch: bar.limit for bar in self.bars}

        def ends(rows: list[Row]) -> bool:
            limit = limits.get(len(rows))
            if limit is None:
                return False
            best = best_of(objective, [row[objective.name] for row in rows if objective.name in row])
            return best != limit and best_of(objective, [best, limit]) == limit

        return Keeper(self.checkpoint, self.tell, every=self.every, needed=False, ends=ends)

    def course(self, objective: Objective, rows: list[Row]) -> dict[str, float]:
        """Returns how far the training went and what was measured on its way, as metrics; nothing if none looked."""
        if not self.bars:
            return {}
        looks = {int(row["epoch"]) for row in rows} & self.looks
        values = {f"{objective.name}{AT}{epoch}": rows[epoch - 1][objective.name] for epoch in sorted(looks)}
        return {EPOCHS: float(len(rows))} | values


UNWATCHED = Watch()


def measured_at(
    looks: Collection[int], objective: Objective, value: Callable[[keras.Model], float]
) -> Callable[[keras.Model, int], Row]:
    """Returns the `measure` of a `Source` that takes the objective of a network after some epochs.

    Args:
        looks: epochs, from 1, after which it is measured.
        objective: names the metric.
        value: measures it.
    """
    return lambda model, epoch: {objective.name: value(model)} if epoch in looks else {}


def best_of(objective: Objective, values: list[float]) -> float:
    """Returns the best of some values."""
    return values[objective.best(values)]


def course_of(metrics: Mapping[str, float], objective: Objective) -> dict[int, float]:
    """Returns what a candidate had reached after which epoch, out of its metrics.

    >>> course_of({"value": 3.0, "value@2": 1.0, "value@4": 2.0}, Objective("value"))
    {2: 1.0, 4: 2.0}
    """
    start = f"{objective.name}{AT}"
    return {int(name.removeprefix(start)): value for name, value in metrics.items() if name.startswith(start)}
