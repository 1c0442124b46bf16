"""The latent oracle: gradient ascent on an estimated value in the latent space of an auto-encoder of architectures."""

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import keras_tuner
import numpy as np
import scipy.stats
from keras_tuner.engine.trial import TrialStatus

from tfmedcai.runs import write_whole
from tfmedcai.search.oracles.baseline import declared, draw_unknown
from tfmedcai.search.oracles.sequence_autoencoder import AutoEncoderSettings, SequenceAutoEncoder
from tfmedcai.search_spaces.space import Architecture, SearchSpace

MOST_RESTARTS = 10  # random latent vectors tried for each architecture of a batch


class LatentSettings(AutoEncoderSettings, Protocol):
    """What the oracle reads of its settings."""

    initial: int
    per_round: int
    fit_steps: int
    ascent_steps: int
    step_size: float


class LatentOracle(keras_tuner.Oracle):
    """Proposes random architectures first, then batches found by gradient ascent in a latent space.

    Each round fits the auto-encoder to all that is known, going on from the weights of the round before, then encodes
    the best known architectures and moves each along the gradient of the estimated value until it decodes to an
    architecture that was never proposed. Where that takes too many steps, the ascent goes on from a random latent
    vector. Failed trials are never proposed again and teach the estimator nothing.

    The value is linear in the latent vector, so all ascents run in one direction and a batch is as diverse as its
    starts. A round begins when all trials of the last one have ended; before that, `populate_space` answers IDLE.

    Resuming is replaying: make the oracle anew with the same seed and tell it the same scores.

    Args:
        space: only samples, tokens and values of its architectures are used.
        settings: see `LatentSettings`.
        seed: seed of the random architectures, which are those of `RandomOracle` with this seed, and of all else.
        objective: name and direction of the score.
        folder: where the weights of each fit are kept, so that a replay need not fit again; None keeps none.

    Attributes:
        rounds: what is known about each fit, in order: `round`, `known` architectures, `rank_correlation` (Spearman's,
            between the scores of the last batch and what the estimator before this fit said of them; None for the
            first), `fit` (losses) and `seconds`.

    Reference:
        AutoSNAP, sections 2.3 and 2.4.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: LatentSettings,
        seed: int,
        objective: keras_tuner.Objective,
        folder: Path | None = None,
    ) -> None:
        super().__init__(objective=objective, hyperparameters=declared(space), seed=seed)
        self.space, self.settings, self.folder, self.base_seed = space, settings, folder, seed
        # Proposals of the first `initial` trials come from this generator alone, as in `RandomOracle`.
        self.rng = np.random.default_rng(seed)
        self.rounds: list[dict[str, Any]] = []
        self._proposed: dict[str, Architecture] = {}  # by trial
        self._keys: set[str] = set()
        self._pending: list[Architecture] = []
        self._estimates: dict[str, float] = {}  # by key, for the batch under way
        self._autoencoder: SequenceAutoEncoder | None = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the next architecture; fits the auto-encoder first, if a round begins."""
        if not self._pending:
            if len(self._proposed) < self.settings.initial:
                self._pending = self._draw(1)
            elif self.ongoing_trials:
                return {"status": TrialStatus.IDLE}
            elif len(self._scores()) < 2:
                self._pending = self._draw(1)  # nothing can be learnt yet: all others failed
            else:
                self._begin_round()
        if not self._pending:
            return {"status": TrialStatus.STOPPED}
        self._proposed[trial_id] = self._pending.pop(0)
        return {"status": TrialStatus.RUNNING, "values": self.space.values(self._proposed[trial_id])}

    def _draw(self, count: int) -> list[Architecture]:
        drawn = []
        for _ in range(count):
            architecture = draw_unknown(self.space.sample, self.rng, self._keys)
            if architecture is not None:
                drawn.append(architecture)
                self._keys.add(architecture.key)
        return drawn

    def _scores(self) -> dict[str, float]:
        """Scores of the trials that were completed, by trial; more is better."""
        sign = 1.0 if self.objective.direction == "max" else -1.0
        completed = TrialStatus.COMPLETED
        return {name: sign * trial.score for name, trial in self.trials.items() if trial.status == completed}

    def _begin_round(self) -> None:
        start = time.monotonic()
        scores = self._scores()
        correlation = self._rank_correlation(scores)
        tokens = np.stack([self.space.encode(self._proposed[name]) for name in scores])
        values = np.array(list(scores.values()))
        losses = self._fit(tokens, values)
        best = tokens[np.argsort(-values, kind="stable")][: self.settings.per_round]
        self._pending = self._ascend(best)
        missing = self.settings.per_round - len(self._pending)
        self._pending += self._draw(missing)
        self._estimate(self._pending)
        self.rounds.append(
            {
                "round": len(self.rounds),
                "known": len(values),
                "rank_correlation": correlation,
                "fit": losses,
                "seconds": round(time.monotonic() - start, 3),
            }
        )

    def _estimate(self, batch: list[Architecture]) -> None:
        self._estimates = {}
        if batch:
            latent = self._autoencoder.encode(np.stack([self.space.encode(architecture) for architecture in batch]))
            values = self._autoencoder.value(latent).tolist()
            self._estimates = {architecture.key: value for architecture, value in zip(batch, values, strict=True)}

    def _rank_correlation(self, scores: dict[str, float]) -> float | None:
        pairs = [
            (self._estimates[self._proposed[name].key], score)
            for name, score in scores.items()
            if self._proposed[name].key in self._estimates
        ]
        estimates, measured = np.reshape(pairs, (-1, 2)).T
        if len(set(estimates)) < 2 or len(set(measured)) < 2:
            return None  # a constant has no ranks
        return float(scipy.stats.spearmanr(estimates, measured).statistic)

    def _ascend(self, starts: np.ndarray) -> list[Architecture]:
        """Finds `per_round` unknown architectures, one from each start, the others from random latent vectors."""
        wanted = self.settings.per_round
        found = self._walk(self._autoencoder.encode(starts), first=1)
        rng = np.random.default_rng((self.base_seed, 1 + len(self.rounds)))
        for _ in range(MOST_RESTARTS):
            if len(found) < wanted:
                latent = rng.uniform(-1, 1, (wanted - len(found), self.settings.latent_size))
                found += self._walk(latent, first=0)
        return found

    def _walk(self, latent: np.ndarray, first: int) -> list[Architecture]:
        """Moves each latent vector up the value until it decodes to an unknown architecture.

        Args:
            latent: `(n, latent_size)` starts.
            first: steps before the first look.

        Returns:
            At most n architectures, in the order of their starts.
        """
        steps = np.arange(first, self.settings.ascent_steps + 1)[:, None]
        # The gradient is the same everywhere, so the places of all steps are known at once.
        move = self.settings.step_size * steps * self._autoencoder.gradient()
        places = np.clip(latent[:, None] + move, -1, 1)
        tokens = self._autoencoder.decode(places.reshape(-1, places.shape[-1]))
        found = []
        for path in tokens.reshape(*places.shape[:2], -1):
            architecture = next(self._unknown(path), None)
            if architecture is not None:
                found.append(architecture)
                self._keys.add(architecture.key)
        return found

    def _unknown(self, path: np.ndarray) -> Iterator[Architecture]:
        for tokens in path:
            architecture = self.space.decode(tokens)
            if architecture.key not in self._keys:
                yield architecture

    def _fit(self, tokens: np.ndarray, values: np.ndarray) -> dict[str, float]:
        """Fits the auto-encoder, or loads the weights of the same fit from the folder."""
        if self._autoencoder is None:
            self._autoencoder = SequenceAutoEncoder(
                self.space.sequence_length, self.space.vocabulary_size, self.settings, self.base_seed
            )
        number = len(self.rounds)
        file = self.folder and self.folder / f"latent-{self.base_seed}-{number}.npz"
        digest = self._digest(tokens, values)
        losses = file and self._load(file, digest)
        if losses is None:
            rng = np.random.default_rng((self.base_seed, number, 2))
            count = self.settings.fit_steps * self.settings.batch_size
            random = np.stack([self.space.encode(self.space.sample(rng)) for _ in range(count)])
            random = random.reshape(self.settings.fit_steps, self.settings.batch_size, -1)
            losses = self._autoencoder.fit(random, tokens, values, seed=int(rng.integers(2**31)))
            if file:
                self._save(file, digest, losses)
        return losses

    def _digest(self, tokens: np.ndarray, values: np.ndarray) -> str:
        """Tells fits apart: everything that decides the weights."""
        names = [*sorted(AutoEncoderSettings.__annotations__), "fit_steps"]
        settings = {name: getattr(self.settings, name) for name in names}
        facts = [settings, self.base_seed, len(self.rounds), self.space.name, tokens.tolist(), values.tolist()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _save(self, file: Path, digest: str, losses: dict[str, float]) -> None:
        arrays = {f"weight_{place:03d}": array for place, array in enumerate(self._autoencoder.state())}
        write_whole(file, lambda path: np.savez(path, digest=digest, losses=json.dumps(losses), **arrays))

    def _load(self, file: Path, digest: str) -> dict[str, float] | None:
        try:
            with file.open("rb") as stream, np.load(stream) as arrays:
                if str(arrays["digest"]) != digest:
                    return None
                state = [arrays[name] for name in sorted(arrays.files) if name.startswith("weight_")]
                losses = json.loads(str(arrays["losses"]))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None  # a missing or damaged file costs a fit, nothing else
        self._autoencoder.load_state(state)
        return losses


def latent_oracle(
    space: SearchSpace,
    settings: LatentSettings,
    seed: int,
    objective: keras_tuner.Objective,
    folder: Path | None = None,
) -> keras_tuner.Oracle:
    """Makes the latent oracle; see `LatentOracle`."""
    return LatentOracle(space, settings, seed, objective, folder)
