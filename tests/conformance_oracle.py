"""What every oracle must do, checked on a small space of words; and that space."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import ClassVar

import keras_tuner
import numpy as np
import pytest

from tfmedcai.journal import Journal
from tfmedcai.search.executors.executor import Ended, InProcess, answered
from tfmedcai.search.proposals import Proposals
from tfmedcai.search.tuner import Limits, Tuner
from tfmedcai.search_spaces.space import SearchSpace

LETTERS = "abc"
OBJECTIVE = keras_tuner.Objective("value", "max")
TRIALS = 7


@dataclass(frozen=True)
class Word:
    """A word; a letter written twice in a row is one."""

    text: str
    space: ClassVar[str] = "words"

    @property
    def key(self) -> str:
        return "".join(letter for letter, last in zip(self.text, " " + self.text, strict=False) if letter != last)

    def __str__(self) -> str:
        return self.text


class WordSpace(SearchSpace[Word]):
    """Words of 1 to `sequence_length` letters; token 0 ends a word."""

    name = "words"
    network = "none"
    vocabulary_size = 1 + len(LETTERS)

    def __init__(self, sequence_length=4):
        self.sequence_length = sequence_length

    def sample(self, rng):
        return Word("".join(rng.choice(list(LETTERS), rng.integers(1, self.sequence_length + 1))))

    def neighbours(self, architecture):
        return [Word(architecture.text[:-1] + letter) for letter in LETTERS if letter != architecture.text[-1]]

    def parse(self, text):
        return Word(text)

    def declare(self, hp):
        length = hp.Int("length", 1, self.sequence_length)
        return Word("".join(hp.Choice(f"letter_{i}", list(LETTERS)) for i in range(self.sequence_length))[:length])

    def values(self, architecture):
        letters = architecture.text.ljust(self.sequence_length, LETTERS[0])
        return {"length": len(architecture.text)} | {f"letter_{i}": letter for i, letter in enumerate(letters)}

    def encode(self, architecture):
        tokens = np.zeros(self.sequence_length, np.int32)
        tokens[: len(architecture.text)] = [1 + LETTERS.index(letter) for letter in architecture.text]
        return tokens

    def decode(self, tokens):
        text = "".join(" " if token == 0 else LETTERS[token - 1] for token in tokens)
        return Word(text.split(" ")[0] or LETTERS[0])

    def draw(self, architecture, axes):
        axes.text(0, 0, str(architecture))


def score_word(word: Word, epochs: int = 1) -> dict[str, float]:
    """More b is better; a word that begins with "ca" cannot be trained."""
    if word.key.startswith("ca"):
        raise MemoryError("too large")
    return {"value": word.key.count("b") - 0.1 * len(word.key) + 0.01 * epochs, "parameters": len(word.key)}


def run_search(oracle, path, evaluate=score_word, trials=TRIALS, seed=0, scorer=None):
    """Runs a search on words; returns its rows without what differs from one time to the next."""
    scorer = scorer or InProcess(evaluate)
    tuner = Tuner(oracle, oracle_space(oracle), scorer, Journal(path), Limits(trials, 1), name="checked", seed=seed)
    return [{name: value for name, value in row.items() if name != "time"} for row in tuner.run()]


class Disordered:
    """Scores as some workers side by side would, whose trials end in a random order; interrupted after some trials."""

    def __init__(self, evaluate, workers=3, seed=0, stop_after=math.inf):
        self.evaluate, self.workers, self.left = evaluate, workers, stop_after
        self.rng, self.calls = np.random.default_rng(seed), []

    @property
    def free(self):
        return self.workers - len(self.calls)

    @property
    def running(self):
        return len(self.calls)

    def submit(self, name, *arguments):
        self.calls.append((name, arguments))

    def wait(self, timeout_s=None) -> list[Ended]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        name, arguments = self.calls.pop(self.rng.integers(len(self.calls)))
        return [answered(name, self.evaluate, arguments)]


def oracle_space(oracle):
    """The space of words whose length is the one declared."""
    return WordSpace(sum(parameter.name.startswith("letter_") for parameter in oracle.hyperparameters.space))


def stop_after(trials: int):
    """An `evaluate` that is interrupted in the middle of a trial."""
    calls = []

    def evaluate(word, epochs):
        calls.append(word)
        if len(calls) > trials:
            raise KeyboardInterrupt
        return score_word(word, epochs)

    return evaluate


def check_oracle(make_oracle, folder) -> None:
    """Checks an oracle.

    Args:
        make_oracle: called with a space, a seed and an objective; with settings so small that in 7 trials the oracle
            does all it can do.
        folder: empty folder for journals.
    """
    space = WordSpace()
    whole = run_search(make_oracle(space, 0, OBJECTIVE), folder / "whole")
    assert {json.dumps(row["values"]) for row in whole}, "values must be plain JSON types"
    assert len({row["key"] for row in whole if row["score"] is not None}) > 1
    with pytest.raises(KeyboardInterrupt):
        run_search(make_oracle(space, 0, OBJECTIVE), folder / "halves", stop_after(TRIALS - 2))
    rest = run_search(make_oracle(space, 0, OBJECTIVE), folder / "halves")
    assert rest == whole, "a resumed search must equal an uninterrupted one"
    other = run_search(make_oracle(space, 1, OBJECTIVE), folder / "other", trials=2, seed=1)
    assert [row["key"] for row in other[:2]] != [row["key"] for row in whole[:2]], "another seed, other proposals"
    _check_parallel(make_oracle(space, 0, OBJECTIVE), space)
    _check_order(make_oracle, space, folder)


def _check_parallel(oracle, space) -> None:
    """While trials run, an oracle proposes or waits; it neither fails nor stops."""
    proposals = Proposals(oracle, space)
    opened = [proposals.ask() for _ in range(4)]
    assert opened[0] is not None
    for proposal in opened:
        if proposal is not None:
            assert set(proposal.values) >= {parameter.name for parameter in oracle.hyperparameters.space}
            proposals.tell(proposal.number, {"score": 1.0})
    assert proposals.ask_now() is not None
    json.dumps(oracle.get_state())


def _check_order(make_oracle, space, folder) -> None:
    """A search of several workers that was stopped proposes again what it had proposed, and loses nothing."""
    for stop in range(1, TRIALS):
        path = folder / f"stopped-{stop}"
        with pytest.raises(KeyboardInterrupt):
            run_search(
                make_oracle(space, 0, OBJECTIVE), path, scorer=Disordered(score_word, seed=stop, stop_after=stop)
            )
        before = Journal(path).read()
        rows = run_search(make_oracle(space, 0, OBJECTIVE), path, scorer=Disordered(score_word, seed=stop + 1))
        assert Journal(path).read()[: len(before)] == before
        assert len({row["trial"] for row in rows}) == len(rows)
        again = run_search(make_oracle(space, 0, OBJECTIVE), path, scorer=Disordered(None))
        assert again == rows, "a search that has ended is replayed without a trial"
