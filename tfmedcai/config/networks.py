"""Tables of the search spaces and the networks: sizes."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from tfmedcai.config.table import Table


class SnapSettings(Table):
    """The SNAP language."""

    max_length: PositiveInt = Field(default=12, description="longest program [symbols]")
    underflow: Literal["noop", "reject"] = Field(default="noop", description="merge and switch on a stack of one")


class SnapNetSettings(Table):
    """The network made of one repeated SNAP block."""

    filters: PositiveInt = Field(default=24, description="features before the central pooling; twice as many behind it")
    blocks: tuple[PositiveInt, PositiveInt] = Field(default=(4, 4), description="blocks before and behind the pooling")
    search_filters: PositiveInt = Field(default=24, description="features before the pooling, while searching")
    search_blocks: tuple[PositiveInt, PositiveInt] = Field(default=(2, 2), description="blocks, while searching")
    head: Literal["grid", "average"] = Field(
        default="average", description="what the last, linear layer sees: averages of the whole map or of its cells"
    )

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters`, `blocks` and `head` of the network, while searching or at full size."""
        if search:
            return {"filters": self.search_filters, "blocks": self.search_blocks, "head": self.head}
        return {"filters": self.filters, "blocks": self.blocks, "head": self.head}


class MixedBlockSettings(Table):
    """The space of mixed-block networks (MB-NAS, sections 2.1 and 2.4)."""

    nodes: PositiveInt = Field(default=10, description="cells in a row")
    deepest: NonNegativeInt = Field(default=5, description="most halvings of the resolution")
    full_resolution: bool = Field(default=False, description="last cell at the resolution of the image, no upsampling")
    blocks: tuple[Literal["vgg", "residual", "dense", "inception"], ...] = Field(
        default=("vgg", "residual", "dense", "inception"), description="block families to choose from"
    )
    kernel_sizes: tuple[PositiveInt, ...] = Field(default=(3, 5, 7), description="odd kernel sizes to choose from [px]")
    variant: Literal["mixed", "macro", "micro", "bilevel"] = Field(
        default="mixed", description="all together, topology only, cells of U-Net only, or topology, then kernels"
    )


class MixedBlockNetSettings(Table):
    """The network of a mixed-block architecture."""

    filters: PositiveInt = Field(default=32, multiple_of=4, description="channels at full resolution")
    search_filters: PositiveInt = Field(default=32, multiple_of=4, description="the same, while searching")
    head: Literal["grid", "average"] = Field(
        default="average", description="what the last layer of a vector sees: averages of whole maps or of cells"
    )

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters` and `head` of the network, while searching or at full size."""
        return {"filters": self.search_filters if search else self.filters, "head": self.head}


class UNetSettings(Table):
    """U-Net and ResU-Net, the hand-made networks for segmentation."""

    filters: PositiveInt = Field(default=64, multiple_of=4, description="channels of the encoder's first stage")
    depth: PositiveInt = Field(default=5, le=5, description="halvings of the resolution")
    head: Literal["grid", "average"] = Field(
        default="average", description="what the last layer of a vector sees: averages of whole maps or of cells"
    )

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters`, `depth` and `head`, the same while searching and at full size."""
        return self.model_dump()


class CslDecoderSettings(Table):
    """The space of decoders of CSL."""

    widths: tuple[PositiveInt, ...] = Field(default=(50, 100, 200), description="channels of a doubling [%]")
    kernel_sizes: tuple[PositiveInt, ...] = Field(default=(3, 5), description="edges of its kernels [px]")


class CslSettings(Table):
    """CSL, SL and L: the encoder."""

    filters: PositiveInt = Field(default=64, description="channels of the first stage; all others grow with it")
    search_filters: PositiveInt = Field(default=64, description="the same, while searching")
    backbone: Literal["resnet50", "vgg13"] = Field(default="resnet50", description="encoder")
    weights: Path | None = Field(default=None, description="file of the published ResNet-50, for 64 filters")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters`, `backbone` and `weights`, while searching or at full size."""
        filters = self.search_filters if search else self.filters
        return {"filters": filters, "backbone": self.backbone, "weights": self.weights}


class DartsNetSettings(Table):
    """The network stacked from the two cells of a genotype."""

    filters: PositiveInt = Field(default=14, description="features of a node before the first reduction; even")
    cells: PositiveInt = Field(default=8, description="cells; those at a third and at two thirds reduce")
    search_filters: PositiveInt = Field(default=16, description="features, while searching and in the supernet")
    search_cells: PositiveInt = Field(default=8, description="cells, while searching and in the supernet")
    stem: Literal["cifar", "imagenet"] = Field(
        default="cifar", description="first layers: keep the resolution, or reduce it to an eighth"
    )
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="probability of leaving an operation out, at full size"
    )

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters`, `cells` and `stem`, and at full size `drop_path`."""
        if search:
            return {"filters": self.search_filters, "cells": self.search_cells, "stem": self.stem}
        return {"filters": self.filters, "cells": self.cells, "stem": self.stem, "drop_path": self.drop_path}


class VolumetricNetSettings(Table):
    """The network of a volumetric code, and the mean of its kernels (volumetric_mix)."""

    filters: PositiveInt = Field(default=64, ge=4, description="channels of the stem, which all others follow")
    search_filters: PositiveInt = Field(default=64, ge=4, description="the same, while searching and in the supernet")
    recompute: bool = Field(
        default=False, description="compute cells again for the gradient: less memory, a third more work"
    )

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters` of the network, while searching or at full size, and `recompute`."""
        return {"filters": self.search_filters if search else self.filters, "recompute": self.recompute}


class UNet3DSettings(Table):
    """3D U-Net, a hand-made network for the segmentation of volumes."""

    filters: PositiveInt = Field(default=32, description="channels of the first convolution")
    depth: PositiveInt = Field(default=3, description="halvings of the resolution")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters` and `depth`, the same while searching and at full size."""
        return self.model_dump()


class VNetSettings(Table):
    """V-Net, a hand-made network for the segmentation of volumes."""

    filters: PositiveInt = Field(default=16, description="channels of the first stage")
    normalised: bool = Field(default=False, description="batch normalisation, which the published network has not")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters` and `normalised`, the same while searching and at full size."""
        return self.model_dump()


class VolumeNetSettings(Table):
    """The network in front of the projector of a similarity (ProST, section II-B)."""

    filters: tuple[PositiveInt, ...] = Field(default=(4, 8, 16, 8), description="channels of all layers but the last")
    channels: PositiveInt = Field(default=3, description="channels of the last one; each is projected")


class ProstSettings(Table):
    """ProST's similarity: CrossViT; pairs are of the fine and of the coarse patches."""

    patches: tuple[PositiveInt, PositiveInt] = Field(default=(8, 64), description="edge of a patch [px]")
    tokens: tuple[PositiveInt, PositiveInt] = Field(default=(16, 64), description="numbers in a token")
    depths: tuple[PositiveInt, PositiveInt] = Field(default=(2, 3), description="blocks in a level")
    levels: PositiveInt = Field(default=3, description="blocks of both branches, then exchanges")
    exchanges: PositiveInt = Field(default=2, description="exchanges of class tokens in a level")
    logits: PositiveInt = Field(default=1000, description="values in front of the similarity")
    heads: PositiveInt = Field(default=4, description="heads of an attention")
    head_size: PositiveInt = Field(default=64, description="numbers that a head compares")
    hidden: PositiveInt = Field(default=256, description="units between attentions")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="of tokens, attention and units")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns all of them, the same while searching and at full size."""
        return self.model_dump()


class ProstMiccaiSettings(Table):
    """ProST's first similarity: two convolutional encoders."""

    filters: tuple[PositiveInt, ...] = Field(default=(16, 64, 128), description="channels at each resolution")
    features: PositiveInt = Field(default=64, description="channels of the maps that are compared")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns both, the same while searching and at full size."""
        return self.model_dump()


class DeepImSettings(Table):
    """DeepIM, which regresses steps of a pose."""

    filters: PositiveInt = Field(default=64, description="channels of the first convolution")
    units: PositiveInt = Field(default=256, description="units of the dense layers")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns both, the same while searching and at full size."""
        return self.model_dump()


class DmwSettings(Table):
    """DMW, which regresses the geodesic gradient."""

    filters: PositiveInt = Field(default=16, multiple_of=4, description="channels of the first dense block")
    blocks: PositiveInt = Field(default=4, description="dense blocks on each image")
    units: PositiveInt = Field(default=256, description="units of the dense layer")

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns all of them, the same while searching and at full size."""
        return self.model_dump()
