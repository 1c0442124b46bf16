import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

from tfmedcai.reports.document import Facts, Paragraph, Pictures, Table
from tfmedcai.reports.html import render, write_report
from tfmedcai.reports.pages import RunData, search_report
from tfmedcai.reports.series import Objective

SECTIONS = [
    "Summary",
    "Search",
    "Best architecture",
    "Evaluation",
    "Cases",
    "Training",
    "Trials",
    "Settings and environment",
]


def bare(**parts):
    return RunData(title="a run", task="pose", **parts)


def parts(report, kind):
    return [part for section in report.sections for part in section.parts if isinstance(part, kind)]


def texts(report):
    """Paragraphs and captions."""
    captions = [picture.caption for pictures in parts(report, Pictures) for picture in pictures.items]
    return [paragraph.text for paragraph in parts(report, Paragraph)] + captions


def facts(report):
    return dict(parts(report, Facts)[0].items)


def test_a_full_report_holds_every_part_and_is_small(run, tmp_path):
    path = write_report(tmp_path / "report.html", search_report(run()))
    text = path.read_text("utf-8")
    assert path.stat().st_size < 5_000_000
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", text) == SECTIONS
    assert text.count("<svg ") == 3 + 1 + 2 + 2
    assert text.count("<img ") == 3
    assert "150 trained, 12 from the cache, 18 failed" in text
    assert "18 of 180 trials failed: ResourceExhaustedError: out of memory (18)." in text
    assert "worst: 1.170 mm, 28.60 deg" in text
    assert "packages.tensorflow: 2.21.0" in text


def test_the_result_is_the_best_of_the_named_oracle(trials):
    best = max((r for r in trials if r["oracle"] == "latent" and r["score"]), key=lambda r: r["score"])
    rows = [*trials, {**best, "oracle": "random", "score": 99.0}]
    found = facts(search_report(bare(trials=rows, oracle="latent")))
    assert found["Found by"] == f"latent, seed {best['seed']}, trial {best['trial']}"
    assert found["Best architecture"] == best["architecture"]
    assert facts(search_report(bare(trials=rows)))["Its score"] == "99"


def test_nothing_at_all_is_said():
    text = render(search_report(bare()))
    for sentence in (
        "No trial has ended yet.",
        "There is no drawing of the best architecture.",
        "No network has been evaluated yet.",
        "No cases were kept.",
        "No training history was kept.",
        "Neither settings nor environment were recorded.",
    ):
        assert sentence in text
    assert "<svg" not in text


def test_only_failures_are_said(trials):
    rows = [row for row in trials if row["state"] == "FAILED"]
    report = search_report(bare(trials=rows))
    assert "No architecture was scored." in texts(report)
    assert any(text.startswith("18 of 18 trials failed") for text in texts(report))
    assert len(parts(report, Table)[0].bodies[0].rows) == 18


def test_one_seed_and_one_oracle(run):
    data = dataclasses.replace(run(1), rounds=())
    report = search_report(dataclasses.replace(data, trials=[r for r in data.trials if r["oracle"] == "latent"]))
    progress = parts(report, Pictures)[0].items[0]
    assert "There is no random search to compare with." in progress.alt
    assert "One seed." in progress.caption
    assert "The search used no value estimator." in texts(report)
    assert not any(text.startswith("After ") for text in texts(report))


def test_an_estimator_that_was_never_checked_is_said(run):
    report = search_report(bare(trials=run().trials, rounds=run().rounds[:1]))
    assert any("no estimate has been checked against a score yet" in text for text in texts(report))


def test_a_search_by_relaxation_shows_its_losses_and_entropy(run):
    numbers = {"loss": 0.5, "architecture_loss": 0.6, "entropy": 0.25, "temperature": 1.0}
    rounds = [{"oracle": "supernet", "seed": 0, "part": p, "epoch": e} | numbers for p in (0, 1) for e in (1, 2)]
    pictures = parts(search_report(bare(trials=run().trials, rounds=rounds)), Pictures)[0].items
    assert [picture.alt for picture in pictures[2:]] == [
        "Losses of 2 searches by epoch.",
        "Entropy of 2 searches by epoch, 0.250 nat at the end on average.",
    ]


def test_values_that_are_not_finite_are_counted_not_fatal():
    values = {"net": {"position_error_mm": np.array([np.nan, 1.0, 2.0, np.inf])}}
    report = search_report(bare(values=values))
    assert any("2 cases without a finite value are left out." in text for text in texts(report))
    assert render(report).count("<svg ") == 1


def test_words_of_the_user_are_text(run):
    evil = "<img src=x onerror=alert(1)> $\\frac{"
    rows = [{**row, "oracle": evil, "architecture": evil, "reason": evil} for row in run().trials[:20]]
    data = RunData(evil, evil, Objective(evil), oracle=evil, trials=rows, settings_text=evil, environment={evil: evil})
    assert "<img src=x" not in render(search_report(data))


def test_a_search_of_the_size_of_the_paper_stays_under_five_megabytes(trials):
    rows = [{**row, "trial": i, "key": f"{i} {row['key']}"} for i in range(50) for row in trials]
    assert len(render(search_report(bare(trials=rows))).encode()) < 4_000_000


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_direction_is_said(direction):
    report = search_report(bare(objective=Objective("loss", "px", direction)))
    assert facts(report)["Objective"] == f"loss [px], {direction}imised"


def test_reports_need_no_tensorflow():
    code = "import sys, tfmedcai.reports.pages, tfmedcai.reports.html; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
