"""Keras's optimisers with one operation a variable and step, where Keras builds a dozen or two; a cyclical rate."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

# A step over hundreds of variables is traced in a fraction of the time, and takes fewer passes over memory.


class _ClippedTogether:
    """Clips the gradient of a whole batch, where Keras clips that of each device that shares it."""

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        count = tf.distribute.get_strategy().num_replicas_in_sync
        if not self.global_clipnorm or count == 1:
            return super()._clip_gradients(grads)
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.convert_to_tensor(grad) for grad in grads])
        return [grad / count for grad in super()._clip_gradients(summed)]  # they are summed again after this


@keras.saving.register_keras_serializable("tfmedcai")
class RMSprop(_ClippedTogether, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop`; see there for its arguments."""


@keras.saving.register_keras_serializable("tfmedcai")
class SGD(_ClippedTogether, keras.optimizers.SGD):
    """`keras.optimizers.SGD` with the same results; see there for its arguments."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable."""
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=_handle(variable),
            accum=_handle(self.momentums[self._get_variable_index(variable)]),
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.constant(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable("tfmedcai")
class Adam(_ClippedTogether, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with the same results; see there for its arguments."""

    _scalars: Any = None  # while a step is made: powers of the decays, the decays, epsilon

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Moves all variables; see `keras.optimizers.Optimizer.apply`."""
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, tf.float32)
        powers = (tf.pow(self.beta_1, step), tf.pow(self.beta_2, step))
        # Made once for all variables.
        self._scalars = (*powers, *(tf.constant(value) for value in (self.beta_1, self.beta_2, self.epsilon)))
        super().apply(grads, trainable_variables)
        self._scalars = None  # else they would hold the graph of the step

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable."""
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        beta_1_power, beta_2_power, beta_1, beta_2, epsilon = (tf.cast(s, variable.dtype) for s in self._scalars)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


@keras.saving.register_keras_serializable("tfmedcai")
class CyclicalRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that climbs and falls in straight lines.

    Args:
        lowest: rate at the start and between two cycles.
        highest: rate in the middle of a cycle.
        half_cycle: steps from one to the other.

    Raises:
        ValueError: if a cycle has no steps.

    Reference:
        Smith, Cyclical learning rates for training neural networks, WACV 2017: the triangular policy.

    >>> rate = CyclicalRate(1.0, 3.0, half_cycle=4)
    >>> [float(rate(step)) for step in (0, 2, 4, 6, 8, 10)]
    [1.0, 2.0, 3.0, 2.0, 1.0, 2.0]
    """

    def __init__(self, lowest: float, highest: float, half_cycle: int):
        if half_cycle < 1:
            raise ValueError(f"`half_cycle` must be at least 1 step. Received {half_cycle}.")
        self.lowest, self.highest, self.half_cycle = lowest, highest, half_cycle

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate of a step, counted from 0."""
        place = tf.math.floormod(tf.cast(step, tf.float32), 2.0 * self.half_cycle) / self.half_cycle
        return self.lowest + (self.highest - self.lowest) * (1.0 - tf.abs(place - 1.0))

    def get_config(self) -> dict[str, float]:
        """Returns what makes the same schedule."""
        return {"lowest": self.lowest, "highest": self.highest, "half_cycle": self.half_cycle}


def _handle(variable: Any) -> Any:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
