"""The latent oracle: gradient ascent on an estimated value in the latent space of an auto-encoder of architectures."""

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Round:
    """What a round came to: proposals, their estimated values by key, what is told of it."""

    batch: list[Architecture]
    estimates: dict[str, float]
    facts: dict[str, Any]


class LatentOracle(keras_tuner.Oracle):
    """Proposes random architectures first, then batches found by gradient ascent in a latent space.

    Each round fits the auto-encoder to all that is known, going on from the weights of the round before, then encodes
    the best known architectures and moves each along the gradient of the estimated value until it decodes to an
    architecture that was never proposed. Where that takes too many steps, the ascent goes on from a random latent
    vector. Failed trials are never proposed again and teach the estimator nothing.

    The value is linear in the latent vector, so all ascents run in one direction and a batch is as diverse as its
    starts. A round works beside the trials, in a thread. It begins as soon as no more proposals are left than trials
    run: with one worker when all trials have ended, with many while there is still enough to do. It proposes at least
    as many as run side by side; a worker waits only where a round takes longer than the proposals before it last.

    What a round knows, and so its proposals, depend on the order in which the oracle was asked and told, not on the
    clock. Resuming is replaying: make the oracle anew with the same seed, ask and tell it the same.

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
        fitting: the round that is under way; None if there is none.

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
        self._estimates: dict[str, float] = {}  # by key, for the last batch
        self._autoencoder: SequenceAutoEncoder | None = None
        self._due: tuple[dict[str, float], int] | None = None  # the round to begin: scores by trial, proposals wanted
        self.fitting: Future[_Round] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="latent")

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes the next architecture; waits where a round has to be ended first."""
        if self._due is not None:
            # Not before somebody asks: behind the last trial of a search no round is needed.
            self.fitting, self._due = self._thread.submit(self._round, *self._due), None
        if not self._pending:
            if self.fitting is None:
                self._pending = self._draw(1)  # too little is known yet
            elif not self.fitting.done():
                return {"status": TrialStatus.IDLE}
            else:
                self._take(self.fitting.result())
        if not self._pending:
            return {"status": TrialStatus.STOPPED}
        self._proposed[trial_id] = self._pending.pop(0)
        return {"status": TrialStatus.RUNNING, "values": self.space.values(self._proposed[trial_id])}

    @keras_tuner.synchronized
    def end_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """Takes the score of a trial; a round is due if there is little left to propose."""
        super().end_trial(trial)
        running = len(self.ongoing_trials)
        ended = len(self._proposed) - running
        # A replay asks only where a proposal came of it: a round must know the same, whether it has begun or is due.
        begun = self.fitting is not None or self._due is not None
        if not begun and ended >= self.settings.initial and len(self._pending) <= running:
            scores = self._scores()
            # Nothing can be learnt from a single one, if all others have failed.
            self._due = (scores, max(self.settings.per_round, running)) if len(scores) > 1 else None

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

    def _round(self, scores: dict[str, float], wanted: int) -> "_Round":
        """Fits the auto-encoder and finds the next batch; runs beside the trials and changes nothing that they see."""
        start = time.monotonic()
        tokens = np.stack([self.space.encode(self._proposed[name]) for name in scores])
        values = np.array(list(scores.values()))
        facts = {
            "round": len(self.rounds),
            "known": len(values),
            "rank_correlation": self._rank_correlation(scores),
            "fit": self._fit(tokens, values),
        }
        best = tokens[np.argsort(-values, kind="stable")][:wanted]
        batch = self._ascend(best, wanted)
        batch += self._draw(wanted - len(batch))
        return _Round(batch, self._estimate(batch), facts | {"seconds": round(time.monotonic() - start, 3)})

    def _take(self, ended: "_Round") -> None:
        self.fitting, self._pending, self._estimates = None, ended.batch, ended.estimates
        self.rounds.append(ended.facts)

    def _estimate(self, batch: list[Architecture]) -> dict[str, float]:
        if not batch:
            return {}
        latent = self._autoencoder.encode(np.stack([self.space.encode(architecture) for architecture in batch]))
        values = self._autoencoder.value(latent).tolist()
        return {architecture.key: value for architecture, value in zip(batch, values, strict=True)}

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

    def _ascend(self, starts: np.ndarray, wanted: int) -> list[Architecture]:
        """Finds `wanted` unknown architectures, one from each start, the others from random latent vectors."""
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
    """Makes the latent oracle; arguments as of `LatentOracle`."""
    return LatentOracle(space, settings, seed, objective, folder)
