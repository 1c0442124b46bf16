"""Tests between networks: on the same cases, in both forms."""

import numpy as np

from tfmedcai.reports.comparison import comparison_lines, comparison_table, paired, rank_tests

CASES = np.linspace(0.5, 0.8, 8)
VALUES = {
    "found": {"dice": CASES + np.linspace(0.1, 0.15, 8), "hd95_mm": np.append(CASES[:7], np.nan)},
    "unet": {"dice": CASES, "hd95_mm": np.append(CASES[:7], 2.0)},
    "resunet": {"dice": CASES[::-1]},
}


def test_seeds_with_cases_of_their_own_are_joined_and_others_averaged():
    seeds = {"unet": {"dice": [np.array([0.2, 0.4]), np.array([0.4, 0.8])]}}
    np.testing.assert_allclose(paired(seeds, seeds_hold_out=True)["unet"]["dice"], [0.2, 0.4, 0.4, 0.8])
    np.testing.assert_allclose(paired(seeds, seeds_hold_out=False)["unet"]["dice"], [0.3, 0.6])


def test_each_metric_is_tested_among_the_networks_that_have_it():
    tests = rank_tests(VALUES)
    assert [pair["methods"] for pair in tests["dice"]["pairs"]] == [
        ("found", "unet"), ("found", "resunet"), ("unet", "resunet")
    ]  # fmt: skip
    assert tests["dice"]["friedman"] is not None
    assert (tests["hd95_mm"]["n"], tests["hd95_mm"]["friedman"]) == (7, None)
    assert tests["dice"]["pairs"][0]["p"] < 0.01


def test_table_and_lines_say_the_same():
    table, lines = comparison_table(VALUES), comparison_lines(VALUES)
    assert [row[0] for row in table.bodies[0].rows] == ["found − unet", "found − resunet", "unet − resunet"]
    assert table.groups == [("", 1), ("dice", 2), ("hd95 [mm]", 2)]
    assert "Cases: dice 8, hd95 [mm] 7." in table.caption
    assert lines[0].startswith("dice: 8 cases, Friedman p 0.0")
    assert "found - unet: median difference 0.125, Wilcoxon p 0.02" in lines[1]


def test_nothing_to_compare():
    assert comparison_table({"unet": VALUES["unet"]}) is None
    assert comparison_lines({"a": {"dice": np.array([0.5])}, "b": {"dice": np.array([0.6])}}) == []
    assert comparison_lines({"a": {"dice": CASES}, "b": {"dice": CASES[:3]}}) == []
