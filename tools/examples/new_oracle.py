"""An oracle of one's own: regularised evolution, which changes the best of a few parents and lets the oldest die."""

import argparse
from collections import deque
from pathlib import Path

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from tfmedcai import registry
from tfmedcai.cli import prepare_tensorflow
from tfmedcai.config import Settings
from tfmedcai.search.__main__ import SearchOptions, search
from tfmedcai.search.oracles.baseline import declared

PARENTS, TOURNAMENT = 6, 3


class EvolutionOracle(keras_tuner.Oracle):
    """Knows a space and scores, nothing else, so it searches every space for every task.

    Reference:
        Real et al., Regularized evolution for image classifier architecture search, AAAI 2019.
    """

    def __init__(self, space, objective, seed):
        super().__init__(objective=objective, hyperparameters=declared(space), seed=seed)
        self.space, self.rng = space, np.random.default_rng(seed)
        self.proposed, self.parents = {}, deque(maxlen=PARENTS)  # the oldest falls out

    def populate_space(self, trial_id):
        """Proposes: random architectures first, then unknown neighbours of the best of a few."""
        near = []
        if len(self.parents) == PARENTS:
            few = self.rng.choice(PARENTS, TOURNAMENT, replace=False)
            _, best = max((self.parents[place] for place in few), key=lambda parent: parent[0])
            known = {architecture.key for architecture in self.proposed.values()}
            near = [neighbour for neighbour in self.space.neighbours(best) if neighbour.key not in known]
        chosen = near[self.rng.integers(len(near))] if near else self.space.sample(self.rng)
        self.proposed[trial_id] = chosen
        return {"status": TrialStatus.RUNNING, "values": self.space.values(chosen)}

    def end_trial(self, trial):
        """Takes a score; one that failed leaves no children."""
        super().end_trial(trial)
        if trial.status == TrialStatus.COMPLETED:
            score = trial.score if self.objective.direction == "max" else -trial.score
            self.parents.append((score, self.proposed[trial.trial_id]))


def evolution_oracle(space, settings, seed, objective, folder=None):
    """Makes the oracle. Settings are the table of its name, the folder is for what it wants to keep: it has neither."""
    return EvolutionOracle(space, objective, seed)


# A package writes `evolution = my_package:evolution_oracle` under `tfmedcai.oracles` of its entry points instead.
registry.register("oracles", "evolution", evolution_oracle)


def main(argv: list[str] | None = None) -> None:
    """Searches for the pose of a screw in simulated X-ray images, beside random search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="snap", help="any of `python -m tfmedcai.search --list`")
    parser.add_argument("--trials", type=int, default=12, help="architectures to score, for each oracle")
    parser.add_argument("--output", type=Path, default=Path("build/examples"), help="folder for the run")
    given = parser.parse_args(argv)
    settings = Settings().smoke().updated({"space": given.space, "oracle": "evolution"})
    settings = settings.updated({"pose": {"images": 40}, "search": {"trials": given.trials}})
    search(SearchOptions(settings=settings, output=given.output, fresh=True))


if __name__ == "__main__":
    prepare_tensorflow()
    main()
