"""What an executor calls: courses are shown from whatever process trains."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tfmedcai.runs import Run
from tfmedcai.search.executors.executor import InProcess
from tfmedcai.search.executors.processes import LocalProcesses
from tfmedcai.search.scoring import Scoring


@dataclass
class Told:
    """A task that tells two epochs and trains nothing."""

    tell: Any = field(default=None, compare=False)

    def score(self, architecture, epochs, seed, part):
        for epoch in (1, 2):
            self.tell({"epoch": epoch, "loss": 1 / epoch})
        return {"value": float(len(architecture) + epochs + seed + part)}


@pytest.mark.parametrize("executor", [InProcess, LocalProcesses])
def test_a_course_is_shown_under_the_name_of_its_call(tmp_path, executor):
    run = Run(tmp_path / "run")
    with executor(Scoring(Told(), run)) as calls:
        calls.submit("latent-0-3", "abc", 20, 1, 0, "latent-0-3")
        (ended,) = calls.wait()
    assert ended.answer == {"value": 24.0}, ended.details
    (events,) = run.trial_events("latent-0-3").iterdir()
    text = events.read_bytes()
    assert events.name.startswith("events.out.tfevents") and text.count(b"loss") >= 1
