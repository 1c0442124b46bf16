"""The oracle that proposes one architecture: what a relaxed search, run on the data of the task, has come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from tfmedcai.search.oracles.baseline import declared
from tfmedcai.search_spaces.space import SearchSpace

Row = dict[str, Any]


class SupernetOracle(keras_tuner.Oracle):
    """Proposes the architecture of mixing weights, averaged over the parts of the data that were searched on.

    Whoever makes this oracle searches and calls `learn`: an oracle itself knows neither a task nor a network.

    Args:
        space: has `discretise` beside what every space has.
        objective: what is scored.
        seed: seed of the search.

    Attributes:
        rounds: losses and entropy of each epoch, part by part.

    Reference:
        Zhu et al., V-NAS, 3DV 2019, section 4.1: probabilities are summed over searches before the decision.
    """

    def __init__(self, space: SearchSpace, objective: keras_tuner.Objective, seed: int):
        super().__init__(objective=objective, hyperparameters=declared(space), seed=seed)
        self.space = space
        self.rounds: list[Row] = []
        self._found: list[Mapping[str, np.ndarray]] = []
        self._proposed = False

    def learn(self, mixtures: Mapping[str, np.ndarray], rows: Sequence[Row] = ()) -> None:
        """Takes the mixing weights, by name, that one part of the data was found to want, and its rows of losses."""
        part = len(self._found)
        self._found.append(mixtures)
        self.rounds += [{"round": len(self.rounds) + number, "part": part} | row for number, row in enumerate(rows)]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the architecture, once.

        Returns:
            KerasTuner's status, and the values of the architecture the first time.

        Raises:
            ValueError: if nothing was learnt.
        """
        if not self._found:
            raise ValueError("the oracle `supernet` must be given mixing weights by `learn` before it proposes.")
        if self._proposed:
            return {"status": TrialStatus.STOPPED}
        self._proposed = True
        means = {name: np.mean([found[name] for found in self._found], axis=0) for name in self._found[0]}
        return {"status": TrialStatus.RUNNING, "values": self.space.values(self.space.discretise(means))}


def supernet_oracle(
    space: SearchSpace, settings: Any, seed: int, objective: keras_tuner.Objective, folder: Path | None = None
) -> keras_tuner.Oracle:
    """Makes the supernet oracle, whose search it does not run; arguments as of `baseline.hyperband_oracle`."""
    return SupernetOracle(space, objective, seed)
