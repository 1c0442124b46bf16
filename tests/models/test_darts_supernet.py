"""The search network of DARTS: published sizes, and which mixing weight reaches what."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.metrics.complexity import multiply_accumulates, parameters
from tfmedcai.models.darts_supernet import darts_supernet, mixed_edges
from tfmedcai.search.supernet import Supernet
from tfmedcai.search_spaces.genotype import EDGES, OPERATIONS


def uniform():
    return tf.fill((14, 8), 1 / 8)


@pytest.mark.slow
def test_published_sizes():
    network = darts_supernet(input_shape=(32, 32, 3), outputs=10)
    assert parameters(network, trainable_only=True) == 1_930_618
    assert multiply_accumulates(network) / 1e6 == pytest.approx(300.26, abs=0.006)
    supernet = Supernet(network)
    assert parameters(supernet, trainable_only=True) == 1_930_618 + 224
    assert [tuple(alphas.shape) for alphas in supernet.architecture] == [(14, 8), (14, 8)]


@pytest.mark.parametrize("edges", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_sizes_of_operations(edges, stride):
    x, weights = keras.Input((8, 8, 16)), keras.Input(batch_shape=(edges, 7), dtype="float32")
    y = mixed_edges(x, weights, 16, stride, "op")
    assert y.shape == (None, 8 // stride, 8 // stride, 16 * edges)
    found = dict.fromkeys(OPERATIONS, 0)
    for layer in keras.Model([x, weights], y).layers:
        for name in OPERATIONS:
            if layer.name.startswith(f"op_{name}"):
                found[name] += parameters(layer, trainable_only=True) if layer.weights else 0
    assert found == {
        operation: edges * size
        for operation, size in {
            **{"max3": 0, "avg3": 0, "skip": 256 * (stride - 1)},
            **{"sep3": 800, "sep5": 1312, "dil3": 400, "dil5": 656},
        }.items()
    }


def test_weights_of_an_edge_reach_its_node_alone():
    """The mixing weight of an edge changes the node that it enters and those that read it, not the nodes before."""
    network = darts_supernet(input_shape=(6, 6, 1), outputs=1, filters=2, cells=1)
    # One cell reduces, at a third and at two thirds of one cell.
    cell = keras.Model(network.inputs, network.get_layer("cell0").output)
    image = tf.constant(np.random.default_rng(0).random((2, 6, 6, 1)), tf.float32)
    before = cell([image, uniform(), uniform()]).numpy().reshape(-1, 4, 4)
    for row, (node, _) in enumerate(EDGES):
        changed = uniform().numpy()
        changed[row] = [0.0, 0.0, 0.0, 0.9, 0.1, 0.0, 0.0, 0.0]
        after = cell([image, uniform(), tf.constant(changed)]).numpy().reshape(-1, 4, 4)
        differs = [bool(np.abs(before[:, n] - after[:, n]).max() > 1e-6) for n in range(4)]
        assert differs[:node] == [False] * node
        assert differs[node], EDGES[row]


def test_none_costs_nothing_and_takes_its_share():
    network = darts_supernet(input_shape=(6, 6, 1), outputs=1, filters=2, cells=1)
    cell = keras.Model(network.inputs, network.get_layer("cell0").output)
    image = tf.constant(np.random.default_rng(0).random((2, 6, 6, 1)), tf.float32)
    only_none = tf.one_hot(tf.zeros(14, tf.int32), 8)
    assert np.abs(cell([image, only_none, only_none]).numpy()).max() == 0


def test_every_pixel_gets_an_answer():
    network = darts_supernet(input_shape=(7, 9, 2), outputs=3, filters=2, cells=1, per_pixel=True)
    assert network([tf.zeros((1, 7, 9, 2)), uniform(), uniform()]).shape == (1, 7, 9, 3)
