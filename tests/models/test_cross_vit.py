"""CrossViT: the size of ProST's, what its branches know of each other, sizes of images."""

import keras
import numpy as np
import pytest

from tfmedcai.metrics.complexity import multiply_accumulates, parameters
from tfmedcai.models.cross_vit import CrossVitSizes, cross_vit

TINY = {
    **{"tokens": (4, 6), "depths": (1, 1), "levels": 1, "exchanges": 1, "logits": 3},
    **{"heads": 2, "head_size": 3, "hidden": 5, "dropout": 0.0},
}


def _model(input_shape, **sizes):
    image = keras.Input(input_shape)
    return keras.Model(image, cross_vit(image, CrossVitSizes(**sizes)))


def test_published_size():
    model = _model((128, 128, 2))
    assert parameters(model, trainable_only=True) == 2_188_928
    assert model.output_shape == (None, 1000)
    for name, tokens in (("fine", (257, 16)), ("coarse", (5, 64))):
        assert model.get_layer(f"{name}_class").output.shape[1:] == tokens
        assert model.get_layer(f"{name}_level_3_norm").output.shape[1:] == tokens


def test_published_multiply_accumulates():
    def exchange(size, other, others):
        """One class token, projected to the other size, and the others' keys and values beside its own."""
        return 2 * size * other + other * 256 * (1 + 2 * (1 + others) + 1)

    embeddings = 256 * 128 * 16 + 4 * 8192 * 64
    # Query, key, value and result of attention, then both dense layers.
    blocks = 3 * 2 * 257 * 16 * 256 * (4 + 2) + 3 * 3 * 5 * 64 * 256 * (4 + 2)
    exchanges = 3 * 2 * (exchange(16, 64, 4) + exchange(64, 16, 256))
    assert multiply_accumulates(_model((128, 128, 2))) == embeddings + blocks + exchanges + (16 + 64) * 1000


def test_logits_are_the_sum_of_both_branches():
    model = _model((16, 16, 2), patches=(4, 8), **TINY)
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    heads = keras.Model(model.input, [model.get_layer(f"{name}_head").output for name in ("fine", "coarse")])
    np.testing.assert_allclose(model(image), sum(logits.numpy() for logits in heads(image)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("branch", "other"), [("fine", "coarse"), ("coarse", "fine")])
def test_each_branch_looks_at_the_other(branch, other):
    model = _model((16, 16, 2), patches=(4, 8), **TINY)
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    head = keras.Model(model.input, model.get_layer(f"{branch}_head").output)
    before = head(image).numpy()
    embedding = model.get_layer(f"{other}_embed")
    embedding.set_weights([-weight for weight in embedding.get_weights()])
    assert np.abs(head(image) - before).min() > 1e-6


@pytest.mark.parametrize(("input_shape", "patches"), [((64, 64, 2), (8, 64)), ((32, 48, 1), (4, 16))])
def test_images_of_other_sizes(input_shape, patches):
    model = _model(input_shape, patches=patches, **TINY)
    assert model(np.ones((2, *input_shape), np.float32)).shape == (2, 3)


def test_wrong_sizes():
    with pytest.raises(ValueError, match=r"All numbers of a CrossViT but `dropout` must be positive\. Received"):
        _model((16, 16, 2), **{**TINY, "levels": 0})
    with pytest.raises(ValueError, match=r"multiples of its patches of 64 px\. Received 96 x 96 px"):
        _model((96, 96, 2), **TINY)
