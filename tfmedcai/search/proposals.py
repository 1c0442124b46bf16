"""What an oracle proposes, in the order in which it was asked, and what it was told of each proposal."""

import copy
import sys
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from tfmedcai.journal import Row
from tfmedcai.search_spaces.space import Architecture, SearchSpace


@dataclass(frozen=True)
class Proposal:
    """One architecture that an oracle wants scored.

    Attributes:
        number: how many were proposed before it.
        trial: KerasTuner's.
        space: of the architecture.
    """

    number: int
    trial: keras_tuner.engine.trial.Trial
    space: SearchSpace

    @cached_property
    def architecture(self) -> Architecture:
        """What is scored; made when it is asked for, since most of a long journal is replayed without it."""
        return self.space.declare(self.trial.hyperparameters)

    @property
    def values(self) -> dict[str, Any]:
        """The hyper-parameters."""
        return self.trial.hyperparameters.values


class Proposals:
    """Asks a KerasTuner oracle and tells it what came out; what KerasTuner itself writes is not kept.

    Any number of proposals may be open. An oracle that has long work to do beside the trials does it in a `Future`
    named `fitting` (None when there is none), and answers IDLE where it needs the outcome.

    Args:
        oracle: proposes; freshly made.
        space: turns its values into architectures.
    """

    def __init__(self, oracle: keras_tuner.Oracle, space: SearchSpace):
        self.oracle, self.space = oracle, space
        self.asked = 0
        self.open: dict[int, Proposal] = {}
        oracle.max_trials, oracle.max_retries_per_trial, oracle.max_consecutive_failed_trials = None, 0, sys.maxsize
        oracle.verbose = oracle._display.verbose = 0
        # Each trial it would write a state that grows with all trials, count all failures, and nobody reads it.
        oracle.save = oracle._check_consecutive_failures = lambda: None
        oracle._save_trial = lambda trial: None
        oracle.hyperparameters.copy = lambda: _twin(oracle.hyperparameters)

    @property
    def fitting(self) -> Future[Any] | None:
        """The long work of the oracle that goes on beside the trials."""
        return getattr(self.oracle, "fitting", None)

    def ask(self) -> Proposal | None:
        """Returns the next proposal; None if the oracle waits for answers or for its own work, or has no more."""
        trial = self.oracle.create_trial(str(self.asked))
        if trial.status != TrialStatus.RUNNING:
            return None
        proposal = Proposal(self.asked, trial, self.space)
        self.open[self.asked] = proposal
        self.asked += 1
        return proposal

    def ask_now(self) -> Proposal | None:
        """Returns the next proposal, and waits for the oracle's own work if that is what it waits for."""
        while (proposal := self.ask()) is None and (fitting := self.fitting) is not None:
            fitting.result()
        return proposal

    def tell(self, number: int, row: Row) -> None:
        """Tells the oracle the score of a proposal, or that it failed, which closes it."""
        trial = self.open.pop(number).trial
        if row["score"] is None:
            trial.status, trial.message = TrialStatus.FAILED, row["reason"]
        else:
            self.oracle.update_trial(trial.trial_id, {self.oracle.objective.name: row["score"]})
            trial.status = TrialStatus.COMPLETED
        self.oracle.end_trial(trial)


def _twin(hyperparameters: keras_tuner.HyperParameters) -> keras_tuner.HyperParameters:
    """Copies hyper-parameters as their own `copy` does, which takes most of the time of a trial to read them anew."""
    twin = copy.copy(hyperparameters)
    vars(twin).pop("copy", None)
    twin.values, twin._space = dict(hyperparameters.values), list(hyperparameters._space)
    twin._hps = defaultdict(list, {name: list(known) for name, known in hyperparameters._hps.items()})
    return twin
