"""Bilevel search as a Keras model: a step descends mixing weights and network weights on data of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Length of the finite difference in the direction of the gradient (Liu et al., section 2.3).
DIFFERENCE = 0.01

Tensors = list[tf.Tensor]
Loss = Callable[[Sequence[Any], Sequence[Any]], tf.Tensor]  # (weights, architecture parameters) -> scalar


class Supernet(keras.Model):
    """A relaxed network together with the architecture parameters that mix its candidate operations.

    A batch is a pair ((x, y), (x, y)): the first trains the weights, the second the architecture parameters. Callbacks,
    checkpoints, mixed precision and distribution work as for any Keras model; `fit` with `ArchitectureStart` begins
    with the weights alone. Only the step on the weights changes the moving statistics of normalisations, so these stem
    from the data of the weights and from the weights as they are.

    Args:
        network: model of a list, the sample and then mixing weights, each `(choices, candidates)` float32 with a fixed
            shape; their names name the groups of architecture parameters.
        spread: standard deviation of the architecture parameters at the start.
        temperature: divides the architecture parameters before the softmax; `self.temperature` may be assigned to.
        second_order: descend the loss after a step of the weights, instead of the loss at the present weights.
        seed: seed of the architecture parameters.

    Raises:
        ValueError: if the network has no mixing weights, `temperature` is not positive, or it computes in float16.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, algorithm 1.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        spread: float = 1e-3,
        temperature: float = 1.0,
        second_order: bool = False,
        seed: int = 0,
    ):
        super().__init__(name="supernet")
        if len(network.inputs) < 2:
            raise ValueError(
                f"`network` must take mixing weights beside the sample. Received `{network.name}` of one input."
            )
        if temperature <= 0:
            raise ValueError(f"`temperature` must be positive. Received {temperature}.")
        if keras.mixed_precision.dtype_policy().compute_dtype == "float16":
            raise ValueError("`float16` would need its loss scaled in every step of the search: use `mixed_bfloat16`.")
        self.network, self.second_order = network, second_order
        self.architecture_moves = True
        self._steps: dict[bool, Any] = {}
        self.architecture = [
            self.add_weight(
                tuple(mixture.shape),
                keras.initializers.RandomNormal(stddev=spread, seed=seed + number) if spread else "zeros",
                name=f"architecture_{mixture.name}",
                dtype="float32",
                autocast=False,
            )
            for number, mixture in enumerate(network.inputs[1:])
        ]
        self.temperature = self.add_weight(
            (), keras.initializers.Constant(temperature), name="temperature", dtype="float32", trainable=False
        )
        self.weight_loss = keras.metrics.Mean(name="weight_loss")
        self.architecture_loss = keras.metrics.Mean(name="architecture_loss")
        self.built = True

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        architecture_optimizer: keras.optimizers.Optimizer,
        *,
        weight_decay: float = 0.0,
        architecture_decay: float = 0.0,
        clip: float | None = None,
        **options: Any,
    ) -> None:
        """Sets the two optimisers, the loss, and what is done to gradients.

        Decays are added to the gradients, as the published search does. The `weight_decay` of Keras's optimisers is
        another thing: it would hardly hold architecture parameters, since Adam does not enlarge it.

        Args:
            optimizer: descends the weights.
            architecture_optimizer: descends the architecture parameters.
            weight_decay: factor of the weights that is added to their gradients.
            architecture_decay: factor of the architecture parameters that is added to their gradients.
            clip: largest norm of all gradients of the weights together, before decay; None does not clip.
            **options: of `keras.Model.compile`: loss, metrics, jit_compile and others.
        """
        super().compile(optimizer=optimizer, **options)
        self._steps = {}
        self.architecture_optimizer = architecture_optimizer
        self.weight_decay, self.architecture_decay, self.clip = weight_decay, architecture_decay, clip
        self.optimizer.build(self.network.trainable_variables)
        architecture_optimizer.build(self.architecture)

    def mixtures(self, architecture: Sequence[Any] | None = None) -> Tensors:
        """Returns the mixing weights: the softmax of the architecture parameters over the temperature."""
        temperature = tf.convert_to_tensor(self.temperature)
        chosen = self.architecture if architecture is None else architecture
        return [tf.nn.softmax(tf.convert_to_tensor(alphas) / temperature) for alphas in chosen]

    def named_mixtures(self) -> dict[str, np.ndarray]:
        """Returns the mixing weights by the name of their group."""
        names = [mixture.name for mixture in self.network.inputs[1:]]
        return {name: mixture.numpy() for name, mixture in zip(names, self.mixtures(), strict=True)}

    def entropy(self) -> tf.Tensor:
        """Returns the mean entropy of the choices in nat: near the logarithm of the number of candidates at first."""
        rows = [tf.reduce_sum(-p * tf.math.log(p + 1e-20), axis=-1) for p in self.mixtures()]
        return tf.reduce_mean(tf.concat(rows, axis=0))

    def call(self, x: Any, training: bool = False) -> Any:
        """Applies the network at the present mixing weights."""
        return self.network([x, *self.mixtures()], training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Descends the architecture parameters on the second batch, then the weights on the first."""
        training, validation = data
        if self.architecture_moves:
            self._architecture_step(training, validation)
        logs = self._weight_step(training)
        told = {"entropy": self.entropy(), "temperature": tf.convert_to_tensor(self.temperature)}
        return logs | {"architecture_loss": self.architecture_loss.result()} | told

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the step that `fit` runs, one with and one without work for the architecture, each once."""
        if force:
            self._steps = {}
        self.train_function = self._steps.get(self.architecture_moves)
        super().make_train_function()
        self._steps[self.architecture_moves] = self.train_function

    def compute_metrics(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Returns what `keras.Model.compute_metrics` does, without the two running means of a training step."""
        logs = super().compute_metrics(*args, **options)
        return {name: value for name, value in logs.items() if name not in ("weight_loss", "architecture_loss")}

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Keras calls it under a distribution strategy only, and would take the pair of batches for (x, y).
        super()._symbolic_build(data_batch=data_batch[0])

    def _weight_step(self, batch: tuple[Any, Any]) -> dict[str, Any]:
        x, y = batch
        weights = self.network.trainable_variables
        mixtures = self.mixtures()  # outside the tape: their gradient is not wanted here
        with tf.GradientTape() as tape:
            predicted = self.network([x, *mixtures], training=True)
            loss: Any = self.compute_loss(x=x, y=y, y_pred=predicted)
        gradients = _over_replicas(tape.gradient(loss, weights))
        if self.clip is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip)
        self._apply(self.optimizer, gradients, weights, self.weight_decay)
        self.weight_loss.update_state(loss * _replicas())
        return self.compute_metrics(x, y, predicted) | {"loss": self.weight_loss.result()}

    def _architecture_step(self, training: tuple[Any, Any], validation: tuple[Any, Any]) -> None:
        weights = [tf.convert_to_tensor(weight) for weight in self.network.trainable_variables]
        architecture = [tf.convert_to_tensor(alphas) for alphas in self.architecture]
        validation_loss = self._loss_on(validation)
        if self.second_order:
            rate = tf.cast(self.optimizer.learning_rate, tf.float32)
            gradients, loss = second_order_gradients(
                self._loss_on(training), validation_loss, weights, architecture, rate, self._next_weights
            )
        else:
            gradients, _, loss = _gradients(validation_loss, weights, architecture, of_weights=False)
            gradients = _over_replicas(gradients)
        self._apply(self.architecture_optimizer, gradients, self.architecture, self.architecture_decay)
        self.architecture_loss.update_state(loss * _replicas())

    def _loss_on(self, batch: tuple[Any, Any]) -> Loss:
        """Returns the loss of a batch as a function of weights and architecture parameters, without side effects."""
        x, y = batch
        state = [tf.convert_to_tensor(value) for value in self.network.non_trainable_variables]

        def loss(weights: Sequence[Any], architecture: Sequence[Any]) -> tf.Tensor:
            inputs = [x, *self.mixtures(architecture)]
            predicted, *_ = self.network.stateless_call(weights, state, inputs, training=True)
            return self.compute_loss(x=x, y=y, y_pred=predicted)

        return loss

    def _next_weights(self, weights: Tensors, gradients: Tensors, rate: tf.Tensor) -> Tensors:
        """Returns what a step of the optimiser would make of the weights: momentum, decay and gradient, not clipped."""
        decayed = [g + self.weight_decay * w for g, w in zip(gradients, weights, strict=True)]
        moved = [w - rate * g for w, g in zip(weights, decayed, strict=True)]
        if not isinstance(self.optimizer, keras.optimizers.SGD) or not self.optimizer.momentum:
            return moved
        momenta = [tf.convert_to_tensor(momentum) for momentum in self.optimizer.momentums]
        return [w + self.optimizer.momentum * m for w, m in zip(moved, momenta, strict=True)]

    def _apply(
        self, optimizer: keras.optimizers.Optimizer, gradients: Tensors, variables: Sequence[Any], decay: float
    ) -> None:
        if decay:
            gradients = [g + decay * tf.convert_to_tensor(v) for g, v in zip(gradients, variables, strict=True)]
        if _replicas() > 1:  # the optimiser sums over replicas, which hold the sum already
            gradients = [g / _replicas() for g in gradients]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))


class ArchitectureStart(keras.callbacks.Callback):
    """Keeps the architecture parameters of a `Supernet` still until an epoch, so that the weights mean something.

    Args:
        epoch: first epoch, counted from 0, in which they are descended.
    """

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Switches them on; before, the step does no work for them."""
        self.model.architecture_moves = epoch >= self.epoch
        self.model.make_train_function()


def second_order_gradients(
    training_loss: Loss,
    validation_loss: Loss,
    weights: Tensors,
    architecture: Tensors,
    rate: tf.Tensor,
    next_weights: Callable[[Tensors, Tensors, tf.Tensor], Tensors],
) -> tuple[Tensors, tf.Tensor]:
    """Returns the gradients of the validation loss after a step of the weights to the architecture parameters.

    Args:
        training_loss: loss that the step of the weights descends.
        validation_loss: loss that the architecture parameters descend.
        weights: present weights.
        architecture: present architecture parameters.
        rate: `()` learning rate of the step, the factor of the gradient in it.
        next_weights: makes the next weights of weights, gradients and rate.

    Returns:
        One gradient for each of `architecture`, and the validation loss after the step.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, equations 6 to 8.
    """
    _, gradients, _ = _gradients(training_loss, weights, architecture, of_architecture=False)
    ahead = next_weights(weights, _over_replicas(gradients), rate)
    direct, direction, loss = _gradients(validation_loss, ahead, architecture)
    direction = _over_replicas(direction)
    step = DIFFERENCE / tf.maximum(tf.linalg.global_norm(direction), 1e-12)
    sides = []
    for sign in (1.0, -1.0):
        moved = [w + tf.cast(sign * step, w.dtype) * d for w, d in zip(weights, direction, strict=True)]
        sides.append(_gradients(training_loss, moved, architecture, of_weights=False)[0])
    indirect = [(up - down) / (2 * step) for up, down in zip(*sides, strict=True)]
    return _over_replicas([d - rate * i for d, i in zip(direct, indirect, strict=True)]), loss


def _gradients(
    loss: Loss, weights: Tensors, architecture: Tensors, *, of_weights: bool = True, of_architecture: bool = True
) -> tuple[Tensors, Tensors, tf.Tensor]:
    """Returns gradients to the architecture parameters and to the weights, empty where not asked for, and the loss."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch((architecture if of_architecture else []) + (weights if of_weights else []))
        value = loss(weights, architecture)
    wanted = (architecture if of_architecture else [], weights if of_weights else [])
    found: Any = tape.gradient(value, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return found[0], found[1], value


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def _over_replicas(tensors: Tensors) -> Tensors:
    """Sums over the replicas of a distribution strategy; a loss is a mean over all of them (see Keras's losses)."""
    if _replicas() == 1:
        return tensors
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)
