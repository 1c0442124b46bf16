"""What an executor calls: the score of a candidate, whose course is shown in TensorBoard as it goes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfmedcai.runs import Run

if TYPE_CHECKING:
    from tfmedcai.search_spaces.space import Architecture
    from tfmedcai.tasks.task import Task


@dataclass(frozen=True)
class Scoring:
    """Scores candidates of a task, in this process or in one of their own.

    Attributes:
        task: the task.
        run: the run whose TensorBoard shows the courses.
    """

    task: "Task"
    run: Run

    def __call__(self, architecture: "Architecture", epochs: int, seed: int, part: int, name: str) -> dict[str, float]:
        """Returns what `Task.score` does; the name of the call is that of the course."""
        from tfmedcai.tasks.events import course

        self.task.tell = course(self.run.trial_events(name))
        return self.task.score(architecture, epochs, seed, part)
