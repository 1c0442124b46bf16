"""Normalisation of each image or volume for itself, in networks that are differentiated twice."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = keras.KerasTensor
WHOLE, EACH_CHANNEL = 1, -1  # groups


@keras.saving.register_keras_serializable("tfmedcai")
class SampleNormalisation(layers.GroupNormalization):
    """`keras.layers.GroupNormalization` with right second derivatives, which Keras's moments have not.

    Unlike behind batch normalisation, what is said of a pose depends on no other pose, and the same in training as
    afterwards. A similarity that was trained with the statistics of its batch pointed, with moving ones, nowhere.

    Input: `(batch, ..., channels)`, sizes fixed but for the batch.

    >>> SampleNormalisation(groups=WHOLE)(ops.convert_to_tensor([[[1.0], [3.0]]])).numpy().round(2).ravel().tolist()
    [-1.0, 1.0]
    """

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Normalises; see `keras.layers.GroupNormalization`. Calls of BatchNormalization have a mask."""
        sizes = inputs.shape[1:]
        apart = (self.groups, sizes[-1] // self.groups)
        x = ops.cast(ops.reshape(inputs, (-1, *sizes[:-1], *apart)), self.variable_dtype)
        axes = (*range(1, len(sizes)), len(sizes) + 1)
        centred = x - ops.mean(x, axis=axes, keepdims=True)
        scale = ops.rsqrt(ops.mean(ops.square(centred), axis=axes, keepdims=True) + self.epsilon)
        made = centred * (scale * ops.reshape(self.gamma, apart)) + ops.reshape(self.beta, apart)
        return ops.cast(ops.reshape(made, (-1, *sizes)), self.compute_dtype)
