"""CrossViT: two vision transformers with patches of two sizes that exchange their class tokens."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from tfmedcai.layers.cross_attention import AttentionSizes, crossed, transformer
from tfmedcai.layers.tokens import patch_tokens, token_normalisation

Tensor = keras.KerasTensor

BRANCHES = ("fine", "coarse")


@dataclass(frozen=True)
class CrossVitSizes(AttentionSizes):
    """Sizes of a CrossViT, pairs for the branch of the fine and that of the coarse patches; the default is ProST's."""

    patches: tuple[int, int] = (8, 64)  # edge of a patch [px]
    tokens: tuple[int, int] = (16, 64)  # numbers in a token
    depths: tuple[int, int] = (2, 3)  # blocks in a level
    levels: int = 3  # blocks of both branches, then exchanges
    exchanges: int = 2  # of class tokens, in a level
    logits: int = 1000


def cross_vit(image: Tensor, sizes: CrossVitSizes) -> Tensor:
    """Makes logits of an image from patches of two sizes.

    Args:
        image: `(batch, height, width, channels)`, sizes multiples of both patches.
        sizes: of the network.

    Returns:
        `(batch, logits)`, the sum of the logits of both branches.

    Raises:
        ValueError: if a number is not positive, or the patches do not fill the image.

    Reference:
        Chen et al., CrossViT: cross-attention multi-scale vision transformer for image classification, ICCV 2021.

    >>> cross_vit(keras.Input((64, 64, 2)), CrossVitSizes(patches=(8, 32), logits=10, levels=1)).shape
    (None, 10)
    """
    _check(sizes)
    branches = [
        patch_tokens(image, patch, size, sizes.dropout, name)
        for patch, size, name in zip(sizes.patches, sizes.tokens, BRANCHES, strict=True)
    ]
    for level in range(1, sizes.levels + 1):
        branches = [
            transformer(x, depth, sizes, f"{name}_level_{level}")
            for x, depth, name in zip(branches, sizes.depths, BRANCHES, strict=True)
        ]
        branches = _exchanged(branches, sizes, f"level_{level}")
    logits = []
    for x, name in zip(branches, BRANCHES, strict=True):
        x = token_normalisation(x[:, 0], f"{name}_head_norm")
        logits.append(layers.Dense(sizes.logits, name=f"{name}_head")(x))
    return layers.Add(name="logits")(logits)


def _exchanged(branches: list[Tensor], sizes: CrossVitSizes, name: str) -> list[Tensor]:
    """Lets the class token of each branch look at the patches of the other, the fine one first."""
    fine, coarse = (x[:, :1] for x in branches)
    fine_patches, coarse_patches = (x[:, 1:] for x in branches)
    for number in range(1, sizes.exchanges + 1):
        fine = crossed(fine, coarse_patches, sizes, f"{name}_fine_{number}")
        coarse = crossed(coarse, fine_patches, sizes, f"{name}_coarse_{number}")
    return [
        layers.Concatenate(axis=1, name=f"{name}_{branch}")([token, patches])
        for branch, token, patches in zip(BRANCHES, (fine, coarse), (fine_patches, coarse_patches), strict=True)
    ]


def _check(sizes: CrossVitSizes) -> None:
    pairs = (*sizes.patches, *sizes.tokens, *sizes.depths)
    singles = (sizes.levels, sizes.exchanges, sizes.logits, sizes.heads, sizes.head_size, sizes.hidden)
    if min(*pairs, *singles) < 1:
        raise ValueError(f"All numbers of a CrossViT but `dropout` must be positive. Received {sizes}.")
