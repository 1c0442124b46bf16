"""What executors call for a trial: scores a candidate, shows its course, goes on where a killed process left it."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tfmedcai.runs import Run
from tfmedcai.search_spaces.space import Architecture
from tfmedcai.tasks.task import Task
from tfmedcai.tasks.watch import Bar, Watch


@dataclass(frozen=True)
class TrialTraining:
    """The score of a task, shown in TensorBoard as it goes, with a checkpoint for trainings of more than a few epochs.

    Attributes:
        task: trains and scores.
        run: where checkpoints and courses lie; its folder is to be the same for all machines.
    """

    task: Task
    run: Run

    def __call__(
        self, architecture: Architecture, epochs: int, seed: int, part: int, bars: tuple[Bar, ...], name: str
    ) -> dict[str, float]:
        """Returns the metrics of a candidate, see `Task.score`; the name of the call is that of its course."""
        from tfmedcai.tasks.events import course

        every = self.task.settings.search.checkpoint_epochs
        checkpoint = self._checkpoint(architecture, epochs, seed, part) if epochs > every else None
        watch = Watch(bars, checkpoint, every, course(self.run.trial_events(name)))
        try:
            answer = self.task.score(architecture, epochs, seed, part, watch)
        except Exception:  # it has failed and is not tried again; what kills or stops a process leaves the file
            _forget(checkpoint)
            raise
        _forget(checkpoint)
        return answer

    def _checkpoint(self, architecture: Architecture, epochs: int, seed: int, part: int) -> Path:
        """The file belongs to what a score depends on, whatever trial asks for it."""
        identity = repr((architecture.key, epochs, seed, part)).encode()
        return self.run.trial_checkpoint(hashlib.sha256(identity).hexdigest()[:16])


def _forget(checkpoint: Path | None) -> None:
    if checkpoint is not None:
        with suppress(OSError):  # a folder that is out of reach costs no score
            checkpoint.unlink(missing_ok=True)
