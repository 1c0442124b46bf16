import numpy as np
import pytest
import scipy.stats

from tfmedcai.metrics.statistics import compare_methods, holm


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    cases = rng.uniform(0.6, 0.9, 20)
    return {"a": cases, "b": cases + rng.normal(0, 0.01, 20), "c": cases + 0.05 + rng.normal(0, 0.01, 20)}


def test_methods_that_differ_are_told_from_those_that_do_not(scores):
    result = compare_methods(scores)
    assert result["n"] == 20
    assert result["friedman"]["p"] == pytest.approx(scipy.stats.friedmanchisquare(*scores.values()).pvalue)
    assert [pair["methods"] for pair in result["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair["different"] for pair in result["pairs"]] == [False, True, True]
    assert result["pairs"][1]["median_difference"] == pytest.approx(-0.05, abs=0.01)
    expected = scipy.stats.wilcoxon(scores["a"], scores["c"], zero_method="pratt").pvalue
    assert result["pairs"][1]["p"] == pytest.approx(expected)


def test_cases_that_cannot_be_judged_are_left_out(scores):
    scores["b"][3] = np.nan
    assert compare_methods(scores)["n"] == 19


def test_infinite_values_are_the_largest_differences():
    base = np.arange(1.0, 9.0)
    finite = compare_methods({"a": base, "b": base + np.array([1, 2, 3, 4, 5, 6, 7, 100.0])})
    infinite = compare_methods({"a": base, "b": base + np.array([1, 2, 3, 4, 5, 6, 7, np.inf])})
    assert infinite["pairs"][0]["p"] == finite["pairs"][0]["p"] < 0.05
    both = compare_methods({"a": [np.inf, 1.0, 2.0], "b": [np.inf, 1.0, 2.0], "c": [np.inf, 1.0, 2.0]})
    assert both["friedman"] == {"statistic": 0.0, "p": 1.0} and {pair["p"] for pair in both["pairs"]} == {1.0}


def test_holm_never_reverses_an_order():
    assert holm([0.04, 0.03, 0.001]) == pytest.approx([0.06, 0.06, 0.003])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_says_what_is_wrong():
    for values in ({"a": [1, 2]}, {"a": [1, 2], "b": [1, 2, 3]}, {"a": [[1], [2]], "b": [[1], [2]]}):
        with pytest.raises(ValueError, match="`values` must be the same cases"):
            compare_methods(values)
    with pytest.raises(ValueError, match=r"2 or more cases without NaN\. Received 1"):
        compare_methods({"a": [1, np.nan], "b": [1, 2]})
