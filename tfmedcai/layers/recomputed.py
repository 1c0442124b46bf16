"""A part of a network whose inner tensors are computed again for the gradient instead of being kept for it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfmedcai")
class Recomputed(keras.Model):
    """A functional model, used as a layer, that keeps only its inputs for the gradient.

    Its inner tensors are in memory only while its own gradient is computed, at the price of computing them twice. The
    second time changes no state: moving averages move once a step. Outside training it is the model as it is.

    Reference:
        Chen et al., Training deep nets with sublinear memory cost, 2016.

    >>> x = keras.Input((4,))
    >>> part = Recomputed(x, keras.layers.Dense(3, activation="relu")(x), name="part")
    >>> part(ops.ones((2, 4)), training=True).shape
    TensorShape([2, 3])
    """

    recomputes = True  # for estimates of memory

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Applies the model."""
        if not training:
            return super().call(inputs, training=training, mask=mask)
        run, sources = super().call, keras.tree.flatten(inputs)
        trained, state = self.trainable_variables, self.non_trainable_variables
        # Values, not variables: what is computed again must see what was seen first.
        kept = [ops.copy(variable) for variable in state]

        def pure(*values: Any) -> tuple[Any, ...]:
            packed = keras.tree.pack_sequence_as(inputs, values[: len(sources)])
            weights = zip(trained, values[len(sources) :], strict=True)
            with keras.StatelessScope([*weights, *zip(state, kept, strict=True)]) as scope:
                output = run(packed, training=True)
            return (output, *[scope.get_current_value(variable) for variable in state])

        output, *moved = keras.remat(pure)(*sources, *[ops.copy(variable) for variable in trained])
        for variable, value in zip(state, moved, strict=True):
            variable.assign(ops.stop_gradient(value))
        return output
