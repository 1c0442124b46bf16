import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfmedcai.losses.segmentation import CrossEntropy, DiceCrossEntropy, SoftDice

LOSSES = (SoftDice, CrossEntropy, DiceCrossEntropy)


def example(size, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, max(classes, 2), (3, *size)), rng.normal(0, 3, (3, *size, classes)).astype(np.float32)


def reference(labels, logits, over_batch=True):
    """Dice and cross-entropy in numpy, in double precision."""
    logits = logits.astype(np.float64)
    if logits.shape[-1] == 1:
        logits, labels = np.concatenate([np.zeros_like(logits), logits], axis=-1), np.minimum(labels, 1)
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    true = np.eye(logits.shape[-1])[labels]
    entropy = -np.log((true * probability).sum(axis=-1))
    parts = [(true, probability)] if over_batch else zip(true, probability, strict=True)
    scores = []
    for t, p in parts:
        t, p = (part.reshape(-1, part.shape[-1])[:, 1:] for part in (t, p))
        scores.append(np.mean(2 * (t * p).sum(axis=0) / (t + p).sum(axis=0)))
    return 1 - np.mean(scores), entropy.mean()


@pytest.mark.parametrize("over_batch", [True, False])
@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("size", [(6, 5), (4, 5, 3)])
def test_values(size, classes, over_batch):
    labels, logits = example(size, classes)
    dice, entropy = reference(labels, logits, over_batch)
    for loss, expected in zip(LOSSES, (dice, entropy, dice + entropy), strict=True):
        value = float(loss(over_batch=over_batch)(labels, logits))
        assert value == pytest.approx(expected, rel=1e-4)
        assert float(loss(over_batch=over_batch)(labels[..., np.newaxis], logits)) == pytest.approx(value)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_perfect_answer_costs_nothing(loss, classes):
    labels = np.array([[[0, 1], [2 % max(classes, 2), 0]]])
    logits = 100.0 * (labels[..., np.newaxis] * 2 - 1) if classes == 1 else 100.0 * np.eye(3)[labels]
    assert float(loss()(labels, logits)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labelled", [0, 1])
def test_half_precision_logits_of_any_size_give_finite_gradients(loss, classes, labelled):
    logits = tf.Variable(np.linspace(-60000, 60000, 2 * 64 * classes).reshape(2, 8, 8, classes).astype(np.float16))
    with tf.GradientTape() as tape:
        value = loss()(tf.fill((2, 8, 8), labelled), logits)
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, logits)).all()


def test_a_sum_over_many_voxels_keeps_its_precision():
    labels = np.ones((1, 96, 96, 64), np.uint8)
    logits = np.zeros((1, 96, 96, 64, 1), np.float16)
    assert float(SoftDice()(labels, logits)) == pytest.approx(1 - 2 * 0.5 / 1.5, abs=1e-5)


def test_a_slice_without_foreground_weighs_nothing_over_the_batch():
    labels, logits = example((8, 8), 1)
    empty = np.concatenate([labels, np.zeros_like(labels)]), np.concatenate([logits, np.full_like(logits, -40)])
    assert float(SoftDice()(*empty)) == pytest.approx(float(SoftDice()(labels, logits)), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_trains_and_is_saved(loss, tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, layers.Conv2D(3, 1)(image))
    images = np.random.default_rng(0).integers(0, 3, (16, 8, 8, 1)).astype(np.float32)
    model.compile(keras.optimizers.Adam(0.1), loss=loss(over_batch=False))
    history = model.fit(images, images[..., 0].astype(np.uint8), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.loss) is loss and again.loss.over_batch is False
    np.testing.assert_allclose(again.evaluate(images, images, verbose=0), model.evaluate(images, images, verbose=0))


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4), (2, 4, 4, 2), (2, 4, 4, 1, 1)])
def test_says_what_is_wrong(shape):
    with pytest.raises(ValueError, match="`y_true` must be labels of shape"):
        SoftDice()(np.zeros(shape), np.zeros((2, 4, 4, 3)))
