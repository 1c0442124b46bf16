"""The decoders of CSL as a space: text, tokens, choices and what is refused."""

import numpy as np
import pytest

from tests.conformance import check_search_space
from tfmedcai.search_spaces.csl_decoder import CslDecoder, CslDecoderSpace, Stage


@pytest.mark.parametrize("space", [CslDecoderSpace(), CslDecoderSpace(widths=[100], kernel_sizes=[5])])
def test_a_space_keeps_the_contract(space):
    check_search_space(space)


def test_the_published_decoder_lies_in_the_space():
    space, published = CslDecoderSpace(), CslDecoder()
    assert space.parse(str(published)) == published
    values = space.values(published)
    assert (values["width_1"], values["kernel_4"], values["skip_2"], values["concatenated"]) == (100, 5, True, True)
    assert len(space.neighbours(published)) == 4 * (2 + 1 + 1) + 1


def test_samples_reach_every_choice():
    space, rng = CslDecoderSpace(), np.random.default_rng(0)
    drawn = [space.encode(space.sample(rng)) for _ in range(200)]
    assert [set(column) for column in np.stack(drawn).T] == [set(range(len(c))) for c in space.choices.values()]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be written as"),
        ("100%k5 100%k5 100%k5 100%k5", "must be written as"),
        ("100%k5 100%k5 100%k5 100 apart", "must be written as"),
        ("100%k5 apart", "must have 4 stages"),
        ("100%k4 100%k5 100%k5 100%k5 apart", "odd kernel from 3. Received 100%k4"),
        ("75%k5 100%k5 100%k5 100%k5 apart", "`width_1` of this space must be 50 or 100 or 200. Received 75"),
    ],
)
def test_bad_text(text, says):
    with pytest.raises(ValueError, match=says):
        CslDecoderSpace().parse(text)


def test_bad_choices():
    with pytest.raises(ValueError, match="`widths` must be one or more numbers, each once"):
        CslDecoderSpace(widths=[])
    with pytest.raises(ValueError, match="odd kernel"):
        CslDecoderSpace(kernel_sizes=[4])
    assert Stage(50, 3, False) == CslDecoderSpace().decode([0] * 13).stages[0]
