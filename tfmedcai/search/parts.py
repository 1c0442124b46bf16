"""A score that is the mean of several trainings (folds, initialisations), each journalled and resumed on its own."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tfmedcai.journal import Journal, Row

if TYPE_CHECKING:
    from tfmedcai.search_spaces.space import Architecture

ScorePart = Callable[["Architecture", int, int, int], dict[str, float]]
SPREAD = "_std"  # suffix of the metric that tells how far the parts differ


class PartScorer:
    """Scores an architecture by its parts; a part that the journal holds is not trained again.

    Args:
        score: trains one part: architecture, epochs, seed, number of the part.
        parts: number of parts.
        seed: seed of the search.
        journal: where the parts are written as they end.
        objective: name of the metric whose deviation between parts is told.
    """

    def __init__(self, score: ScorePart, parts: int, seed: int, journal: Journal, objective: str) -> None:
        self.score, self.parts, self.seed, self.journal, self.objective = score, parts, seed, journal, objective
        journal.repair()
        self._known = {_identity(row): row["metrics"] for row in journal.read()}

    def __call__(self, architecture: "Architecture", epochs: int) -> dict[str, float]:
        """Returns the mean of each metric over the parts, and the deviation of the objective between them."""
        if self.parts == 1:
            return self.score(architecture, epochs, self.seed, 0)
        found = [self._part(architecture, epochs, part) for part in range(self.parts)]
        means = {name: float(np.mean([metrics[name] for metrics in found])) for name in found[0]}
        spread = float(np.std([metrics[self.objective] for metrics in found], ddof=1))
        return means | {self.objective + SPREAD: spread}

    def _part(self, architecture: "Architecture", epochs: int, part: int) -> dict[str, float]:
        row: Row = {"key": architecture.key, "epochs": epochs, "seed": self.seed, "part": part}
        known = self._known.get(_identity(row))
        if known is None:
            known = self.score(architecture, epochs, self.seed, part)
            self._known[_identity(row)] = known
            self.journal.append(row | {"metrics": known})
        return known


def _identity(row: Row) -> tuple[str, int, int, int]:
    return row["key"], row["epochs"], row["seed"], row["part"]
