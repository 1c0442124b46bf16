"""Data-parallel training of one network: on the GPUs of one machine, or of several."""

import json
import os
from typing import Any, Literal

import keras
import tensorflow as tf

StrategyName = Literal["none", "mirrored", "multiworker"]
CLUSTER = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'


def make_strategy(name: StrategyName) -> tf.distribute.Strategy:
    """Returns what spreads the batches of a training over devices, for whoever trains in its `scope()`.

    Args:
        name: "mirrored" takes all GPUs of this machine, or its logical CPUs where there is none; "multiworker" all
            GPUs of the machines that the environment variable `TF_CONFIG` lists; "none" one device. To be made
            before TensorFlow does anything else.

    Raises:
        ValueError: if `TF_CONFIG` is missing or describes no cluster.
    """
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    if name == "multiworker":
        _check_cluster(os.environ.get(CLUSTER))
        return _Machines()
    return tf.distribute.get_strategy()


class _Machines(tf.distribute.MultiWorkerMirroredStrategy):
    """All machines of a cluster, as Keras's `fit` needs them."""

    def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """Reduces over machines; Keras asks for it of whole batches, and along an axis of losses, which have none."""
        reduced = super().reduce
        return tf.nest.map_structure(lambda part: reduced(reduce_op, part, axis=None), value)


def _check_cluster(text: str | None) -> None:
    try:
        cluster = json.loads(text or "null")
        _ = cluster["cluster"]["worker"], cluster["task"]["index"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"`--strategy multiworker` needs the environment variable {CLUSTER}, with an index of its own on each "
            f"machine, as {EXAMPLE}. Received {text!r}."
        ) from error


def machine(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of this process among those that share a training; 0 does what only one may do."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return 0
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_id + (has_chief and resolver.task_type != "chief")


def replicas() -> int:
    """Returns how many devices share a batch in the present scope."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def shared_out(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Returns batches that the devices of the present scope share evenly, so that a step is that of one device.

    A batch that does not divide is filled up with its own first samples. All machines make the same batches and take
    their part of each.
    """
    count = replicas()
    if count == 1:
        return batches

    def filled(tensor: tf.Tensor) -> tf.Tensor:
        size = tf.shape(tensor)[0]
        return tf.gather(tensor, tf.range(-(-size // count) * count) % size)

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.map(lambda *batch: tf.nest.map_structure(filled, batch)).with_options(options)


def synchronise(model: keras.Model, on: bool) -> None:
    """Switches whether batch normalisations take the statistics of all devices together."""
    for layer in _layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = on


def _layers(model: keras.Model) -> list[Any]:
    """Returns all layers, those of nested models as well."""
    found: list[Any] = []
    for layer in model.layers:
        found += [layer, *(_layers(layer) if isinstance(layer, keras.Model) else [])]
    return found
