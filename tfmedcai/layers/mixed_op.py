"""The continuous relaxation of a choice: candidate operations, summed with mixing weights, for many edges at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmedcai.layers.convolution import MOMENTUM
from tfmedcai.layers.fused_normalisation import standardised

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("tfmedcai")
class Standardisation(keras.layers.Layer):
    """Batch normalisation without learnt scale and offset, times given factors.

    The factors cost nothing: the kernel of the normalisation multiplies by a scale in any case, and its gradient is one
    that it computes. Works for maps and for volumes.

    Args:
        momentum: part of the moving statistics that is kept in a step.
        epsilon: added to the variance.

    >>> x = tf.random.normal((4, 5, 6, 7, 2))
    >>> Standardisation()(x, tf.constant([2.0, 3.0]), training=True).numpy().std(axis=(0, 1, 2, 3)).round(1)
    array([2., 3.], dtype=float32)
    """

    def __init__(self, momentum: float = MOMENTUM, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon
        self.autocast = False  # factors stay float32 under mixed precision

    def build(self, x_shape: Shape, factors_shape: Shape | None = None) -> None:
        """Makes the moving statistics, one of each for a channel."""
        options = {"trainable": False, "dtype": "float32", "autocast": False, "aggregation": "mean"}
        self.moving_mean = self.add_weight((x_shape[-1],), "zeros", name="moving_mean", **options)
        self.moving_variance = self.add_weight((x_shape[-1],), "ones", name="moving_variance", **options)

    def call(self, x: Any, factors: Any = None, training: bool = False) -> Any:
        """Returns the standardised `x` `(batch, ..., channels)` times `factors` `(channels,)`, ones by default."""
        x = tf.cast(x, self.compute_dtype)
        channels = x.shape[-1:]
        result, mean, variance = standardised(
            x,
            tf.ones(channels) if factors is None else tf.cast(factors, tf.float32),
            tf.zeros(channels),
            tf.convert_to_tensor(self.moving_mean),
            tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            momentum=self.momentum,
            training=training,
        )
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return result

    def compute_output_shape(self, x_shape: Shape, factors_shape: Shape | None = None) -> Shape:
        """The shape of the input."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {"momentum": self.momentum, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("tfmedcai")
class MixedOp(keras.layers.Layer):
    """Sums the outputs of candidate operations with mixing weights, for one edge or for several that share an input.

    The channels of a candidate are grouped by edge. A candidate that all edges share, as pooling, is given once,
    without groups. `none` is left out together with its weight, so it costs nothing. The weights are inputs, so that
    many cells share them and nothing here knows how they came about.

    Args:
        standardised: for every candidate, whether its output is still to be standardised (see `Standardisation`), which
            then costs no more than the normalisation that the operation ends in.
        edges: number of edges computed together.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, equation 2.

    >>> maps = [tf.ones((1, 2, 2, 3)), 2 * tf.ones((1, 2, 2, 3))]
    >>> float(MixedOp([False, False])(maps, tf.constant([[0.75, 0.25]]))[0, 0, 0, 0])
    1.25
    """

    def __init__(self, standardised: Sequence[bool], edges: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.standardised, self.edges = tuple(standardised), edges
        self.autocast = False
        self.standardisations = [
            Standardisation(name=f"standardisation_{number}", dtype=self.dtype_policy) if wanted else None
            for number, wanted in enumerate(self.standardised)
        ]

    def build(self, candidates_shape: Sequence[Shape], weights_shape: Shape) -> None:
        """Checks the shapes.

        Raises:
            ValueError: if the numbers of candidates, edges and channels do not fit.
        """
        if tuple(weights_shape) != (self.edges, len(self.standardised)):
            raise ValueError(
                f"`weights` must have shape ({self.edges}, {len(self.standardised)}), one row an edge, one column a "
                f"candidate. Received {tuple(weights_shape)}."
            )
        self.channels = max(shape[-1] or 0 for shape in candidates_shape)
        possible = (self.channels, self.channels // self.edges)
        if len(candidates_shape) != len(self.standardised) or any(s[-1] not in possible for s in candidates_shape):
            raise ValueError(
                f"`candidates` must be {len(self.standardised)} tensors whose channels are those of one edge or "
                f"{self.edges} times as many. Received shapes {list(candidates_shape)}."
            )
        for layer, shape in zip(self.standardisations, candidates_shape, strict=True):
            if layer is not None:
                layer.build(shape)

    def call(self, candidates: Sequence[Any], weights: Any, training: bool = False) -> Any:
        """Returns the sums, `(batch, ..., edges * channels)`.

        Args:
            candidates: each `(batch, ..., edges * channels)`, or `(batch, ..., channels)` where all edges share it.
            weights: `(edges, candidates)` float32.
            training: standardise with the statistics of the batch.
        """
        terms = []
        columns = tf.unstack(tf.cast(weights, tf.float32), axis=1)
        for x, column, layer in zip(candidates, columns, self.standardisations, strict=True):
            x = tf.cast(x, self.compute_dtype)
            if layer is not None:
                terms.append(layer(x, self._for_channels(column), training=training))
                continue
            column = tf.cast(column, self.compute_dtype)
            if x.shape[-1] == self.channels:
                terms.append(x * self._for_channels(column))
            else:
                spread = tf.expand_dims(x, -2) * tf.expand_dims(column, -1)
                terms.append(tf.reshape(spread, (-1, *x.shape[1:-1], self.channels)))
        return tf.add_n(terms)

    def _for_channels(self, column: Any) -> Any:
        """Repeats the weights of the edges for their channels."""
        if self.edges == 1:
            return tf.broadcast_to(column, (self.channels,))
        spread = tf.broadcast_to(tf.expand_dims(column, -1), (self.edges, self.channels // self.edges))
        return tf.reshape(spread, (-1,))

    def compute_output_shape(self, candidates_shape: Sequence[Shape], weights_shape: Shape) -> Shape:
        """The shape of the largest candidate."""
        return (*candidates_shape[0][:-1], max(shape[-1] or 0 for shape in candidates_shape))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {"standardised": self.standardised, "edges": self.edges}


@keras.saving.register_keras_serializable("tfmedcai")
class GroupedProjection(keras.layers.Layer):
    """Applies a linear map of its own to each group of channels: the convolutions 1x1 of several edges at once.

    Weights start as those of a single convolution would, whatever the number of groups.

    Args:
        filters: output channels of all groups together.
        groups: number of groups; TensorFlow's own grouped convolution has no fast kernel on a CPU.

    >>> GroupedProjection(6, groups=2)(tf.ones((1, 8, 8, 4))).shape
    TensorShape([1, 8, 8, 6])
    """

    def __init__(self, filters: int, groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.groups = filters, groups

    def build(self, shape: Shape) -> None:
        """Makes one matrix for each group.

        Raises:
            ValueError: if the channels cannot be split into the groups.
        """
        if (shape[-1] or 1) % self.groups or self.filters % self.groups:
            raise ValueError(
                f"`filters` and the channels of the input must be multiples of {self.groups} groups. "
                f"Received {self.filters} and {shape[-1]}."
            )
        inputs = (shape[-1] or 0) // self.groups
        limit = inputs**-0.5
        start = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight((self.groups, inputs, self.filters // self.groups), start, name="kernel")

    def call(self, x: Any) -> Any:
        """Maps `(batch, ..., channels)` to `(batch, ..., filters)`."""
        rows = tf.reshape(x, (-1, x.shape[-1]))
        kernels = tf.unstack(tf.convert_to_tensor(self.kernel))
        parts = tf.split(rows, self.groups, axis=-1)
        made = tf.concat([tf.matmul(part, kernel) for part, kernel in zip(parts, kernels, strict=True)], axis=-1)
        return tf.reshape(made, (-1, *x.shape[1:-1], self.filters))

    def compute_output_shape(self, shape: Shape) -> Shape:
        """The input's with other channels."""
        return (*shape[:-1], self.filters)

    def multiply_accumulates(self, positions: int) -> int:
        """Counts the multiply-accumulates for so many positions of a sample."""
        return positions * self.filters * (self.kernel.shape[1] or 0)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return super().get_config() | {"filters": self.filters, "groups": self.groups}
