import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfmedcai.inference.sliding_window import Windows, sliding_window


def reference(network, volume, classes, size, steps, outside):
    """Straight loops over windows in double precision."""
    lacking = [max(0, window - length) for window, length in zip(size, volume.shape, strict=False)]
    before = [n // 2 for n in lacking]
    grid = np.pad(
        volume, [(b, n - b) for b, n in zip(before, lacking, strict=True)] + [(0, 0)], constant_values=outside
    )
    starts = []
    for length, window, step in zip(grid.shape, size, steps, strict=False):
        gaps = -(-(length - window) // step)
        starts.append([(i * (length - window) + gaps // 2) // max(gaps, 1) for i in range(gaps + 1)])
    places = np.moveaxis(np.indices(size), 0, -1)
    middle, sigma = (np.array(size) - 1) / 2, 0.125 * np.array(size)
    weight = np.exp(-0.5 * (((places - middle) / sigma) ** 2).sum(axis=-1))[..., np.newaxis]
    total, covered = np.zeros((*grid.shape[:3], classes)), np.zeros((*grid.shape[:3], 1))
    for start in itertools.product(*starts):
        piece = tuple(slice(s, s + w) for s, w in zip(start, size, strict=True))
        total[piece] += weight * network(grid[piece])
        covered[piece] += weight
    inner = tuple(slice(b, b + n) for b, n in zip(before, volume.shape, strict=False))
    return (total / covered)[inner]


def positional(size, classes=3, seed=0):
    """A network whose answer depends on the place in the window, so that it matters how windows are blended."""
    factors = np.random.default_rng(seed).normal(size=(*size, classes)).astype(np.float32)
    return lambda window: tf.reduce_sum(window, axis=-1, keepdims=True) * factors


def volume(shape, channels=2, seed=1):
    return np.random.default_rng(seed).normal(size=(*shape, channels)).astype(np.float32)


@pytest.mark.parametrize("shape", [(9, 8, 7), (4, 5, 3), (3, 11, 2), (1, 1, 1), (13, 5, 6)])
@pytest.mark.parametrize(("size", "overlap"), [((4, 5, 3), 0.5), ((4, 4, 4), 0.0), ((5, 4, 6), 0.8)])
def test_blends_as_straight_loops_do(shape, size, overlap):
    windows = Windows(size, overlap, batch_size=3, outside=0.5)
    network, source = positional(size), volume(shape)
    expected = reference(lambda piece: network(piece).numpy(), source, 3, size, windows.steps, 0.5)
    np.testing.assert_allclose(sliding_window(network, source, 3, windows), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(9, 8, 4), (4, 5, 1), (3, 2, 3)])
def test_slices(shape):
    windows = Windows((4, 5), batch_size=3)
    network, source = positional((4, 5)), volume(shape)
    expected = reference(lambda piece: network(piece[:, :, 0]).numpy()[:, :, np.newaxis], source, 3, (4, 5, 1),
                         (*windows.steps, 1), 0.0)  # fmt: skip
    np.testing.assert_allclose(sliding_window(network, source, 3, windows), expected, atol=1e-4)


@pytest.mark.parametrize("size", [(4, 4, 4), (4, 4)])
def test_labels_are_kept_instead_of_probabilities(size):
    network, source = positional(size), volume((9, 6, 7))
    expected = tf.argmax(sliding_window(network, source, 3, Windows(size)), axis=-1)

    def labels(averages):
        return tf.cast(tf.argmax(averages, axis=-1), tf.uint8)

    found = tf.function(lambda v: sliding_window(network, v, 3, Windows(size), labels))(source)
    assert found.dtype == tf.uint8 and found.shape == (9, 6, 7)
    np.testing.assert_array_equal(found, expected)


def test_the_size_of_the_batch_changes_nothing():
    network, source = positional((4, 4, 4)), volume((9, 10, 7))
    for size, factor in (((4, 4, 4), network), ((4, 4), positional((4, 4)))):
        results = [sliding_window(factor, source, 3, Windows(size, batch_size=n)).numpy() for n in (1, 3, 4, 1000)]
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])


def test_no_more_windows_than_needed_are_computed():
    sizes = []

    def network(batch):
        tf.py_function(lambda n: sizes.append(int(n)), [tf.shape(batch)[0]], [])
        return batch

    sliding_window(network, volume((4, 4, 10)), 2, Windows((4, 4, 4), overlap=0.5, batch_size=3))
    assert sizes == [3, 1]
    sizes.clear()
    sliding_window(network, volume((6, 4, 5)), 2, Windows((4, 4), overlap=0.5, batch_size=4))
    assert sizes == [4, 4, 2]  # two slices of two windows each at a time


def test_is_served_for_volumes_of_any_size(tmp_path):
    image = keras.Input((4, 4, 4, 2))
    model = keras.Model(image, layers.Conv3D(3, 3, padding="same", activation="softmax")(image))
    windows = Windows((4, 4, 4), batch_size=2)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2), tf.float32)])
    def serve(image):
        return {"probability": sliding_window(lambda x: model(x, training=False), image, 3, windows)}

    module = tf.Module()
    module.model, module.serve = model, serve
    tf.saved_model.save(module, str(tmp_path), signatures=serve)
    signature = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    kinds = {operation.type for operation in signature.graph.get_operations()}
    kinds |= {node.op for function in signature.graph.as_graph_def().library.function for node in function.node_def}
    assert not kinds & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
    for shape in ((6, 5, 9), (2, 3, 4)):
        source = volume(shape)
        answer = signature(tf.constant(source))["probability"]
        np.testing.assert_allclose(answer, sliding_window(model, source, 3, windows), atol=1e-5)
        np.testing.assert_allclose(tf.reduce_sum(answer, axis=-1), 1, atol=1e-5)
        assert answer.shape == (*shape, 3)


def test_static_sizes_stay_known():
    traced = tf.function(lambda v: sliding_window(positional((4, 4, 4)), v, 3, Windows((4, 4, 4))))
    assert traced.get_concrete_function(tf.TensorSpec((5, None, 6, 2))).output_shapes.as_list() == [5, None, 6, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Windows((4,)), "`size` must be 2 or 3 numbers"),
        (lambda: Windows((4, 4), overlap=1.0), "`overlap` must be from 0 to below 1"),
        (lambda: Windows((4, 4), batch_size=0), "`batch_size` must be 1 or more"),
        (lambda: sliding_window(lambda x: x, tf.zeros((4, 4, 4)), 1, Windows((4, 4))), "`volume` must have shape"),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
