"""Early stopping: what a candidate must reach after which epoch, made of the candidates that ended before it began."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from tfmedcai.config.searches import StoppingSettings
from tfmedcai.reports.series import Objective
from tfmedcai.tasks.watch import EPOCHS, Bar, best_of, course_of


class Stopping:
    """Makes the bars of candidates.

    A candidate takes its bars along when it begins, so that nobody has to be asked while it runs: they are the same in
    this process, in another one and on another machine, and follow from the rows of the journal before it. What begins
    before enough others have ended is stopped by nobody.

    Args:
        settings: the rule.
        objective: gives name and direction of the values.

    Reference:
        Golovin et al., Google Vizier, KDD 2017, section 3.2.2 (median); Li et al., A system for massively parallel
        hyperparameter tuning, MLSys 2020 (successive halving; here a candidate below its rung ends, none is paused).
    """

    def __init__(self, settings: StoppingSettings, objective: Objective):
        self.settings, self.objective = settings, objective
        # (epochs, part, epoch of the look) -> what others had reached there
        self._reached: defaultdict[tuple[int, int, int], list[float]] = defaultdict(list)

    @property
    def stops(self) -> bool:
        """Whether there is a rule."""
        return self.settings.rule != "none"

    def looks(self, epochs: int) -> list[int]:
        """Returns the epochs of the looks at a candidate: of the median all but the last one, of halving the rungs.

        >>> Stopping(StoppingSettings(rule="halving", factor=3), Objective()).looks(20)
        [1, 3, 9]
        """
        first, factor = self.settings.first_epoch, self.settings.factor
        if self.settings.rule == "median":
            return list(range(first, epochs, self.settings.every))
        rungs = (first * factor**rung for rung in range(epochs.bit_length()))
        return [rung for rung in rungs if rung < epochs] if self.stops else []

    def hear(self, epochs: int, part: int, metrics: Mapping[str, float]) -> None:
        """Takes note of a candidate that ended.

        Args:
            epochs: epochs that it was to take.
            part: which part of a score it was.
            metrics: its answer.
        """
        course = course_of(metrics, self.objective)
        for epoch in course:
            before = [value for look, value in course.items() if look <= epoch]
            value = float(np.mean(before)) if self.settings.rule == "median" else best_of(self.objective, before)
            self._reached[epochs, part, epoch].append(value)

    def bars(self, epochs: int, part: int) -> tuple[Bar, ...]:
        """Returns the bars of a candidate that begins now."""
        return tuple(self._bar(epoch, self._reached[epochs, part, epoch]) for epoch in self.looks(epochs))

    def _bar(self, epoch: int, reached: list[float]) -> Bar:
        if len(reached) < self.settings.trials:
            return Bar(epoch, None, len(reached))
        best = 1 / 2 if self.settings.rule == "median" else 1 / self.settings.factor  # part that passes
        share = 1 - best if self.objective.direction == "max" else best
        return Bar(epoch, float(np.quantile(reached, share)), len(reached))

    def reason(self, epochs: int, metrics: Mapping[str, float], bars: tuple[Bar, ...]) -> str | None:
        """Returns why a candidate ended early; None if it did not.

        Args:
            epochs: epochs that it was to take.
            metrics: its answer.
            bars: what it was given.
        """
        ended = int(metrics.get(EPOCHS, epochs))
        bar = next((bar for bar in bars if bar.epoch == ended), None)
        if ended >= epochs or bar is None:
            return None
        reached = best_of(self.objective, list(course_of(metrics, self.objective).values()))
        others = "the median" if self.settings.rule == "median" else f"the best 1 in {self.settings.factor}"
        return (
            f"stopped early at epoch {ended} of {epochs}, because its {self.objective.name} of {reached:.4g} did not "
            f"reach the {bar.limit:.4g} of {others} of {bar.others} trials"
        )
