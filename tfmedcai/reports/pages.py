"""The report of a search: which sections it has, and what stands in each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tfmedcai.reports import figures, summary, tables
from tfmedcai.reports.comparison import Values, comparison_table
from tfmedcai.reports.confusion import confusion_table
from tfmedcai.reports.document import Facts, Paragraph, Part, Picture, Pictures, Preformatted, Report, Section, Stack
from tfmedcai.reports.series import SCORE, Objective, Row, by_seed, rank_correlations, relaxed_courses, scored

TENSORBOARD = "http://localhost:6006/"  # where it answers, unless it is told another port
KINDS = {"trained": "trained", "cache": "from the cache", "stopped": "stopped early", "failed": "failed"}
MOST_METRICS = 6  # training curves shown; loss first, then in the order recorded


@dataclass(frozen=True)
class RunData:
    """All that the report of a search shows, as plain Python and numpy values; whoever calls reads the files."""

    title: str
    task: str
    objective: Objective = SCORE
    oracle: str | None = None  # the oracle whose best trial is the result; None: the best of all
    trials: Sequence[Row] = ()  # rows of trials.jsonl
    rounds: Sequence[Row] = ()  # rows of rounds.jsonl
    evaluations: Sequence[Row] = ()  # contents of evaluation.json, one a network and seed
    hand_made: str | None = None  # `model` of the hand-made network among the evaluations
    cases: Sequence[Picture | Stack] = ()  # chosen cases of the best network
    values: Values = field(default_factory=dict)  # network -> metric -> (n,) of all cases and seeds
    paired: Values = field(default_factory=dict)  # the same, one value a case, for tests between networks
    confusions: Mapping[str, np.ndarray] = field(default_factory=dict)  # network -> counts, see `confusion_table`
    classes: Sequence[str] = ()  # their names
    cost: str = "parameters"  # second objective
    histories: Mapping[str, Sequence[Mapping[str, Sequence[float]]]] = field(default_factory=dict)
    settings_text: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    draw_best: Callable[[Axes], None] | None = None  # draws the best block into empty axes
    tensorboard: str = ""  # command that shows the run in TensorBoard


def search_report(data: RunData) -> Report:
    """Puts the report of a search together; what is missing is said in its place.

    Args:
        data: what the run left, with units as in the row formats (mm, deg at the face; poses in px and rad).

    Returns:
        The report, for `tfmedcai.reports.html.write_report`.
    """
    sections = [
        Section("Summary", _summary(data)),
        Section("Search", _search(data)),
        Section("Best architecture", _architecture(data)),
        Section("Evaluation", _evaluation(data)),
        Section("Cases", _cases(data)),
        Section("Training", _training(data)),
        Section("Trials", _trials(data)),
        Section("Settings and environment", _settings(data)),
    ]
    lead = "Architecture search" + (f" with the {data.oracle} oracle" if data.oracle else "")
    return Report(data.title, sections, f"{lead} for the task {data.task}.")


def _summary(data: RunData) -> list[Part]:
    found = summary.counts(data.trials)
    in_trials, in_fits = summary.seconds(data.trials, data.rounds)
    best = summary.best_trial(data.trials, data.objective, data.oracle)
    items: list[tuple[str, str]] = []
    if best:
        size = best.get("parameters")
        items = [
            ("Best architecture", str(best.get("architecture") or "(empty)")),
            ("Its score", f"{best['score']:.4g}"),
            ("Its parameters", f"{size:,}" if size else "-"),
            ("Found by", f"{best.get('oracle')}, seed {best.get('seed')}, trial {best.get('trial')}"),
        ]
    said = [f"{found[kind]:,} {words}" for kind, words in KINDS.items() if found[kind] or kind != "stopped"]
    items += [
        ("Trials", ", ".join(said)),
        ("Task", data.task),
        ("Objective", f"{data.objective.label}, {data.objective.direction}imised"),
        ("Time in trials, all seeds", summary.duration(in_trials)),
    ]
    if in_fits:
        items.append(("Time in fits of the oracle", summary.duration(in_fits)))
    parts: list[Part] = [Facts(items, code=("Best architecture",))]
    sentences = [summary.compare_searches(data.trials, data.objective)]
    if not best:
        sentences.insert(0, "No architecture was scored." if data.trials else "No trial has ended yet.")
    sentences.append(summary.compare_networks(data.evaluations, data.hand_made))
    parts += [Paragraph(text) for text in sentences if text]
    if data.tensorboard:
        text = "TensorBoard shows the courses of trials and trainings, and pictures:"
        parts.append(Paragraph(text, data.tensorboard, TENSORBOARD))
    return parts


def _search(data: RunData) -> list[Part]:
    if not data.trials:
        return [Paragraph("No trial has ended yet.")]
    if not scored(data.trials):
        return [Paragraph("No architecture was scored, so there is no curve to draw.")]
    seeds = max(len(of) for of in by_seed(data.trials).values())
    spread = "Thin lines: seeds; thick line: their mean; band: lowest to highest." if seeds > 1 else "One seed."
    comparison = summary.compare_searches(data.trials, data.objective)
    pictures = [
        Picture(
            figures.progress(data.trials, data.objective),
            f"Best score so far over the number of scored architectures. {spread} Repeated proposals of a seed "
            "are not counted; crosses mark failed trials.",
            "Best score so far of each oracle. " + (comparison or "There is no random search to compare with."),
        ),
        Picture(
            figures.score_by_cost(data.trials, data.objective, data.cost),
            f"Score and {tables.metric_title(data.cost)} of every scored architecture; circles, the Pareto front: no "
            "other one is both cheaper and better.",
            f"Scatter of {data.objective.label} over {tables.metric_title(data.cost)} of {len(scored(data.trials))} "
            "scored trials.",
        ),
    ]
    if rank_correlations(data.rounds):
        return [Pictures([*pictures, _ranks(data)])]
    if courses := relaxed_courses(data.rounds):
        return [Pictures([*pictures, *_relaxed(courses)])]
    return [Pictures(pictures), Paragraph(_no_ranks(data))]


def _relaxed(courses: Sequence[Mapping[str, np.ndarray]]) -> list[Picture]:
    losses = {"loss": "weights, on their data", "architecture_loss": "architecture, on its data"}
    ends = [course["entropy"][-1] for course in courses]
    return [
        Picture(
            figures.relaxed_course(courses, losses, "loss"),
            "Losses of the search by relaxation, whose weights and architecture never see each other's data.",
            f"Losses of {len(courses)} searches by epoch.",
        ),
        Picture(
            figures.relaxed_course(courses, {"entropy": "entropy"}, "mean entropy of a choice [nat]"),
            "How decided the choices are: the entropy of the mixing weights falls from the logarithm of the number of "
            "candidates, where all are equal, to 0, where one has all the weight.",
            f"Entropy of {len(courses)} searches by epoch, {np.mean(ends):.3f} nat at the end on average.",
        ),
    ]


def _ranks(data: RunData) -> Picture:
    lasts = [y[-1] for seeds in rank_correlations(data.rounds).values() for _, y in seeds.values()]
    return Picture(
        figures.rank_correlation(data.rounds),
        "Rank correlation between the score that the value estimator had predicted and the score then measured, "
        "by round: 1 is a perfect order, 0 none.",
        f"Rank correlation by round; in the last round {np.mean(lasts):.2f} on average over the seeds.",
    )


def _no_ranks(data: RunData) -> str:
    if any("rank_correlation" in row for row in data.rounds):
        return "The value estimator was fitted, but no estimate has been checked against a score yet."
    return "The search used no value estimator."


def _architecture(data: RunData) -> list[Part]:
    best = summary.best_trial(data.trials, data.objective, data.oracle)
    if data.draw_best is None:
        return [Paragraph("There is no drawing of the best architecture.")]
    text = str(best.get("architecture") or "(empty)") if best else "best architecture"
    picture = Picture(figures.block(data.draw_best), text, f"Drawing of the architecture {text}", paper=True)
    return [Pictures([picture])]


def _evaluation(data: RunData) -> list[Part]:
    if not data.evaluations:
        parts: list[Part] = [Paragraph("No network has been evaluated yet.")]
    else:
        parts = [
            tables.error_table(data.evaluations, data.hand_made),
            *([compared] if (compared := comparison_table(data.paired)) else []),
            *([confusion_table(data.confusions, data.classes)] if data.confusions else []),
            tables.seed_table(data.evaluations),
        ]
    metrics = dict.fromkeys(metric for measured in data.values.values() for metric in measured)
    pictures = [_histogram(data, metric) for metric in metrics]
    if pictures:
        parts.insert(1, Pictures(pictures))
    return parts


def _histogram(data: RunData, metric: str) -> Picture:
    values = {name: np.asarray(of[metric], float) for name, of in data.values.items() if metric in of}
    title = tables.metric_title(metric)
    lost = sum(int((~np.isfinite(cases)).sum()) for cases in values.values())
    left_out = f" {lost} cases without a finite value are left out." if lost else ""
    sizes = ", ".join(f"{name} {len(cases)} cases" for name, cases in values.items())
    return Picture(
        figures.error_histogram(values, title),
        f"Distribution of the {title} ({sizes}).{left_out}",
        f"Histogram of the {title}.",
    )


def _cases(data: RunData) -> list[Part]:
    return [Pictures(list(data.cases))] if data.cases else [Paragraph("No cases were kept.")]


def _training(data: RunData) -> list[Part]:
    keys = [key.removeprefix("validation_") for seeds in data.histories.values() for seed in seeds for key in seed]
    metrics = sorted(dict.fromkeys(key for key in keys if key != "epoch"), key=lambda key: key != "loss")
    if not metrics:
        return [Paragraph("No training history was kept.")]
    seeds = max(len(of) for of in data.histories.values())
    spread = f" Lines: mean of {seeds} seeds; bands: lowest to highest." if seeds > 1 else ""
    pictures = [
        Picture(
            figures.training_curves(data.histories, metric),
            f"{metric.replace('_', ' ').capitalize()} by epoch; dashed: training, solid: validation.{spread}",
            f"Training curves of {metric.replace('_', ' ')} for {' and '.join(data.histories)}.",
        )
        for metric in metrics[:MOST_METRICS]
    ]
    return [Pictures(pictures)]


def _trials(data: RunData) -> list[Part]:
    if not data.trials:
        return [Paragraph("No trial has ended yet.")]
    failed = summary.failures(data.trials)
    return [Paragraph(failed or "No trial failed."), tables.trial_table(data.trials, data.objective, data.cost)]


def _settings(data: RunData) -> list[Part]:
    lines = [f"{name}: {value}" for name, value in flat(data.environment)]
    parts: list[Part] = []
    if data.settings_text:
        parts.append(Preformatted("Settings", data.settings_text))
    if lines:
        parts.append(Preformatted("Environment", "\n".join(lines)))
    return parts or [Paragraph("Neither settings nor environment were recorded.")]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns the values of nested tables with their dotted names.

    >>> flat({"a": {"b": [1, 2]}})
    [('a.b', '1, 2')]
    """
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            pairs.append((prefix + str(name), ", ".join(str(item) for item in value)))
        else:
            pairs.append((prefix + str(name), str(value)))
    return pairs
