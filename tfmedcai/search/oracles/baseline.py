"""Random search on architectures, and KerasTuner's own oracles over the hyper-parameters that a space declares."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from tfmedcai.search_spaces.space import Architecture, SearchSpace

# So many draws without a new architecture mean that there is none.
MOST_DRAWS = 10_000


def draw_unknown(
    draw: Callable[[np.random.Generator], Architecture], rng: np.random.Generator, known: Container[str]
) -> Architecture | None:
    """Draws an architecture whose key is not in `known`; None if there seem to be no more.

    Oracles that begin with this and a generator of the same seed begin with the same architectures.

    Args:
        draw: for example `SearchSpace.sample`.
        rng: source of randomness.
        known: keys.

    Returns:
        The architecture.
    """
    for _ in range(MOST_DRAWS):
        architecture = draw(rng)
        if architecture.key not in known:
            return architecture
    return None


class RandomOracle(keras_tuner.Oracle):
    """Proposes architectures drawn from the space, each canonical graph once.

    KerasTuner's random search draws hyper-parameters and would repeat a graph that has several descriptions.
    """

    def __init__(self, space: SearchSpace, objective: keras_tuner.Objective, seed: int):
        super().__init__(objective=objective, hyperparameters=declared(space), seed=seed)
        self.space, self.rng, self.proposed = space, np.random.default_rng(seed), set()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the next architecture."""
        architecture = draw_unknown(self.space.sample, self.rng, self.proposed)
        if architecture is None:
            return {"status": TrialStatus.STOPPED}
        self.proposed.add(architecture.key)
        return {"status": TrialStatus.RUNNING, "values": self.space.values(architecture)}


def declared(space: SearchSpace) -> keras_tuner.HyperParameters:
    """Returns the hyper-parameters of a space."""
    hyperparameters = keras_tuner.HyperParameters()
    space.declare(hyperparameters)
    return hyperparameters


def random_oracle(
    space: SearchSpace, settings: Any, seed: int, objective: keras_tuner.Objective, folder: Path | None = None
) -> keras_tuner.Oracle:
    """Makes the random oracle, which has no settings and keeps nothing; arguments as of `hyperband_oracle`."""
    return RandomOracle(space, objective, seed)


def bayesian_oracle(
    space: SearchSpace, settings: Any, seed: int, objective: keras_tuner.Objective, folder: Path | None = None
) -> keras_tuner.Oracle:
    """Makes KerasTuner's Bayesian optimisation; arguments as of `hyperband_oracle`, `settings` has `initial`."""
    return keras_tuner.oracles.BayesianOptimizationOracle(
        objective=objective,
        num_initial_points=settings.initial,
        hyperparameters=declared(space),
        seed=_true_seed(seed),
    )


def hyperband_oracle(
    space: SearchSpace, settings: Any, seed: int, objective: keras_tuner.Objective, folder: Path | None = None
) -> keras_tuner.Oracle:
    """Makes KerasTuner's Hyperband; each rung trains from scratch, for the epochs that the oracle asks for.

    Args:
        space: declares the hyper-parameters.
        settings: has `max_epochs` and `factor`.
        seed: seed of the proposals.
        objective: what is scored.
        folder: not used; oracles that keep something between rounds keep it there.

    Returns:
        The oracle.
    """
    return keras_tuner.oracles.HyperbandOracle(
        objective=objective,
        hyperparameters=declared(space),
        max_epochs=settings.max_epochs,
        factor=settings.factor,
        hyperband_iterations=1000,
        seed=_true_seed(seed),
    )


def _true_seed(seed: int) -> int:
    """Returns a seed far from those of neighbours, and never 0.

    KerasTuner takes 0 for "no seed", and counts up from the seed, one for each value drawn: neighbouring seeds would
    draw the same values, shifted by one name.
    """
    return 1 + int(np.random.SeedSequence(seed).generate_state(1)[0]) % (2**31 - 1)
