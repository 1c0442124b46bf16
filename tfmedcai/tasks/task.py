"""What a search, a training, an export and a report need from a task."""

import abc
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

import tfmedcai.layers.spatial  # noqa: F401 - whoever has a task can load networks for images of any size
from tfmedcai import registry
from tfmedcai.config import Fit, Settings
from tfmedcai.metrics.complexity import latency_ms, multiply_accumulates
from tfmedcai.reports.document import Picture, Stack
from tfmedcai.reports.series import Objective
from tfmedcai.search_spaces.space import Architecture, SearchSpace
from tfmedcai.tasks.relaxed import Relaxed
from tfmedcai.tasks.watch import UNWATCHED, Watch

Follow = Callable[[Sequence[Any], str], Iterable[Any]]  # steps, and what they are
Candidate = Architecture | str  # what a search found, or the name of a network made by hand
# Arrays of an evaluation that a report looks for: metrics of all cases (a prefix), what was taken for what, and names.
OF_ALL, CONFUSION, CLASSES = "all_", "confusion", "classes"
MEASURED_ON = "measured_on"  # in its summary: fingerprint of the cases
BACKGROUND = "background"  # name of class 0


@dataclass(frozen=True)
class Signature:
    """A named entrance of a served model.

    Attributes:
        function: takes tensors by the names of `inputs`, returns a dict of tensors.
        inputs: name -> shape and type.
        example: name -> array; a request for warm-up and for the check after export.
        meaning: name of an input or output -> its axes and units in words.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    example: dict[str, np.ndarray]
    meaning: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What a trained network is worth on the evaluation set.

    Attributes:
        summary: JSON types; its "groups" are the results by group (a number of iterations, a structure), the one that
            matters most first: metric -> what `summary_of` says; its `MEASURED_ON` the fingerprint of the cases.
        cases: arrays for pictures of chosen cases, as `OF_ALL + metric` the values of all cases, and where classes are
            told apart `CONFUSION`, see `metrics.segmentation.confusion`, with the names `CLASSES`.
    """

    summary: dict[str, Any]
    cases: dict[str, np.ndarray]


def unseen(steps: Sequence[Any], what: str) -> Iterable[Any]:
    """Shows nobody how far it is."""
    return steps


class Task(abc.ABC):
    """Data, network, loss, metrics, serving signature and pictures of one problem.

    Args:
        settings: the settings of the run; data are made or read when first needed.

    Attributes:
        followed: hands on the steps of an `evaluate` one by one, while whoever wants to shows how far it is.
    """

    name: ClassVar[str]
    objective: ClassVar[Objective]
    baselines: ClassVar[tuple[str, ...]] = ()  # networks made by hand that stand beside a found one
    seeds_hold_out: ClassVar[bool] = False  # whether each seed is evaluated on subjects that others learn from
    parts = 1  # trainings (folds, initialisations) whose mean is a score

    def __init__(self, settings: Settings):
        self.settings = settings
        self.followed: Follow = unseen

    @abc.abstractmethod
    def prepare(self) -> None:
        """Reads or makes the data, once.

        Raises:
            ValueError: if a file is damaged or fits not; the message names it.
            OSError: if files are missing.
        """

    def keep_split(self, path: Path) -> None:  # noqa: B027 (most tasks keep nothing)
        """Writes which subjects each seed holds out, or keeps to what is written.

        Nothing is kept by a task whose split does not depend on what lies in a folder.

        Args:
            path: a file of the run.

        Raises:
            ValueError: if it was written for other subjects; the message names it.
        """

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns sizes and sources of the data in words and numbers, without making them."""

    @abc.abstractmethod
    def network(self, candidate: Candidate, *, search: bool = False) -> keras.Model:
        """Builds the untrained network.

        Args:
            candidate: what a search found, or the name of a network made by hand.
            search: the size used while searching instead of the full size.
        """

    @abc.abstractmethod
    def score(
        self, architecture: Architecture, epochs: int, seed: int, part: int = 0, watch: Watch = UNWATCHED
    ) -> dict[str, float]:
        """Trains a candidate and returns its metrics, the objective's name and `parameters` among them.

        The metrics are computed on samples that the candidate was not trained on and the evaluation does not use. What
        the watch asks for changes neither the training nor, if it goes to its end, the metrics.

        Args:
            architecture: the candidate.
            epochs: epochs of its training.
            seed: seed of weights and order.
            part: which of the `parts` trainings, of which a score is the mean.
            watch: where the training is measured and may end, and where its state is kept.
        """

    def relaxed(self, seed: int, part: int = 0) -> Relaxed:
        """Returns the relaxed problem of a supernet search, on samples that candidates are trained on.

        Args:
            seed: seed of the split into samples of the weights and of the architecture, and of their order.
            part: which of the `parts` trainings.

        Raises:
            ValueError: if the task offers none.
        """
        raise ValueError(f"the task `{self.name}` offers no relaxed problem, which the oracle `supernet` needs.")

    def costs(self, model: keras.Model) -> dict[str, float]:
        """Returns the number of parameters of a candidate and, where it is another one, its second objective."""
        name, costs = self.settings.search.cost, {"parameters": float(model.count_params())}
        measures = {"multiply_accumulates": multiply_accumulates, "latency_ms": latency_ms}
        return costs | ({name: float(measures[name](model))} if name in measures else {})

    @abc.abstractmethod
    def train(self, candidate: Candidate, seed: int, keeper: Any) -> tuple[keras.Model, list[dict[str, float]]]:
        """Trains the full-size network from scratch.

        Args:
            candidate: what a search found, or the name of a network made by hand.
            seed: seed of weights and order.
            keeper: where the state is kept after each epoch, and who is told.

        Returns:
            The network, and a row of losses for each epoch.
        """

    def fit_of(self, candidate: Candidate) -> Fit:
        """Returns how a candidate is fitted at full size: networks made by hand have a table of their own."""
        return self.settings.baseline if isinstance(candidate, str) else self.settings.training

    @abc.abstractmethod
    def evaluate(self, model: keras.Model, seed: int) -> Evaluation:
        """Measures a network that was trained with a seed on the evaluation set, whose subjects it has not seen."""

    def inputs_in(self, path: Path) -> list[Path]:
        """Returns what `predict_file` is to be asked about where a user names `path`: a folder may hold several."""
        return [path]

    @abc.abstractmethod
    def predict_file(self, model: keras.Model, path: Path, output: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answers for one file.

        Args:
            model: a trained network.
            path: the file, or the folder of one case.
            output: folder for what belongs to the answer.
            asked: what the user said beside it.

        Returns:
            The answer, JSON types, with the paths of what was written.

        Raises:
            ValueError: if the file or what is asked is not what is expected.
        """

    @staticmethod
    @abc.abstractmethod
    def case_pictures(cases: Mapping[str, np.ndarray]) -> Sequence[Picture | Stack]:
        """Draws the chosen cases of an evaluation for the report."""

    @abc.abstractmethod
    def signatures(self, model: keras.Model) -> dict[str, Signature]:
        """Returns the entrances of the served model; `serving_default` is the one that most callers want."""


def make_task(settings: Settings) -> Task:
    """Returns the task that the settings name."""
    return registry.load("tasks", settings.task)(settings)


def make_space(settings: Settings) -> SearchSpace:
    """Returns the search space that the settings name, made with the table of its name."""
    table = getattr(settings, settings.space, None)
    return registry.load("spaces", settings.space)(**(table.model_dump() if table is not None else {}))


def candidate_of(preset: Mapping[str, Any], settings: Settings) -> Candidate:
    """Returns what a preset stands for: an architecture of its space, whichever settings have, or a hand-made network.

    Args:
        preset: as `presets.read` returns it.
        settings: the table of the space's name says how its texts are read.
    """
    if "network" in preset:
        return preset["network"]
    return make_space(settings.updated({"space": preset["space"]})).parse(preset["architecture"])


def build_supernet(
    settings: Settings, *, input_shape: tuple[int, ...], outputs: int, per_pixel: bool = False
) -> keras.Model:
    """Builds the continuous relaxation of the networks that are scored while searching, of the same size.

    Args:
        settings: names the space; the table of its network gives the size.
        input_shape: shape of one sample.
        outputs: number of values to regress, or of classes.
        per_pixel: answer at every pixel instead of once.

    Returns:
        The supernet: a sample and mixing weights in, values or logits out.

    Raises:
        ValueError: if no supernet is registered for the space.
    """
    size = getattr(settings, registry.load("spaces", settings.space).network).size(search=True)
    build = registry.load("supernets", settings.space)
    return build(input_shape=input_shape, outputs=outputs, per_pixel=per_pixel, **size)


def build_network(
    settings: Settings,
    candidate: Candidate,
    *,
    search: bool,
    input_shape: tuple[int | None, ...],
    outputs: int,
    per_pixel: bool = False,
    **asked: Any,
) -> keras.Model:
    """Builds the network that belongs to the architecture's space, or the one made by hand.

    Args:
        settings: the table of the network's name, where there is one, gives its size.
        candidate: what a search found, or the name of a network made by hand.
        search: the size used while searching instead of the full size.
        input_shape: shape of one sample.
        outputs: number of values to regress, or of logits of a pixel.
        per_pixel: whether the network gives logits for every pixel instead of one vector.
        asked: what a network is told besides, where its signature has a name for it: how many of the values of a pixel
            are landmarks, say.

    Returns:
        The network, with random weights.

    Raises:
        ValueError: if the network cannot be built so, for example for pixels.
    """
    if isinstance(candidate, str):
        name, found = candidate, ()
    else:
        name, found = registry.load("spaces", candidate.space).network, (candidate,)
    table = getattr(settings, name, None)
    size = {} if table is None else table.size(search=search)
    network = registry.load("networks", name)
    known = inspect.signature(network).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    size |= {name: value for name, value in asked.items() if open_ended or name in known}
    return network(*found, input_shape=input_shape, outputs=outputs, per_pixel=per_pixel, **size)
