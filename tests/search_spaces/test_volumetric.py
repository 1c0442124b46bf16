"""Codes as the paper writes them, decoding over folds, and what a search walks."""

import numpy as np
import pytest

from tests.conformance import check_search_space
from tfmedcai.search_spaces.volumetric import PLACES, VolumetricCode, VolumetricSpace

NIH = "[0 0 0, 0 0 0 1, 2 0 2 0 2 2, 0 0 0] [0 0 1 0 1]"
LUNG = "[0 0 0, 1 2 0 1, 2 1 2 0 0 0, 0 0 0] [0 0 2 1 1]"
PANCREAS = "[0 2 2, 2 0 0 0, 2 2 1 2 1 1, 0 1 1] [1 0 2 0 1]"


def test_is_a_search_space():
    check_search_space(VolumetricSpace())


@pytest.mark.parametrize("text", [NIH, LUNG, PANCREAS])
def test_published_codes_are_written_as_they_are_read(text):
    assert str(VolumetricCode.parse(text)) == text


def test_digits_mean_the_kernels_of_the_paper():
    code = VolumetricCode.parse(PANCREAS)
    assert code.encoder[:8] == ("2D", "P3D", "P3D", "P3D", "2D", "2D", "2D", "P3D")
    assert code.decoder == ("3D", "2D", "P3D", "2D", "3D")


def test_nih_and_lung_share_what_the_paper_says():
    nih, lung = VolumetricCode.parse(NIH), VolumetricCode.parse(LUNG)
    equal = [a == b for a, b in zip(nih.digits, lung.digits, strict=True)]
    assert (sum(equal[:16]), sum(equal[16:])) == (11, 3)


@pytest.mark.parametrize(
    "text",
    [
        "[0 0 0 0 0 0 1 2 0 2 0 2 2 0 0 0] [0 0 1 0 1]",
        "[0 0 0, 0 0 0 1, 2 0 2 0 2 2, 0 0 0] and [0 0 1 0 1]",
        "  [0 0 0,0 0 0 1,2 0 2 0 2 2,0 0 0]/[0 0 1 0 1]\n",
    ],
)
def test_other_ways_to_write_a_code(text):
    assert str(VolumetricCode.parse(text)) == NIH


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # As printed in section 4.3, a digit short.
        ("[0 0 0, 1 2 0 1, 2 1 2 0 0, 0 0 0] [0 0 2 1 1]", r"3, 4, 6, 3 digits in its stages. Received 3, 4, 5, 3"),
        ("[0 0 0, 0 0 0 1, 2 0 2 0 2 2, 0 0 0]", "two pairs of brackets"),
        ("[0 0 0, 0 0 0 1, 2 0 3 0 2 2, 0 0 0] [0 0 1 0 1]", r"0 \(2D\), 1 \(3D\) and 2 \(P3D\). Received `3`"),
        ("[0 0 0, 0 0 0 1, 2 0 2 0 2 2, 0 0 0] [0 0 1 0]", "21 digits"),
        ("", "two pairs of brackets"),
    ],
)
def test_wrong_codes(text, message):
    with pytest.raises(ValueError, match=message):
        VolumetricCode.parse(text)


def test_wrong_kernels():
    with pytest.raises(ValueError, match=r"Received `P2D`. Did you mean"):
        VolumetricCode(("P2D",) * 16, ("2D",) * 5)
    with pytest.raises(ValueError, match="Received 15 and 5"):
        VolumetricCode(("2D",) * 15, ("2D",) * 5)


def _softmax(numbers):
    powers = np.exp(numbers)
    return powers / powers.sum(axis=-1, keepdims=True)


def test_folds_are_summed_as_probabilities_not_as_numbers():
    # The third kernel has the largest sum of architecture numbers, the first the largest sum of probabilities.
    folds = [_softmax(np.tile(row, (21, 1))) for row in ([8.0, 0.0, 4.0], [0.0, 6.0, 5.0])]
    assert set(VolumetricCode.from_probabilities(folds).digits) == {0}
    assert np.argmax(np.add([8.0, 0.0, 4.0], [0.0, 6.0, 5.0])) == 2


def test_ties_take_the_lowest_digit_whatever_the_order_of_the_folds():
    folds = [np.tile(row, (21, 1)) for row in ([0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1])]
    assert sum(fold[0, 0] for fold in folds) != sum(fold[0, 1] for fold in folds)  # equal but for rounding
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        assert set(VolumetricCode.from_probabilities([folds[fold] for fold in order]).digits) == {0}
    assert str(VolumetricCode.from_probabilities([np.full((21, 3), 1 / 3)] * 4)) == str(
        VolumetricCode.uniform("2D", "2D")
    )


def test_one_search_decodes_place_by_place():
    code = VolumetricCode.parse(LUNG)
    numbers = np.random.default_rng(0).normal(size=(21, 3))
    numbers[np.arange(21), code.digits] += 9
    assert VolumetricCode.from_probabilities([_softmax(numbers)]) == code


@pytest.mark.parametrize(
    "folds", [[], [np.zeros((21, 3))], [np.full((20, 3), 1 / 3)], [np.full((21, 3), 1 / 3), np.full((21, 2), 0.5)]]
)
def test_wrong_probabilities(folds):
    with pytest.raises(ValueError, match=r"Each fold must|Probabilities must"):
        VolumetricCode.from_probabilities(folds)


def test_neighbours_differ_in_one_place():
    code = VolumetricCode.parse(NIH)
    near = VolumetricSpace().neighbours(code)
    assert len(near) == 42
    assert {sum(a != b for a, b in zip(code.digits, other.digits, strict=True)) for other in near} == {1}


def test_sample_reaches_every_kernel_at_every_place():
    rng = np.random.default_rng(1)
    digits = np.array([VolumetricSpace().sample(rng).digits for _ in range(200)])
    assert all(set(column) == {0, 1, 2} for column in digits.T)


def test_declared_places():
    assert len(PLACES) == 21
    assert PLACES[0] == "encoder_1_1"
    assert PLACES[15:17] == ("encoder_4_3", "decoder_1")
    values = VolumetricSpace().values(VolumetricCode.parse(NIH))
    assert values["encoder_2_4"] == "3D"
    assert values["encoder_3_1"] == "P3D"


@pytest.mark.parametrize("tokens", [np.zeros(20, int), np.full(21, 3), np.full(21, -1)])
def test_wrong_tokens(tokens):
    with pytest.raises(ValueError, match="21 digits out of 0, 1 and 2"):
        VolumetricSpace().decode(tokens)
