"""Every way of keeping an X-ray image gives the same line integrals, and camera and mask stay on it."""

import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tfmedcai.data import images
from tfmedcai.data.radiographs import Radiograph, line_integrals, read_radiograph, write_radiograph
from tfmedcai.geometry.camera import Camera

SIZE = (48, 64)
CAMERA = Camera.from_c_arm(1000.0, (0.5, 0.75), SIZE, (20.0, 30.0), source_isocentre_mm=600.0)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]
# A bone, brightest at x = 40, y = 12, and a wire.
BONE = 3 * np.exp(-0.5 * (((X - 40) / 5) ** 2 + ((Y - 12) / 4) ** 2)) + 0.02 * X + 0.5 * (abs(X - 20) < 2)
BONE = (BONE - BONE.min()).astype(np.float32)
RAW = np.exp(-BONE)
GREY = np.round(65535 * RAW).astype(np.uint16)


def save_nifti(path, array):
    nib.save(nib.Nifti1Image(array, np.diag([-0.5, -0.75, 1, 1])), path)


SAVED = {
    "a.png": lambda path: Image.fromarray(GREY).save(path),
    "b.tif": lambda path: Image.fromarray(RAW).save(path),
    "c.tiff": lambda path: Image.fromarray(GREY).save(path),
    "d.npy": lambda path: np.save(path, GREY),
    "e.npy": lambda path: np.save(path, 4000 * RAW.astype(np.float64)),
    "f.nii.gz": lambda path: save_nifti(path, GREY.T[..., np.newaxis]),
    "g.nii": lambda path: save_nifti(path, RAW.T),
}


@pytest.mark.parametrize("name", SAVED)
def test_every_format_gives_the_same_line_integrals(tmp_path, name):
    SAVED[name](tmp_path / name)
    radiograph = read_radiograph(tmp_path / name, CAMERA, inverted=True)
    assert radiograph.image.dtype == np.float32 and radiograph.camera == CAMERA and radiograph.mask is None
    assert radiograph.name == str(tmp_path / name)
    np.testing.assert_allclose(radiograph.image, BONE, atol=1e-3)


def test_what_is_written_is_read_up_to_a_factor(tmp_path):
    write_radiograph(tmp_path / "new" / "drr.png", BONE)
    again = read_radiograph(tmp_path / "new" / "drr.png", CAMERA, inverted=False)
    np.testing.assert_allclose(again.image * BONE.max(), BONE, atol=1e-4)
    write_radiograph(tmp_path / "black.png", np.zeros(SIZE))
    assert not np.asarray(Image.open(tmp_path / "black.png")).any()
    for image in (BONE - 1, BONE * np.nan, BONE[0]):
        with pytest.raises(ValueError, match="`image` must be"):
            write_radiograph(tmp_path / "b.png", image)
    with pytest.raises(ValueError, match=r"must be written to a \.png file. Received '\.jpg'"):
        write_radiograph(tmp_path / "b.jpg", BONE)


def test_bright_bone_is_only_shifted():
    np.testing.assert_array_equal(line_integrals(BONE + 7, inverted=False), (BONE + 7) - np.float32(7))
    mask = np.ones(SIZE, bool)
    mask[:, :8] = False
    shifted = line_integrals(np.where(mask, BONE, -5), mask, inverted=False)
    assert shifted[mask].min() == 0 and (shifted >= 0).all()


def test_the_open_beam_is_the_largest_in_the_mask_and_zero_is_not_infinite():
    mask = np.ones(SIZE, bool)
    mask[0, :2] = False
    raw = RAW.copy()
    raw[0, 0], raw[0, 1] = 50.0, 0.0  # a marker beside the field, and what lies in its shadow
    found = line_integrals(raw, mask, inverted=True)
    np.testing.assert_allclose(found[mask], BONE[mask] - BONE[mask].min(), atol=1e-5)
    assert found[0, 0] == 0 and np.isfinite(found).all()
    eight_bit = np.array([[0, 1, 2, 255]]) / 255
    np.testing.assert_allclose(
        line_integrals(eight_bit, inverted=True), [[math.log(255), math.log(255), math.log(127.5), 0]], rtol=1e-6
    )
    assert line_integrals(np.array([[1.0, 1e-30]]), inverted=True).max() == pytest.approx(math.log(1e4))


@pytest.mark.parametrize(("pixels", "kind", "other"), [(RAW, "dark", False), (BONE, "bright", True)])
def test_what_is_found_out_is_said(pixels, kind, other):
    with pytest.warns(
        UserWarning, match=rf"^scan: bone was found to be {kind}\. Say .*`inverted={other}`\) if it is not"
    ):
        found = line_integrals(pixels, name="scan")
    np.testing.assert_allclose(found, BONE, atol=1e-5)
    with pytest.warns(UserWarning, match="bone was found to be (dark|bright), which is little more than a guess"):
        line_integrals(np.arange(100.0).reshape(10, 10) ** 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line_integrals(pixels, inverted=not other)


def spot(radiograph):
    """The place of the brightest spot in px, by its mass."""
    weights = np.maximum(radiograph.image - 1.5, 0)
    y, x = np.indices(weights.shape)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.resized((24, 32)),
        lambda one: one.resized((12, 24)),
        lambda one: one.resized((96, 128)),
        lambda one: one.cropped(5),
        lambda one: one.cropped(4).resized((20, 28)),
    ],
)
def test_the_camera_follows_the_image(change):
    first = Radiograph(BONE, CAMERA)
    second = change(first)
    assert second.image.dtype == np.float32 and second.camera.image_size == second.image.shape
    places = [one.camera.unproject(spot(one), 1000.0).numpy() for one in (first, second)]
    np.testing.assert_allclose(*places, atol=0.1)
    assert second.camera.source_isocentre_mm == 600


def test_new_pixels_are_means_and_lie_in_the_mask_as_a_whole():
    mask = np.zeros(SIZE, bool)
    mask[8:40, 5:60] = True
    half = Radiograph(BONE, CAMERA, mask).resized((24, 32))
    np.testing.assert_allclose(half.image, BONE.reshape(24, 2, 32, 2).mean(axis=(1, 3)), rtol=1e-5)
    expected = np.zeros((24, 32), bool)
    expected[4:20, 3:30] = True
    np.testing.assert_array_equal(half.mask, expected)


def test_a_mask_may_be_a_file_and_is_cropped_along(tmp_path):
    mask = np.zeros(SIZE, np.uint8)
    mask[10:30, 16:60] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    SAVED["a.png"](tmp_path / "a.png")
    found = [
        read_radiograph(tmp_path / "a.png", CAMERA, mask=given, inverted=True, cropped_px=6)
        for given in (tmp_path / "mask.png", mask)
    ]
    for one in found:
        np.testing.assert_array_equal(one.mask, mask[6:-6, 6:-6] > 0)
        assert one.camera.principal_point_px == (14.0, 24.0) and one.camera.image_size == (36, 52)
        assert one.image[one.mask].min() == 0
    np.testing.assert_array_equal(found[0].image, found[1].image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": None}, "`camera` must be there, unless the image is DICOM"),
        ({"camera": replace(CAMERA, image_size=(64, 48))}, r"the size \(64, 48\) of its camera. Received \(48, 64\)"),
        ({"mask": np.ones((3, 4))}, r"the mask must have the size \(48, 64\)\. Received \(3, 4\)"),
        ({"mask": np.zeros(SIZE)}, "pixels of several values, inside the mask"),
        ({"cropped_px": 24}, "must leave some of 48 x 64 px. Received 24 px"),
        ({"cropped_px": -1}, "Received -1 px"),
    ],
)
def test_says_what_is_wrong(tmp_path, options, message):
    SAVED["a.png"](tmp_path / "a.png")
    with pytest.raises(ValueError, match=message) as error:
        read_radiograph(tmp_path / "a.png", **{"camera": CAMERA, "inverted": True} | options)
    assert str(error.value).startswith(str(tmp_path / "a.png"))


def test_files_that_hold_no_radiograph(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no image file"):
        read_radiograph(tmp_path / "a.png", CAMERA)
    save_nifti(tmp_path / "volume.nii", np.zeros((4, 5, 6), np.int16))
    with pytest.raises(ValueError, match=r"this volume must be 2D. Received shape \(4, 5, 6\)"):
        read_radiograph(tmp_path / "volume.nii", CAMERA)
    np.save(tmp_path / "flat.npy", np.ones(SIZE))
    with pytest.raises(ValueError, match="there must be pixels of several values"):
        read_radiograph(tmp_path / "flat.npy", CAMERA)
    np.save(tmp_path / "negative.npy", -1 - BONE)
    with pytest.raises(ValueError, match=r"intensities must be above 0\. Received -1 at most"):
        read_radiograph(tmp_path / "negative.npy", CAMERA, inverted=True)
    np.save(tmp_path / "nan.npy", BONE * np.nan)
    with pytest.raises(ValueError, match="must hold finite numbers"):
        read_radiograph(tmp_path / "nan.npy", CAMERA)


class Record(SimpleNamespace):
    """As much of a data set of pydicom as is used."""

    def get(self, name, default=None):
        return getattr(self, name, default)

    def __contains__(self, name):
        return hasattr(self, name)

    def __getitem__(self, name):
        return SimpleNamespace(value=getattr(self, name))


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_gives_image_and_camera(tmp_path, monkeypatch, interpretation):
    pixels = GREY if interpretation == "MONOCHROME2" else 65535 - GREY
    record = Record(
        pixel_array=pixels,
        BitsStored=16,
        PhotometricInterpretation=interpretation,
        Rows=48,
        Columns=64,
        ImagerPixelSpacing=[0.75, 0.5],
        DistanceSourceToDetector=1000,
        DistanceSourceToPatient=600,
    )
    pydicom = SimpleNamespace(dcmread=lambda *_, **__: record, errors=SimpleNamespace(InvalidDicomError=TypeError))
    monkeypatch.setattr(images.importlib, "import_module", lambda name: pydicom)
    (tmp_path / "a.dcm").write_bytes(b"")
    radiograph = read_radiograph(tmp_path / "a.dcm", inverted=True)
    assert radiograph.camera == replace(CAMERA, principal_point_px=(31.5, 23.5))
    np.testing.assert_allclose(radiograph.image, BONE, atol=1e-3)
    assert read_radiograph(tmp_path / "a.dcm", CAMERA, inverted=True).camera == CAMERA


def test_a_real_fluoroscopy_frame(real_data):
    folder = real_data("xray/hip_dhs_fluoroscopy")
    camera = Camera.from_c_arm(1000.0, 0.3, (1024, 1024), source_isocentre_mm=600.0)
    y, x = np.mgrid[:1024, :1024] - 511.5
    with pytest.warns(UserWarning, match="bone was found to be dark"):
        radiograph = read_radiograph(folder / "IM-0001-0022.png", camera, mask=np.hypot(x, y) < 470)
    image = radiograph.image
    # The handle of the drill, the femoral head, the open beam.
    assert image[800, 400] > image[300, 650] > image[400, 80] == 0
    assert radiograph.resized((128, 128)).mask.sum() > 10000
