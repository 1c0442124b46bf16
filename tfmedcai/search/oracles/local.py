"""Local search: probes all options of one variable after the other and keeps the best, from many random starts."""

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from tfmedcai.search.oracles.baseline import declared, draw_unknown
from tfmedcai.search_spaces.space import Architecture, SearchSpace

ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)


class LocalSettings(Protocol):
    """What the oracle reads of its settings."""

    restarts: bool
    stage_trials: int | None


class LocalSearchOracle(keras_tuner.Oracle):
    """Climbs from a random architecture by first improvement, with a neighbourhood of one variable.

    In each sweep the variables come in a new random order; all options of a variable are scored and the best one is
    kept, the present one where none is better. A sweep that changed nothing ends a stage; where the space has several
    stages, the next one goes on from there with its own variables. Behind the last stage the search begins anew from
    another random architecture, until the budget ends or nothing unknown can be drawn.

    What was proposed once is never proposed again, so that known options cost nothing. A failed trial is worse than
    any score; a start that fails along with all options of the first variable is given up.

    All options of a variable can be trained at the same time, the start along with those of its first variable;
    `populate_space` answers IDLE while it waits for the rest of them. The order of the proposals depends on the seed
    and the scores alone, not on which of them came first.

    Resuming is replaying: make the oracle anew with the same seed and tell it the same scores.

    Args:
        space: only starts, variables and options of its architectures are used.
        settings: see `LocalSettings`.
        seed: seed of the starts, which in a space of one stage are those that `RandomOracle` draws, and of the order
            of the variables.
        objective: name and direction of the score.

    Reference:
        MB-NAS, section 2.3; Den Ottelander et al., Local search is a remarkably strong baseline for neural architecture
        search, EMO 2021.
    """

    def __init__(
        self, space: SearchSpace, settings: LocalSettings, seed: int, objective: keras_tuner.Objective
    ) -> None:
        super().__init__(objective=objective, hyperparameters=declared(space), seed=seed)
        self.space, self.settings = space, settings
        # Starts have a generator of their own: they are the architectures of random search with this seed.
        self.starts, self.rng = np.random.default_rng(seed), np.random.default_rng((seed, 1))
        self._trials: dict[str, str] = {}  # key -> trial, of all that was proposed
        self._pending: list[Architecture] = []
        self._batches = self._search()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the next architecture, or waits for the scores that decide which one it is."""
        while not self._pending:
            if any(self.trials[trial].status not in ENDED for trial in self._trials.values()):
                return {"status": TrialStatus.IDLE}
            batch = next(self._batches, None)
            if batch is None:
                return {"status": TrialStatus.STOPPED}
            unknown = {option.key: option for option in batch if option.key not in self._trials}
            self._pending = list(unknown.values())
        architecture = self._pending.pop(0)
        self._trials[architecture.key] = trial_id
        return {"status": TrialStatus.RUNNING, "values": self.space.values(architecture)}

    def _search(self) -> Iterator[list[Architecture]]:
        """Yields what is to be scored together; is asked for more when all of it has ended."""
        while (start := draw_unknown(self.space.start, self.starts, self._trials)) is not None:
            yield from self._climb(start)
            if start.key not in self._trials:
                yield [start]  # nothing of it can be changed
            if not self.settings.restarts:
                return

    def _climb(self, start: Architecture) -> Iterator[list[Architecture]]:
        best: Architecture | None = start
        for stage in range(self.space.stages):
            last = stage == self.space.stages - 1
            most = math.inf if last or self.settings.stage_trials is None else self.settings.stage_trials
            best = yield from self._stage(best, stage, len(self._trials) + most)
            if best is None:
                return

    def _stage(
        self, best: Architecture, stage: int, most: float
    ) -> Generator[list[Architecture], None, Architecture | None]:
        """Sweeps until nothing changes or `most` architectures are known; returns the best, None if all have failed."""
        changed = True
        while changed:
            changed = False
            for variable in self.rng.permutation(self.space.variables(best, stage)).tolist():
                if len(self._trials) >= most:
                    return best
                options = [best, *self.space.options(best, variable)]
                yield options
                found = max(options, key=self._score)  # the first of equals, so that the present one stays
                if self._score(found) == -math.inf:
                    return None
                changed = changed or found is not best
                best = found
        return best

    def _score(self, architecture: Architecture) -> float:
        """Returns the score of what was proposed, more is better; minus infinity if it failed."""
        trial = self.trials[self._trials[architecture.key]]
        if trial.status != TrialStatus.COMPLETED:
            return -math.inf
        return trial.score if self.objective.direction == "max" else -trial.score


def local_oracle(
    space: SearchSpace,
    settings: LocalSettings,
    seed: int,
    objective: keras_tuner.Objective,
    folder: Path | None = None,
) -> keras_tuner.Oracle:
    """Makes the local search, which keeps nothing in the folder; arguments as of `LocalSearchOracle`."""
    return LocalSearchOracle(space, settings, seed, objective)
