"""The settings of a run: typed, validated before TensorFlow is imported, read from TOML."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from tfmedcai import presets, registry

NO_BASELINE = "none"
RELAXING_ORACLE = "supernet"
Instrument = Literal["screw", "guide_wire", "drill", "robot"]


class Table(BaseModel):
    """A table of settings: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PoseSettings(Table):
    """Data and protocol of instrument pose estimation in X-ray images."""

    dataset: Literal["simulated", "i3posnet"] = Field(default="simulated", description="where the images come from")
    folder: Path | None = Field(
        default=None, description="folder of the published i3PosNet dataset (dataset = i3posnet)"
    )
    invert: bool = Field(
        default=False, description="invert intensities of a dataset on disk (metal bright to metal dark)"
    )
    instrument: Instrument = Field(default="screw", description="instrument whose pose is estimated")
    images: PositiveInt = Field(
        default=1000, description="images for training, validation and model selection together"
    )
    evaluation_images: PositiveInt = Field(default=100, description="unseen images, of subjects never trained on")
    image_size: tuple[PositiveInt, PositiveInt] = Field(
        default=(512, 512), description="height and width of an image [px]"
    )
    pixel_mm: PositiveFloat = Field(default=0.235, description="pixel pitch of the simulated detector [mm]")
    resolution: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(0.12, 0.18), description="least and most that a pixel shows at the instrument's depth [mm/px]"
    )
    domain_randomisation: float = Field(default=0.3, ge=0, le=1, description="strength of random changes in appearance")
    augmentation: PositiveInt = Field(
        default=20, description="patches cut from each training image (static augmentation)"
    )
    draws: PositiveInt = Field(default=10, description="disturbed start poses for each evaluation image")
    iterations: tuple[PositiveInt, ...] = Field(
        default=(1, 3), description="iterations of crop, network and pose to report"
    )


class AugmentationSettings(Table):
    """Random changes of images and labels together (MB-NAS, section 2.3)."""

    scale: tuple[PositiveFloat, PositiveFloat] = Field(default=(0.85, 1.15), description="least and most factor")
    shift: float = Field(default=0.1, ge=0, lt=1, description="most movement, as a part of the size")
    rotate_deg: float = Field(default=15.0, ge=0, le=180, description="most rotation, in the plane [deg]")
    flip: tuple[Literal["x", "y", "z"], ...] = Field(
        default=("x",), description="axes along which half of the samples are flipped; x is left to right"
    )
    quarter_turns: bool = Field(default=False, description="turn by 0, 90, 180 or 270 deg; patches must be square")
    brightness: float = Field(default=0.1, ge=0, description="most that is added [standard deviations]")
    contrast: tuple[PositiveFloat, PositiveFloat] = Field(default=(1.0, 1.0), description="least and most factor")


class SegmentationSettings(Table):
    """Data and protocol of the segmentation of volumes, slice by slice or patch by patch."""

    dataset: Literal["simulated", "decathlon", "nih_pancreas", "patient_folders", "plain_folder"] = Field(
        default="simulated", description="layout of the data set, or simulated organs"
    )
    folder: Path | None = Field(default=None, description="folder of a data set on disk")
    images: tuple[str, ...] = Field(default=(), description="patient_folders: name of the file of each modality")
    label: str = Field(default="label", description="patient_folders: name of the file of the labels")
    patient: str = Field(
        default="",
        description="regular expression: its group is the patient in the name of a case; empty: each its own",
    )
    modality: Literal["ct", "mr"] = Field(default="ct", description="what the simulator makes")
    cases: PositiveInt = Field(default=20, description="volumes that the simulator makes")
    structures: dict[str, tuple[PositiveInt, ...]] = Field(
        default={"liver": (2,)}, description="name of each structure and the labels that make it up"
    )
    patch: tuple[PositiveInt, ...] = Field(
        default=(128, 128), description="slices of x, y, or patches of x, y, z, that the network sees [voxels]"
    )
    spacing: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0), description="voxels are resampled to this size; 0 keeps an axis [mm]"
    )
    resized: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = Field(
        default=(0, 0, 0), description="volumes are resampled to so many voxels; 0 keeps an axis"
    )
    window: tuple[float, float] | None = Field(default=None, description="grey values are cut off here, as HU of CT")
    inside_patient: bool = Field(
        default=False,
        description="normalise only the voxels that differ from the corners of the volume (cut-out patients)",
    )
    foreground: float = Field(default=0.33, ge=0, le=1, description="part of the samples centred on a structure")
    per_volume: PositiveInt = Field(default=8, description="patches of each volume in an epoch (of slices: all)")
    augmentation: AugmentationSettings = AugmentationSettings()
    loss: Literal["dice", "cross_entropy", "dice_cross_entropy"] = Field(default="dice", description="training loss")
    folds: int = Field(default=5, ge=2, description="parts of the patients; seed s evaluates on part s")
    search_folds: PositiveInt = Field(default=4, description="folds among the other patients that a score averages")
    initialisations: PositiveInt = Field(default=3, description="trainings of each of those folds")
    tolerance_mm: PositiveFloat = Field(default=2.0, description="distance that the surface Dice forgives [mm]")
    overlap: float = Field(default=0.5, ge=0, lt=1, description="part of a window that the next one covers again")

    def labels(self) -> dict[int, int]:
        """Returns which class each label of the files is: 1 for those of the first structure, and so on."""
        classes = enumerate(self.structures.values(), start=1)
        return {label: number for number, labels in classes for label in labels}

    def outputs(self) -> int:
        """Returns the number of logits of a voxel: one for a single structure, else one more than structures."""
        return 1 if len(self.structures) == 1 else 1 + len(self.structures)


class FrameAugmentationSettings(Table):
    """Random changes of frames, masks and joints together (CSL, section 3)."""

    rotate_deg: float = Field(default=5.0, ge=0, le=180, description="most rotation [deg]")
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.2), description="least and most factor, before a part of the size is cut out"
    )
    gamma: tuple[PositiveFloat, PositiveFloat] = Field(default=(0.9, 1.1), description="least and most exponent")
    colour: tuple[PositiveFloat, PositiveFloat] = Field(default=(0.8, 1.2), description="factor of each colour")
    flip: bool = Field(default=False, description="flip half of the frames left to right")


class TrackingSettings(Table):
    """Data and protocol of the tracking of instruments in video."""

    dataset: Literal["simulated", "retinal", "laparoscopy", "endovis", "plain"] = Field(
        default="simulated", description="layout of the data set, or simulated video"
    )
    folder: Path | None = Field(default=None, description="folder of a data set on disk")
    place: Literal["retina", "abdomen"] = Field(default="retina", description="what the simulator shows")
    sequences: PositiveInt = Field(default=6, description="videos that the simulator makes")
    frames: PositiveInt = Field(default=60, description="frames of each of them")
    step: PositiveInt = Field(default=5, description="simulated frames between two that are kept")
    size: tuple[PositiveInt, PositiveInt] = Field(
        default=(480, 480), description="height and width that frames are brought to for the network [px]"
    )
    joints: tuple[str, ...] = Field(default=("tip_1", "tip_2", "joint"), min_length=1, description="what is tracked")
    mirrored: tuple[tuple[str, str], ...] = Field(
        default=(), description="joints that change names in a mirror image, the left and the right instrument's, say"
    )
    structures: dict[str, tuple[PositiveInt, ...]] = Field(
        default={"instrument": (1, 2)},
        description="name of each class and the labels that make it up (drawn masks: 1 shaft, 2 jaws); {}: no classes",
    )
    shaft_px: float = Field(
        default=0.0, ge=0, description="width of a shaft, where masks are made from joints; 0: none"
    )
    jaw_px: float = Field(default=0.0, ge=0, description="width of a jaw, where masks are made from joints; 0: none")
    sigma: PositiveFloat = Field(default=5.0, description="standard deviation of a heatmap [px of the map]")
    stride: Literal[1, 2] = Field(default=2, description="px of the image in one of the maps")
    heatmap_weight: PositiveFloat = Field(default=1.0, description="lambda_H, of heatmaps against classes")
    point_weight: PositiveFloat = Field(default=1.0, description="lambda_L, of coordinates against classes")
    augmentation: FrameAugmentationSettings = FrameAugmentationSettings()
    split: Literal["half", "sequence", "group"] = Field(
        default="half",
        description="evaluated on: the second half of every sequence, or for seed s the s-th sequence or surgery",
    )
    held_back: float = Field(
        default=0.25, gt=0, lt=1, description="last part of each sequence that the search scores candidates on"
    )
    confidence: float = Field(default=0.25, ge=0, le=1, description="below this a joint counts as not there")
    threshold_px: PositiveFloat = Field(
        default=20.0, description="distance of the threshold score, in a frame of 480 px height [px]"
    )
    kbb_alpha: PositiveFloat = Field(default=0.15, description="distance of the KBB score, in sizes of the instrument")
    kbb_size: Literal["joints", "mask"] = Field(
        default="joints", description="whose box is the size of the instrument in the KBB score"
    )

    def labels(self) -> dict[int, int]:
        """Returns which class each label of a mask is: 1 for those of the first structure, and so on."""
        classes = enumerate(self.structures.values(), start=1)
        return {label: number for number, labels in classes for label in labels}

    def classes(self) -> int:
        """Returns the number of logits of a pixel: one more than structures, or none without any."""
        return 1 + len(self.structures) if self.structures else 0

    def swaps(self) -> tuple[tuple[int, int], ...]:
        """Returns the pairs of `mirrored` as places in `joints`."""
        return tuple((self.joints.index(a), self.joints.index(b)) for a, b in self.mirrored)

    @model_validator(mode="after")
    def _known_joints(self) -> Self:
        unknown = {name for pair in self.mirrored for name in pair} - set(self.joints)
        if unknown or len(set(self.joints)) < len(self.joints):
            raise ValueError(
                f"`joints` must be names, each once, and `mirrored` some of them; got {self.joints} and {self.mirrored}"
            )
        return self


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

    def size(self, *, search: bool) -> dict[str, Any]:
        """Returns `filters`, the same while searching and at full size."""
        return self.model_dump()


class Fit(Table):
    """How a network is fitted."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = Field(default="adam", description="optimiser")
    learning_rate: PositiveFloat = Field(default=1e-3, description="learning rate at the start")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd: part of the last step that is kept")
    weight_decay: NonNegativeFloat = Field(default=0.0, description="sgd: factor of the weights in their gradient")
    schedule: Literal["constant", "cosine", "step", "polynomial"] = Field(
        default="cosine", description="course of the learning rate"
    )
    decay_power: PositiveFloat = Field(default=0.9, description="polynomial schedule: exponent of what is left")
    decay_epochs: PositiveInt = Field(
        default=35, description="step schedule: a tenth of the rate after so many [epochs]"
    )
    batch_size: PositiveInt = Field(default=64, description="patches in a batch")


class SearchFit(Fit):
    """How a candidate is fitted during the search."""

    epochs: PositiveInt = Field(default=20, description="epochs of a candidate")


class TrainingSettings(Fit):
    """How the found architecture is trained from scratch."""

    epochs: PositiveInt = Field(default=80, description="epochs of the found network and of those beside it")
    baselines: tuple[str, ...] | None = Field(
        default=None,
        description="what gets the same data and epochs: hand-made networks, presets (in the sizes of these settings), "
        "the search's baseline oracle; unset: the usual networks of the task",
    )


class SearchSettings(Table):
    """The budget of a search."""

    trials: PositiveInt = Field(default=100, description="architectures to score, for each oracle and seed")
    baseline: str = Field(default="random", description="oracle given the same budget, for comparison, or none")
    cost: Literal["parameters", "multiply_accumulates", "latency_ms"] = Field(
        default="parameters", description="second objective: measured of each candidate, Pareto front in the report"
    )
    max_failures: PositiveInt = Field(default=5, description="failed trials in a row that stop the search")
    fit: SearchFit = SearchFit()


class LatentSettings(Table):
    """The latent oracle: auto-encoder, value estimator, gradient ascent (AutoSNAP, sections 2.3 and 2.4)."""

    initial: PositiveInt = Field(default=100, description="random architectures scored first")
    per_round: PositiveInt = Field(default=100, description="architectures proposed after each fit of the auto-encoder")
    latent_size: PositiveInt = Field(default=16, description="dimensions of the latent space")
    lstm_units: PositiveInt = Field(default=64, description="units of each LSTM, a direction")
    fit_steps: PositiveInt = Field(default=2000, description="training steps of the auto-encoder in a round")
    batch_size: PositiveInt = Field(default=64, description="sequences in a training step")
    learning_rate: PositiveFloat = Field(default=1e-3, description="Adam's learning rate")
    ascent_steps: PositiveInt = Field(default=50, description="gradient steps before a random restart")
    step_size: PositiveFloat = Field(default=0.05, description="length of a step in the latent space")


class LocalSettings(Table):
    """The local search (MB-NAS, section 2.3)."""

    restarts: bool = Field(default=True, description="begin anew where nothing improves, until the budget ends")
    stage_trials: PositiveInt | None = Field(
        default=None, description="most architectures of one start in each stage but the last (bilevel); none: no limit"
    )


class SupernetSettings(Table):
    """The supernet oracle: weights and architecture parameters descended in turn (DARTS, V-NAS)."""

    epochs: PositiveInt = Field(default=50, description="epochs of the relaxed search")
    start_epoch: NonNegativeInt = Field(default=0, description="epochs of the weights alone, before both are descended")
    batch_size: PositiveInt = Field(
        default=64, description="samples in a batch, of the weights and of the architecture"
    )
    share: float = Field(
        default=0.5, gt=0, lt=1, description="part of the images that the weights learn from; of volumes folds decide"
    )
    second_order: bool = Field(default=False, description="look one step of the weights ahead; three times the work")
    learning_rate: PositiveFloat = Field(default=0.025, description="learning rate of the weights at the start")
    final_learning_rate: NonNegativeFloat = Field(default=0.001, description="and at the end")
    schedule: Literal["cosine", "poly"] = Field(default="cosine", description="its course; poly has the power 0.9")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of the weights")
    weight_decay: NonNegativeFloat = Field(default=3e-4, description="decay of the weights, added to their gradient")
    clip: NonNegativeFloat = Field(default=5.0, description="largest norm of the gradient of all weights; 0: any")
    architecture_rate: PositiveFloat = Field(default=3e-4, description="Adam's learning rate of the architecture")
    architecture_betas: tuple[float, float] = Field(default=(0.5, 0.999), description="Adam's decays of its moments")
    architecture_decay: NonNegativeFloat = Field(
        default=1e-3, description="decay of the architecture parameters, added to their gradient"
    )
    spread: NonNegativeFloat = Field(default=1e-3, description="deviation of the architecture parameters at the start")
    temperature: PositiveFloat = Field(default=1.0, description="divides the architecture parameters in the softmax")


class BayesianSettings(Table):
    """KerasTuner's Bayesian optimisation."""

    initial: PositiveInt = Field(default=20, description="random architectures scored first")


class HyperbandSettings(Table):
    """The Hyperband oracle."""

    max_epochs: PositiveInt = Field(default=20, description="epochs of the longest rung")
    factor: PositiveInt = Field(default=3, ge=2, description="reduction from rung to rung")


class Settings(Table):
    """All settings of a run. Every number is here; nothing is set by environment variables."""

    task: str = Field(default="pose", description="what is learnt (see --list)")
    space: str = Field(default="snap", description="set of architectures searched (see --list)")
    oracle: str = Field(default="latent", description="what proposes the next architecture (see --list)")
    seed: int = Field(default=0, ge=0, description="seed of data, weights and proposals")
    seeds: PositiveInt = Field(default=1, description="repetitions with seed, seed + 1, ...")
    pose: PoseSettings = PoseSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    tracking: TrackingSettings = TrackingSettings()
    snap: SnapSettings = SnapSettings()
    snapnet: SnapNetSettings = SnapNetSettings()
    mixed_block: MixedBlockSettings = MixedBlockSettings()
    mixed_block_net: MixedBlockNetSettings = MixedBlockNetSettings()
    unet: UNetSettings = UNetSettings()
    resunet: UNetSettings = UNetSettings()
    csl_decoder: CslDecoderSettings = CslDecoderSettings()
    csl_net: CslSettings = CslSettings()
    csl: CslSettings = CslSettings()
    csl_without_skips: CslSettings = CslSettings()
    sl: CslSettings = CslSettings()
    l_net: CslSettings = CslSettings()
    darts_net: DartsNetSettings = DartsNetSettings()
    volumetric_net: VolumetricNetSettings = VolumetricNetSettings()
    volumetric_mix: VolumetricNetSettings = VolumetricNetSettings()
    unet3d: UNet3DSettings = UNet3DSettings()
    vnet: VNetSettings = VNetSettings()
    search: SearchSettings = SearchSettings()
    latent: LatentSettings = LatentSettings()
    local: LocalSettings = LocalSettings()
    supernet: SupernetSettings = SupernetSettings()
    bayesian: BayesianSettings = BayesianSettings()
    hyperband: HyperbandSettings = HyperbandSettings()
    training: TrainingSettings = TrainingSettings()
    baseline: Fit = Field(default=Fit(), description="fit of the hand-made networks")

    def all_seeds(self) -> range:
        """Returns the seeds of the repetitions.

        >>> list(Settings(seed=3, seeds=2).all_seeds())
        [3, 4]
        """
        return range(self.seed, self.seed + self.seeds)

    def digest(self) -> str:
        """Returns eight hexadecimal digits that tell these settings from others."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def smoke(self) -> Self:
        """Returns the same settings at the smallest size that still goes the whole way."""
        small_csl = {"filters": 4, "search_filters": 4, "backbone": "vgg13", "weights": None}
        return self.updated(
            {
                "seeds": 1,
                "pose": {
                    "images": 10,
                    "evaluation_images": 2,
                    "image_size": (192, 192),
                    "augmentation": 2,
                    "draws": 2,
                    "iterations": (1, 2),
                },
                "segmentation": {
                    "cases": 4,
                    "patch": (32,) * len(self.segmentation.patch),
                    "per_volume": 2,
                    "search_folds": 2,
                    "initialisations": 1,
                    "folds": 2,
                },
                "snapnet": {"filters": 4, "blocks": (1, 1), "search_filters": 4, "search_blocks": (1, 1)},
                "mixed_block": {"nodes": 4, "deepest": 2},
                "mixed_block_net": {"filters": 4, "search_filters": 4},
                "unet": {"filters": 4, "depth": 2},
                "resunet": {"filters": 4, "depth": 2},
                "tracking": {"sequences": 2, "frames": 6, "size": (64, 64), "sigma": 2.0},
                "csl_net": small_csl,
                "csl": small_csl,
                "csl_without_skips": small_csl,
                "sl": small_csl,
                "l_net": small_csl,
                "darts_net": {"filters": 4, "cells": 2, "search_filters": 4, "search_cells": 2},
                "volumetric_net": {"filters": 4, "search_filters": 4},
                "volumetric_mix": {"filters": 4, "search_filters": 4},
                "unet3d": {"filters": 2},
                "vnet": {"filters": 2},
                "search": {"trials": 4, "fit": {"epochs": 1, "batch_size": 8}},
                "supernet": {"epochs": 2, "start_epoch": 1, "batch_size": 4},
                "latent": {"initial": 2, "per_round": 2, "lstm_units": 8, "fit_steps": 3},
                "bayesian": {"initial": 6},
                "hyperband": {"max_epochs": 3},
                "training": {"epochs": 1, "batch_size": 8},
            }
        )

    def updated(self, changes: dict[str, Any]) -> Self:
        """Returns these settings with the nested `changes`, validated again."""
        return type(self).model_validate(_merged(self, changes))


def _merged(table: Table, changes: dict[str, Any]) -> dict[str, Any]:
    """Nested tables are merged; any other value, also a mapping, is replaced as a whole."""
    values = table.model_dump()
    for key, value in changes.items():
        inner = getattr(table, key, None)
        values[key] = _merged(inner, value) if isinstance(inner, Table) and isinstance(value, dict) else value
    return values


def read_settings(path: Path) -> Settings:
    """Reads and validates a settings file.

    Args:
        path: a TOML file.

    Raises:
        ValueError: if the file is missing, is not TOML, has an unknown key or a value out of range; the message
            names the file, the key, what was expected and what came.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot read this settings file ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}.") from error
    try:
        settings = Settings.model_validate(values)
        check_names(settings)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return settings


def check_names(settings: Settings) -> None:
    """Checks that task, space, oracles and networks named in the settings are installed.

    Raises:
        ValueError: naming the unknown word, the known ones and the nearest; or if the oracle cannot search the space.
    """
    asked = [("tasks", settings.task), ("spaces", settings.space), ("oracles", settings.oracle)]
    asked += [("oracles", settings.search.baseline)]
    known = (settings.search.baseline, *presets.names())
    asked += [("networks", name) for name in settings.training.baselines or () if name not in known]
    for kind, name in asked:
        if name != NO_BASELINE:
            registry.check(kind, name)
    relaxed = registry.names("supernets")
    if RELAXING_ORACLE in (settings.oracle, settings.search.baseline) and settings.space not in relaxed:
        raise ValueError(
            f"the oracle `{RELAXING_ORACLE}` needs a space that has a supernet: {', '.join(relaxed)}. "
            f"Received `{settings.space}`."
        )


def explain(error: ValidationError) -> str:
    """Returns a validation error as one line: the first problem, with the nearest known key for an unknown one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        table: Any = Settings
        for part in first["loc"][:-1]:
            table = table.model_fields[part].annotation
        return f"unknown setting `{key}`.{registry.did_you_mean(str(first['loc'][-1]), table.model_fields)}"
    more = f" ({error.error_count() - 1} more like this)" if error.error_count() > 1 else ""
    return f"setting `{key}`: {first['msg']}. Received {first['input']!r}.{more}"
