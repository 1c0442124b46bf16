"""Settings of the registration of a CT to X-ray images: levels, solvers, starts; and which files a case is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from tfmedcai.config.table import Table

Three = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class LevelSettings(Table):
    """How coarse a solver sees the case."""

    size: PositiveInt = Field(default=128, ge=16, description="longer side that images are shrunk to [px]")
    voxel_mm: PositiveFloat = Field(default=3.0, description="voxels that the volume is resampled to [mm]")
    patch_px: PositiveInt = Field(
        default=4, description="patch_gradient_ncc: radius of a patch [px] (xReg: 41 of 1536 px, 5 of 192)"
    )


class CmaEsSettings(LevelSettings):
    """Stage cma_es: a population of poses, evolved (xReg's first level; the paper has 300 poses, 45 deg, 200 mm)."""

    size: PositiveInt = Field(
        default=48, ge=16, description="longer side that images are shrunk to [px] (xReg: 1/8 of 1536)"
    )
    voxel_mm: PositiveFloat = Field(default=6.0, description="voxels that the volume is resampled to [mm]")
    patch_px: PositiveInt = Field(
        default=3, description="patch_gradient_ncc: radius of a patch [px] (xReg: 41 of 1536 px, 5 of 192)"
    )
    population: PositiveInt = Field(default=50, ge=4, description="poses of a generation (xReg 100, the paper 300)")
    generations: PositiveInt = Field(default=30, description="most generations")
    spread_deg: Three = Field(
        default=(15.0, 15.0, 30.0), description="deviation at the start about x, y, z [deg] (xReg; the paper 45)"
    )
    spread_mm: Three = Field(
        default=(50.0, 50.0, 100.0), description="deviation at the start along x, y, z [mm] (xReg; the paper 200)"
    )
    tolerance: PositiveFloat = Field(
        default=0.01, description="part of the spread, and of the cost, below which changes end the search (xReg)"
    )
    penalty: float = Field(default=0.1, ge=0, lt=1, description="share of being far from the start in the cost (xReg)")
    penalty_deg: Three = Field(default=(15.0, 15.0, 10.0), description="its deviation about x, y, z [deg] (xReg)")
    penalty_mm: Three = Field(default=(30.0, 30.0, 150.0), description="its deviation along x, y, z [mm] (xReg)")
    answer: Literal["mean", "best"] = Field(
        default="mean", description="the middle of the last generation (xReg), or the best pose seen"
    )


class PolishSettings(LevelSettings):
    """Stage polish: a bounded search without derivatives (xReg's second level)."""

    reach_deg: Three = Field(default=(2.5, 2.5, 2.5), description="farthest from the start about x, y, z [deg] (xReg)")
    reach_mm: Three = Field(default=(5.0, 5.0, 10.0), description="farthest from the start along x, y, z [mm] (xReg)")
    evaluations: PositiveInt = Field(default=60, ge=14, description="most images that are rendered")


class SimilaritySettings(Table):
    """Stage similarity: gradient descent on what a network has learned."""

    rule: Literal["momentum", "adam"] = Field(default="momentum", description="how a step follows from the gradient")
    rate: PositiveFloat = Field(
        default=0.01, description="length of a step at the start (the paper 0.1, its program 0.01, 0.002)"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="part of the last step that is kept")
    halve_every: PositiveInt = Field(default=15, description="steps after which the rate is halved (the paper)")
    steps: PositiveInt = Field(default=60, description="most steps (its program 500)")
    plateau: NonNegativeFloat = Field(
        default=3e-3, description="deviation of the last 10 costs that ends it (its program 1e-4; similarity 3e-3)"
    )
    scale_mm: PositiveFloat = Field(default=150.0, description="mm that weigh as much as 1 rad (its program 149.25)")

    def descent(self) -> dict[str, Any]:
        """Returns the arguments of `inference.pose_descent.descend`, without those of a level."""
        return self.model_dump(include=set(SimilaritySettings.model_fields))


class DescentSettings(LevelSettings, SimilaritySettings):
    """Stage descent: gradient descent on how unlike images are."""

    size: PositiveInt = Field(default=96, ge=16, description="longer side that images are shrunk to [px]")
    rate: PositiveFloat = Field(default=0.002, description="length of a step at the start (the paper 0.1)")
    halve_every: PositiveInt = Field(default=20, description="steps after which the rate is halved (the paper 15)")
    steps: PositiveInt = Field(default=40, description="most steps (its program 500)")
    plateau: NonNegativeFloat = Field(default=3e-5, description="deviation of the last 10 costs that ends it")


class RegisterSettings(Table):
    """How a CT is registered to X-ray images."""

    structures: tuple[PositiveInt, ...] = Field(
        default=(), description="labels of what is registered, a bone, say; (): all labels of the label volume"
    )
    masked: bool = Field(default=True, description="blank the CT outside of the structures")
    cropped_px: NonNegativeInt = Field(default=0, description="border of X-ray images to leave out [px] (xReg: 50)")
    starts_deg: Three = Field(default=(15.0, 15.0, 15.0), description="deviation of further starts about x, y, z [deg]")
    starts_mm: Three = Field(default=(25.0, 25.0, 60.0), description="deviation of further starts along x, y, z [mm]")
    frames: NonNegativeInt = Field(default=24, description="pictures of the animation; 0: none")
    points: PositiveInt = Field(default=200, description="places in the structures to measure errors at")
    cma_es: CmaEsSettings = CmaEsSettings()
    polish: PolishSettings = PolishSettings()
    descent: DescentSettings = DescentSettings()
    similarity: SimilaritySettings = SimilaritySettings()


@dataclass(frozen=True)
class CaseFiles:
    """What one case is made of."""

    ct: Path | None = None
    """NIfTI file, folder of a DICOM series, or one file of a series where the folder has several"""
    labels: Path | None = None
    """NIfTI file of labels on the grid of the CT"""
    xray: tuple[Path, ...] = ()
    """X-ray images, one for each view (PNG, 16-bit PNG, TIFF, NIfTI, NumPy, DICOM)"""
    camera: tuple[Path, ...] = ()
    """JSON files, one for all views or one for each; none: the headers of DICOM images"""
    view_pose: tuple[Path, ...] = ()
    """JSON files, where the C-arm of the second view stood in the frame of the first one's, and so on"""
    mask: tuple[Path, ...] = ()
    """pictures, one for each view: where 0, a pixel does not count"""
    inverted: Literal["auto", "yes", "no"] = "auto"
    """whether bone is dark in the X-ray images, as a detector counts photons"""
    start: str = "ap"
    """ap or pa, a JSON file with a pose, or a CSV file with landmarks: x_mm, y_mm, z_mm (right, front, head, as in the
    CT's file) and u_px, v_px in the first image"""
    truth: Path | None = None
    """JSON file with the true pose, to measure errors"""
