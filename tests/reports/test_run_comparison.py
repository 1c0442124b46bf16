"""The comparison of runs: same tasks and others, same cases and others, what differs, what is missing."""

import dataclasses

import pytest

from tests.reports.test_pages import parts, texts
from tfmedcai.reports.document import Pictures, Table
from tfmedcai.reports.html import render
from tfmedcai.reports.pages import RunData
from tfmedcai.reports.run_comparison import comparison_report


def measured(data, cases="0123456789ab"):
    """The same run, whose networks were measured on cases with this fingerprint."""
    rows = [{**row, "measured_on": cases} for row in data.evaluations]
    return dataclasses.replace(data, evaluations=rows, paired=data.values)


def captions(report):
    return [table.caption for table in parts(report, Table)]


def rows_of(report, beginning):
    (table,) = [table for table in parts(report, Table) if table.caption.startswith(beginning)]
    return table.bodies[0].rows


@pytest.fixture
def two(run):
    """Two runs that differ in a setting and a version."""
    first, second = measured(run(2)), measured(run(1))
    text = first.settings_text.replace("epochs = 20", "epochs = 40")
    packages = {"tensorflow": "2.22.0"}
    return first, dataclasses.replace(
        second, title="other", settings_text=text, environment={**second.environment, "packages": packages}
    )


def test_runs_on_the_same_cases_are_tested(two):
    report = comparison_report(two)
    (tests,) = [caption for caption in captions(report) if "Wilcoxon" in caption]
    assert tests.startswith("Runs A and B.") and "position error [mm] 500" in tests
    pairs = [row[0] for row in rows_of(report, "Runs A and B.")]
    assert "A snapnet − B snapnet" in pairs and len(pairs) == 6
    networks = [
        row[0] for row in next(t for t in parts(report, Table) if "MMAC" in [c.name for c in t.columns]).bodies[0].rows
    ]
    assert networks == ["A snapnet", "A i3posnet", "B snapnet", "B i3posnet"]


def test_runs_on_other_cases_are_not(two):
    report = comparison_report([two[0], measured(two[1], "ffffffffffff")])
    assert not any("Wilcoxon" in caption for caption in captions(report))
    assert "Measured on cases of their own, so that no test compares them: A and B." in texts(report)


def test_evaluations_that_do_not_say_their_cases_are_not_tested(run):
    report = comparison_report([run(1), run(1)])
    assert not any("Wilcoxon" in caption for caption in captions(report))


def test_what_differs_is_listed_and_nothing_else(two):
    report = comparison_report(two)
    settings, environment = [t for t in parts(report, Table) if "entries differ" in t.caption]
    assert settings.bodies[0].rows == [["training.epochs", "20", "40"]]
    assert environment.bodies[0].rows == [["packages.tensorflow", "2.21.0", "2.22.0"]]
    same = comparison_report([two[0], two[0]])
    assert {"All settings are the same.", "All environments are the same."} <= set(texts(same))


def test_best_scores_stand_for_every_oracle_and_curves_for_that_of_the_run(two):
    report = comparison_report(two)
    rows = rows_of(report, "Best scores")
    assert [row[:3] for row in rows] == [["A", "latent", 2], ["A", "random", 2], ["B", "latent", 1], ["B", "random", 1]]
    best = max(row["score"] for row in two[1].trials if row["oracle"] == "latent" and row["score"])
    assert rows[2][-1] == pytest.approx(best)
    (curves,) = [p for ps in parts(report, Pictures) for p in ps.items if p.caption.startswith("Best score so far")]
    labels = [text.get_text() for text in curves.figure.axes[0].get_legend().get_texts()]
    assert labels[:2] == ["A latent (mean of 2 seeds)", "B latent"]


def test_runs_of_other_tasks_and_empty_ones_are_said_in_a_line_each(two):
    bare = RunData("bare", "segmentation", environment={}, settings_text="")
    report = comparison_report([*two, bare])
    said = texts(report)
    different = "These runs are of different tasks (A and B: pose; C: segmentation); "
    assert f"{different}scores and errors are compared within each alone." in said
    assert "Without a scored trial: C." in said
    assert any(text.startswith("Without an evaluated network") and text.endswith(": C.") for text in said)
    assert "<svg" in render(report)


def test_nothing_at_all_is_said():
    bare = RunData("bare", "pose")
    said = texts(comparison_report([bare, bare]))
    assert {"No architecture was scored in any run.", "No network has been evaluated in any run."} <= set(said)


def test_more_runs_than_letters_are_refused():
    with pytest.raises(ValueError, match="at most 26 runs"):
        comparison_report([RunData("bare", "pose")] * 27)
