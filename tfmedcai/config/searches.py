"""Tables of searches and trainings: budgets, fits, oracles."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from tfmedcai.config.table import Table


class Fit(Table):
    """How a network is fitted."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = Field(default="adam", description="optimiser")
    learning_rate: PositiveFloat = Field(default=1e-3, description="learning rate at the start")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd: part of the last step that is kept")
    weight_decay: NonNegativeFloat = Field(default=0.0, description="sgd: factor of the weights in their gradient")
    schedule: Literal["constant", "cosine", "step", "polynomial", "cyclical"] = Field(
        default="cosine", description="course of the learning rate"
    )
    highest_rate: PositiveFloat = Field(default=1e-3, description="cyclical schedule: rate in the middle of a cycle")
    half_cycle: PositiveInt = Field(default=100, description="cyclical schedule: from the lowest rate to it [steps]")
    clip: NonNegativeFloat = Field(default=0.0, description="largest norm of the gradient of all weights; 0: any")
    decay_power: PositiveFloat = Field(default=0.9, description="polynomial schedule: exponent of what is left")
    decay_epochs: PositiveInt = Field(
        default=35, description="step schedule: a tenth of the rate after so many [epochs]"
    )
    batch_size: PositiveInt = Field(default=64, description="patches in a batch")


class SearchFit(Fit):
    """How a candidate is fitted during the search."""

    epochs: PositiveInt = Field(default=20, description="epochs of a candidate")


class TrainingSettings(Fit):
    """How the found architecture is trained from scratch."""

    epochs: PositiveInt = Field(default=80, description="epochs of the found network and of those beside it")
    baselines: tuple[str, ...] | None = Field(
        default=None,
        description="what gets the same data and epochs: hand-made networks, presets (in the sizes of these settings), "
        "the search's baseline oracle; unset: the usual networks of the task",
    )


class StoppingSettings(Table):
    """Early stopping of candidates, compared with those of the same seed and as many epochs that ended before them."""

    rule: Literal["none", "median", "halving"] = Field(
        default="none",
        description="median: the best value so far must reach the median of the others' means; "
        "halving: it must be among the best of each rung (ASHA)",
    )
    first_epoch: PositiveInt = Field(default=1, description="epoch before which none is stopped; the lowest rung")
    every: PositiveInt = Field(default=1, description="median: epochs from one look to the next")
    factor: int = Field(default=3, ge=2, description="halving: one of so many goes on, to so many times as many epochs")
    trials: PositiveInt = Field(default=5, description="candidates to compare with, at least")


class SearchSettings(Table):
    """The budget of a search."""

    trials: PositiveInt = Field(default=100, description="architectures to score, for each oracle and seed")
    baseline: str = Field(default="random", description="oracle given the same budget, for comparison, or none")
    cost: Literal["parameters", "multiply_accumulates", "latency_ms"] = Field(
        default="parameters", description="second objective: measured of each candidate, Pareto front in the report"
    )
    max_failures: PositiveInt = Field(default=5, description="failed trials in a row that stop the search")
    retries: NonNegativeInt = Field(
        default=3, description="times that a trial is begun again whose process was killed or whose machine went away"
    )
    time_limit_min: PositiveFloat | None = Field(
        default=None,
        description="a training that takes longer has failed [min]; needs processes or Ray; none: no limit",
    )
    checkpoint_epochs: PositiveInt = Field(
        default=10,
        description="epochs after which a candidate's state is kept, to go on there if its process is killed",
    )
    fit: SearchFit = SearchFit()
    stopping: StoppingSettings = StoppingSettings()


class LatentSettings(Table):
    """The latent oracle: auto-encoder, value estimator, gradient ascent (AutoSNAP, sections 2.3 and 2.4)."""

    initial: PositiveInt = Field(default=100, description="random architectures scored first")
    per_round: PositiveInt = Field(default=100, description="architectures proposed after each fit of the auto-encoder")
    latent_size: PositiveInt = Field(default=16, description="dimensions of the latent space")
    lstm_units: PositiveInt = Field(default=64, description="units of each LSTM, a direction")
    fit_steps: PositiveInt = Field(default=2000, description="training steps of the auto-encoder in a round")
    batch_size: PositiveInt = Field(default=64, description="sequences in a training step")
    learning_rate: PositiveFloat = Field(default=1e-3, description="Adam's learning rate")
    ascent_steps: PositiveInt = Field(default=50, description="gradient steps before a random restart")
    step_size: PositiveFloat = Field(default=0.05, description="length of a step in the latent space")


class LocalSettings(Table):
    """The local search (MB-NAS, section 2.3)."""

    restarts: bool = Field(default=True, description="begin anew where nothing improves, until the budget ends")
    stage_trials: PositiveInt | None = Field(
        default=None, description="most architectures of one start in each stage but the last (bilevel); none: no limit"
    )


class SupernetSettings(Table):
    """The supernet oracle: weights and architecture parameters descended in turn (DARTS, V-NAS)."""

    epochs: PositiveInt = Field(default=50, description="epochs of the relaxed search")
    start_epoch: NonNegativeInt = Field(default=0, description="epochs of the weights alone, before both are descended")
    batch_size: PositiveInt = Field(
        default=64, description="samples in a batch, of the weights and of the architecture"
    )
    share: float = Field(
        default=0.5, gt=0, lt=1, description="part of the images that the weights learn from; of volumes folds decide"
    )
    second_order: bool = Field(default=False, description="look one step of the weights ahead; three times the work")
    learning_rate: PositiveFloat = Field(default=0.025, description="learning rate of the weights at the start")
    final_learning_rate: NonNegativeFloat = Field(default=0.001, description="and at the end")
    schedule: Literal["cosine", "poly"] = Field(default="cosine", description="its course; poly has the power 0.9")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of the weights")
    weight_decay: NonNegativeFloat = Field(default=3e-4, description="decay of the weights, added to their gradient")
    clip: NonNegativeFloat = Field(default=5.0, description="largest norm of the gradient of all weights; 0: any")
    architecture_rate: PositiveFloat = Field(default=3e-4, description="Adam's learning rate of the architecture")
    architecture_betas: tuple[float, float] = Field(default=(0.5, 0.999), description="Adam's decays of its moments")
    architecture_decay: NonNegativeFloat = Field(
        default=1e-3, description="decay of the architecture parameters, added to their gradient"
    )
    spread: NonNegativeFloat = Field(default=1e-3, description="deviation of the architecture parameters at the start")
    temperature: PositiveFloat = Field(default=1.0, description="divides the architecture parameters in the softmax")


class BayesianSettings(Table):
    """KerasTuner's Bayesian optimisation."""

    initial: PositiveInt = Field(default=20, description="random architectures scored first")


class HyperbandSettings(Table):
    """The Hyperband oracle."""

    max_epochs: PositiveInt = Field(default=20, description="epochs of the longest rung")
    factor: PositiveInt = Field(default=3, ge=2, description="reduction from rung to rung")
