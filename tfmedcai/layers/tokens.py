"""Images as sequences of tokens, one for each patch, for transformers that are differentiated twice."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = keras.KerasTensor


@keras.saving.register_keras_serializable("tfmedcai")
class TokenNormalisation(layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, with right second derivatives.

    TensorFlow's moments, which Keras's layer takes, hold the mean constant in the gradient of the variance. The first
    derivative is the same, the second one is not: for five numbers a token it is wrong by a tenth.

    Input: `(..., size)`.

    >>> TokenNormalisation()(ops.convert_to_tensor([[1.0, 3.0]])).numpy().round(2).tolist()
    [[-1.0, 1.0]]
    """

    def call(self, inputs: Any) -> Any:
        """Normalises; see `keras.layers.LayerNormalization`."""
        centred = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta


def token_normalisation(x: Tensor, name: str) -> Tensor:
    """Standardises every token for itself.

    Args:
        x: `(batch, tokens, size)`.
        name: name of the layer.

    Returns:
        Tensor of the same shape.
    """
    return TokenNormalisation(epsilon=1e-5, name=name)(x)


@keras.saving.register_keras_serializable("tfmedcai")
class ClassToken(layers.Layer):
    """Puts a learned token before all others and adds a learned vector to every place.

    Input: `(batch, tokens, size)`. Output: `(batch, tokens + 1, size)`.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the token and the vectors of the places, drawn from the standard normal distribution."""
        _, tokens, size = input_shape
        self.token = self._drawn("token", (1, 1, size))
        self.places = self._drawn("places", (1, tokens + 1, size))

    def _drawn(self, name: str, shape: tuple[int, ...]) -> keras.Variable:
        return self.add_weight(name=name, shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0))

    def call(self, inputs: Any) -> Any:
        """Prepends and adds."""
        token = ops.broadcast_to(self.token, (ops.shape(inputs)[0], *self.token.shape[1:]))
        return ops.concatenate([token, inputs], axis=1) + self.places

    def multiply_accumulates(self, positions: int) -> int:
        """Returns 0: nothing is multiplied."""
        return 0


def patch_tokens(image: Tensor, patch: int, size: int, dropout: float, name: str) -> Tensor:
    """Turns each patch of an image into a token and puts a class token before them.

    Args:
        image: `(batch, height, width, channels)`, sizes multiples of the patch.
        patch: edge of a patch [px].
        size: numbers in a token.
        dropout: rate of the dropout behind.
        name: what the names of the layers begin with.

    Returns:
        `(batch, 1 + patches, size)`.

    Raises:
        ValueError: if the patches do not fill the image.

    Reference:
        Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021.

    >>> patch_tokens(keras.Input((32, 16, 2)), patch=8, size=6, dropout=0.1, name="tokens").shape
    (None, 9, 6)
    """
    _, height, width, channels = image.shape
    if height % patch or width % patch:
        raise ValueError(
            f"The sizes of an image must be multiples of its patches of {patch} px. Received {height} x {width} px."
        )
    rows, columns = height // patch, width // patch
    x = layers.Reshape((rows, patch, columns, patch, channels), name=f"{name}_cut")(image)
    x = layers.Permute((1, 3, 2, 4, 5), name=f"{name}_order")(x)
    x = layers.Reshape((rows * columns, patch * patch * channels), name=f"{name}_patches")(x)
    x = token_normalisation(x, f"{name}_patches_norm")
    x = token_normalisation(layers.Dense(size, name=f"{name}_embed")(x), f"{name}_embed_norm")
    return layers.Dropout(dropout, name=f"{name}_dropout")(ClassToken(name=f"{name}_class")(x))
