"""Reads X-ray images for registration: line integrals, bone bright, with camera and mask."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tfmedcai.data.bone_polarity import bone_brightness
from tfmedcai.data.c_arm import read_camera
from tfmedcai.data.files import write_whole
from tfmedcai.data.images import read_measured
from tfmedcai.data.volumes import SUFFIXES, read_slice
from tfmedcai.geometry.camera import Camera

# Of the open beam; what is darker counts as this.
DARKEST = 1e-4
# Of `bone_brightness`: below, it was wrong in one of five tries.
SURE = 0.2
_DICOM = (".dcm", ".dicom")


@dataclass(frozen=True, eq=False)
class Radiograph:
    """An X-ray image as registration compares it.

    Attributes:
        image: `(rows, columns)` float32, line integrals up to a factor: bone is bright.
        camera: that took it.
        mask: `(rows, columns)` bool, where the image is to be looked at; None for everywhere.
        name: for messages and file names.

    Raises:
        ValueError: if image, camera and mask differ in size.

    >>> camera = Camera.from_c_arm(1000.0, 0.5, (64, 96), source_isocentre_mm=600.0)
    >>> radiograph = Radiograph(np.zeros((64, 96), np.float32), camera).cropped(8).resized((24, 40))
    >>> radiograph.image.shape, radiograph.camera.pixel_mm, radiograph.camera.principal_point_px
    ((24, 40), (1.0, 1.0), (19.5, 11.5))
    """

    image: np.ndarray
    camera: Camera
    mask: np.ndarray | None = None
    name: str = "an image in memory"

    def __post_init__(self) -> None:
        size = tuple(self.camera.image_size)
        if self.image.shape != size:
            raise ValueError(
                f"{self.name}: the image must have the size {size} of its camera. Received {self.image.shape}: correct "
                "the camera, by `Camera.resized` where the whole detector was enlarged or shrunk."
            )
        if self.mask is not None and self.mask.shape != size:
            raise ValueError(f"{self.name}: the mask must have the size {size}. Received {self.mask.shape}.")

    def cropped(self, border_px: int) -> Radiograph:
        """Returns the image without the same number of px on all four sides.

        Raises:
            ValueError: if the number is negative, or nothing remains.
        """
        (height, width), (x, y) = self.camera.image_size, self.camera.principal_point_px
        if not 0 <= border_px < min(height, width) / 2:
            raise ValueError(
                f"{self.name}: what is cropped must leave some of {height} x {width} px. Received {border_px} px."
            )
        camera = replace(
            self.camera,
            image_size=(height - 2 * border_px, width - 2 * border_px),
            principal_point_px=(x - border_px, y - border_px),
        )
        inside = slice(border_px, height - border_px), slice(border_px, width - border_px)
        mask = None if self.mask is None else self.mask[inside]
        return replace(self, image=self.image[inside], camera=camera, mask=mask)

    def resized(self, size: tuple[int, int]) -> Radiograph:
        """Brings the image to another size: each new pixel is the mean of those that it covers.

        Args:
            size: (rows, columns).

        Returns:
            The radiograph. Its mask holds only pixels that lie in the mask as a whole.
        """
        mask = None if self.mask is None else _resized(self.mask, size) > 0.999
        return replace(self, image=_resized(self.image, size), camera=self.camera.resized(size), mask=mask)


def read_radiograph(
    path: str | Path,
    camera: Camera | None = None,
    *,
    mask: str | Path | np.ndarray | None = None,
    inverted: bool | None = None,
    cropped_px: int = 0,
) -> Radiograph:
    """Reads an X-ray image.

    Args:
        path: a .png, .tif, .tiff, .jpg, .jpeg, .bmp, .npy, .dcm or .dicom file (8 or 16 bit, or floats), or a .nii or
            .nii.gz file of one slice, see `read_slice`.
        camera: that took it; None for what the header of a DICOM image says.
        mask: where to look, `(rows, columns)` or a file of any of these kinds, not 0 inside; None for everywhere.
        inverted: whether bone is dark, see `line_integrals`; None to find out, with a warning of what was found.
        cropped_px: border to cut off, of a collimator say, before anything is measured.

    Returns:
        The `Radiograph`.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if a file is DICOM and pydicom is not installed.
        ValueError: if a file is damaged, the camera is missing, sizes differ, or nothing is in the mask.
    """
    path = Path(path)
    pixels = _pixels(path)
    if camera is None:
        if path.suffix.lower() not in _DICOM:
            raise ValueError(f"{path}: `camera` must be there, unless the image is DICOM. Received None.")
        camera = read_camera(path)
    if mask is not None:
        mask = (mask if isinstance(mask, np.ndarray) else _pixels(Path(mask))) != 0
    part = Radiograph(pixels, camera, mask, str(path)).cropped(cropped_px)
    return replace(part, image=line_integrals(part.image, part.mask, inverted, part.name))


def line_integrals(
    pixels: np.ndarray,
    mask: np.ndarray | None = None,
    inverted: bool | None = None,
    name: str = "the image",
) -> np.ndarray:
    """Makes bone bright.

    Args:
        pixels: `(rows, columns)` float.
        mask: `(rows, columns)` bool, where to measure; None for everywhere.
        inverted: True if bone is dark: pixels are taken for intensities I, and -log(I / I0) is returned, with the
            largest as I0 and what is darker than any pixel above 0, or than 1e-4 of I0, as that. False if bone is
            bright: pixels are taken for line integrals, and the least is made 0. None to find out by
            `bone_brightness`, with a warning of what was found.
        name: of the image, for messages.

    Returns:
        `(rows, columns)` float32, 0 or more.

    Raises:
        ValueError: if nothing is in the mask, or all pixels have one value.

    Reference:
        Gao et al., ProST, IEEE Transactions on Medical Imaging 43, 2024, as in its code: I0 is the maximum.

    >>> print(line_integrals(np.array([[1.0, 0.5], [0.25, 0.125]]), inverted=True).round(2))
    [[0.   0.69]
     [1.39 2.08]]
    """
    measured = pixels if mask is None else pixels[mask]
    if not measured.size or measured.min() == measured.max():
        raise ValueError(f"{name}: there must be pixels of several values, inside the mask. Received none.")
    if inverted is None:
        inverted = _found_inverted(pixels, mask, name)
    if not inverted:
        return np.maximum(pixels - measured.min(), 0).astype(np.float32)
    open_beam = measured.max()
    if open_beam <= 0:
        raise ValueError(f"{name}: intensities must be above 0. Received {open_beam:g} at most.")
    darkest = max(DARKEST * open_beam, measured[measured > 0].min())
    return -np.log(np.clip(pixels, darkest, open_beam) / open_beam).astype(np.float32) + 0.0


def write_radiograph(path: str | Path, image: np.ndarray) -> None:
    """Writes an image of line integrals as a PNG of 16 bit, whole or not at all.

    Args:
        path: ends in .png; folders are made.
        image: `(rows, columns)` float, 0 or more: 0 becomes black and the largest white.

    Raises:
        ValueError: if the ending is another, values are not finite or below 0, or the place cannot be written to.
    """
    path, image = Path(path), np.asarray(image, float)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: a radiograph must be written to a .png file. Received {path.suffix!r}.")
    if image.ndim != 2 or not np.isfinite(image).all() or image.min() < 0:
        raise ValueError(f"`image` must be (rows, columns) of finite numbers from 0 on. Received shape {image.shape}.")
    grey = np.round(image * (65535 / (image.max() or 1.0))).astype(np.uint16)
    write_whole(path, lambda temporary: Image.fromarray(grey).save(temporary))


def _found_inverted(pixels: np.ndarray, mask: np.ndarray | None, name: str) -> bool:
    brightness = bone_brightness(pixels, mask)
    kind, other, option = ("dark", False, "no") if brightness < 0 else ("bright", True, "yes")
    doubt = "" if abs(brightness) >= SURE else ", which is little more than a guess"
    say = f"Say `--inverted {option}` (in Python `inverted={other}`) if it is not."
    warnings.warn(f"{name}: bone was found to be {kind}{doubt}. {say}", stacklevel=4)
    return brightness < 0


def _pixels(path: Path) -> np.ndarray:
    return read_slice(path).astype(np.float32) if path.name.endswith(SUFFIXES) else read_measured(path)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(image, np.float32))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BOX))
