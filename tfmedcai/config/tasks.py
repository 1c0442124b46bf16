"""Tables of the tasks: data, augmentation, what is measured."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tfmedcai.config.networks import VolumeNetSettings
from tfmedcai.config.searches import Fit
from tfmedcai.config.table import Table

Instrument = Literal["screw", "guide_wire", "drill", "robot"]


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


class RandomisationSettings(Table):
    """Random changes of target images (ProST, section II-D)."""

    probability: float = Field(default=0.5, ge=0, le=1, description="of inversion, noise, gamma and boxes, each")
    noise: tuple[float, float] = Field(
        default=(0.005, 0.1), description="least and most deviation of noise [range]; the code has 0.005 to 0.01"
    )
    gamma: tuple[PositiveFloat, PositiveFloat] = Field(default=(0.7, 1.3), description="least and most exponent")
    boxes: tuple[PositiveInt, PositiveInt] = Field(default=(1, 5), description="fewest and most noisy boxes")


class RegistrationSettings(Table):
    """Data and protocol of the registration of a CT to an X-ray image; numbers are those of the ProST paper."""

    dataset: Literal["simulated", "ct"] = Field(
        default="simulated", description="simulated pelves, or CTs and their random variations"
    )
    ct: tuple[Path, ...] = Field(
        default=(), description="dataset ct: NIfTI file or folder of a DICOM series of each patient"
    )
    segmentation: tuple[Path, ...] = Field(default=(), description="dataset ct: labels on the grid of each CT")
    labels: tuple[PositiveInt, ...] = Field(default=(), description="labels of the bones that are registered; (): all")
    subjects: PositiveInt = Field(default=17, description="volumes that are learnt from, one in an epoch")
    held_back: PositiveInt = Field(default=2, description="other volumes that candidates are scored on")
    evaluation_subjects: PositiveInt = Field(default=3, description="other volumes that networks are evaluated on")
    size: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(128, 128, 128), description="depth, height and width of a volume [voxels]"
    )
    spacing_mm: PositiveFloat = Field(default=2.33, description="size of its voxels [mm]")
    moving: Literal["segmented", "full"] = Field(
        default="segmented", description="what of the CT the network sees: labelled bones or everything"
    )
    target: Literal["segmented", "full"] = Field(
        default="segmented", description="what of the CT the simulated X-ray images show"
    )
    image_size: tuple[PositiveInt, PositiveInt] = Field(
        default=(128, 128), description="height and width of the images [px]"
    )
    pixel_mm: PositiveFloat = Field(default=2.176, description="pitch of the detector; the code has 2.92 [mm]")
    source_detector_mm: PositiveFloat = Field(default=1020.0, description="distance of the detector [mm]")
    source_isocentre_mm: PositiveFloat = Field(
        default=800.0, description="distance of the isocentre from the source; the code has 620 [mm]"
    )
    target_deg: float = Field(default=15.0, ge=0, description="most rotation of targets, uniform [deg]")
    target_mm: float = Field(default=25.0, ge=0, description="most translation of targets, uniform [mm]")
    moving_deg: float = Field(default=25.0, ge=0, description="deviation of rotations that are moved from [deg]")
    moving_mm: tuple[float, float, float] = Field(
        default=(25.0, 25.0, 60.0), description="deviation of translations: right, down, depth [mm]"
    )
    normaliser_mm: PositiveFloat = Field(
        default=298.0,
        description="translation that weighs as much as 1 rad: depth of the volume, the code has half [mm]",
    )
    randomisation: RandomisationSettings = RandomisationSettings()
    loss: Literal["journal", "miccai", "mse"] = Field(
        default="journal", description="of gradients: geodesic, of directions alone (MICCAI 2020), or squared error"
    )
    steps: PositiveInt = Field(default=50, description="batches in an epoch")
    volume_net: VolumeNetSettings = VolumeNetSettings()
    regression: Fit = Field(
        default=Fit(learning_rate=1e-4, momentum=0.8, batch_size=16), description="fit of DeepIM and DMW"
    )
    magnitudes: tuple[PositiveFloat, ...] = Field(
        default=(10.0, 20.0, 40.0), description="how far from the truth evaluated registrations start [deg and mm]"
    )
    evaluation_cases: PositiveInt = Field(default=10, description="registrations from each of these distances")
    beside: tuple[Literal["cma_es", "descent"], ...] = Field(
        default=("cma_es", "descent"), description="methods without a network that are evaluated on the same cases"
    )
    points: PositiveInt = Field(default=200, description="places in the bones to measure errors at")
