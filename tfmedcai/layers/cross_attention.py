"""Attention of tokens to tokens: blocks of a transformer, and class tokens that look at another scale."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from tfmedcai.layers.tokens import token_normalisation

Tensor = keras.KerasTensor


@dataclass(frozen=True)
class AttentionSizes:
    """Sizes that all attention of a network shares."""

    heads: int = 4
    head_size: int = 64  # numbers that a head compares
    hidden: int = 256  # units of the layer between attentions
    dropout: float = 0.1  # of attention, units and results


def attention(x: Tensor, context: Tensor, sizes: AttentionSizes, name: str) -> Tensor:
    """Gives each token the mean of the context's values, weighted by how well its query fits their keys.

    Args:
        x: `(batch, tokens, size)`.
        context: `(batch, others, size)`.
        sizes: heads and dropout.
        name: what the names of the layers begin with.

    Returns:
        Tensor of the shape of `x`.

    Reference:
        Vaswani et al., Attention is all you need, NIPS 2017.

    >>> attention(keras.Input((1, 16)), keras.Input((65, 16)), AttentionSizes(), "attention").shape
    (None, 1, 16)
    """
    parts = {}
    for part, source in (("query", x), ("key", context), ("value", context)):
        made = layers.Dense(sizes.heads * sizes.head_size, use_bias=False, name=f"{name}_{part}")(source)
        parts[part] = layers.Reshape((-1, sizes.heads, sizes.head_size), name=f"{name}_{part}_heads")(made)
    fit = ops.einsum("bnhd,bmhd->bhnm", parts["query"], parts["key"]) * sizes.head_size**-0.5
    weights = layers.Dropout(sizes.dropout, name=f"{name}_weights")(layers.Softmax(name=f"{name}_softmax")(fit))
    means = ops.einsum("bhnm,bmhd->bnhd", weights, parts["value"])
    means = layers.Reshape((-1, sizes.heads * sizes.head_size), name=f"{name}_means")(means)
    out = layers.Dense(x.shape[-1], name=f"{name}_out")(means)
    return layers.Dropout(sizes.dropout, name=f"{name}_dropout")(out)


def transformer(x: Tensor, depth: int, sizes: AttentionSizes, name: str) -> Tensor:
    """Applies blocks of attention of all tokens to each other and two dense layers, then normalises.

    Both add to the tokens what they make of the normalised ones.

    Args:
        x: `(batch, tokens, size)`.
        depth: number of blocks.
        sizes: heads, hidden units and dropout.
        name: what the names of the layers begin with.

    Returns:
        Tensor of the same shape.
    """
    for number in range(1, depth + 1):
        block = f"{name}_{number}"
        normal = token_normalisation(x, f"{block}_attention_norm")
        x = layers.Add(name=f"{block}_attended")([x, attention(normal, normal, sizes, f"{block}_attention")])
        made = token_normalisation(x, f"{block}_hidden_norm")
        made = layers.Dense(sizes.hidden, activation="gelu", name=f"{block}_hidden")(made)
        made = layers.Dropout(sizes.dropout, name=f"{block}_hidden_dropout")(made)
        made = layers.Dense(x.shape[-1], name=f"{block}_out")(made)
        made = layers.Dropout(sizes.dropout, name=f"{block}_out_dropout")(made)
        x = layers.Add(name=f"{block}_sum")([x, made])
    return token_normalisation(x, f"{name}_norm")


def crossed(token: Tensor, others: Tensor, sizes: AttentionSizes, name: str) -> Tensor:
    """Adds to a class token what it finds among the tokens of another scale, itself included.

    Args:
        token: `(batch, 1, size)`.
        others: `(batch, others, size of the other scale)`.
        sizes: heads and dropout.
        name: what the names of the layers begin with.

    Returns:
        Tensor of the shape of `token`.

    Reference:
        Chen et al., CrossViT: cross-attention multi-scale vision transformer for image classification, ICCV 2021.

    >>> crossed(keras.Input((1, 16)), keras.Input((4, 64)), AttentionSizes(), "cross").shape
    (None, 1, 16)
    """
    size, other = token.shape[-1], others.shape[-1]
    made = token if size == other else layers.Dense(other, name=f"{name}_in")(token)
    made = token_normalisation(made, f"{name}_norm")
    context = layers.Concatenate(axis=1, name=f"{name}_context")([made, others])
    made = attention(made, context, sizes, f"{name}_attention")
    made = made if size == other else layers.Dense(size, name=f"{name}_out")(made)
    return layers.Add(name=f"{name}_sum")([token, made])
