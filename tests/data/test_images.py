from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tfmedcai.data import images
from tfmedcai.data.images import read_image

RAMP = np.linspace(0.0, 1.0, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.png", lambda path: Image.fromarray((RAMP * 255).round().astype(np.uint8)).save(path)),
        ("b.png", lambda path: Image.fromarray((RAMP * 65535).round().astype(np.uint16)).save(path)),
        ("c.png", lambda path: Image.fromarray((RAMP * 255).round().astype(np.uint8)).convert("RGB").save(path)),
        ("d.png", lambda path: Image.fromarray((RAMP * 255).round().astype(np.uint8)).convert("P").save(path)),
        ("e.tif", lambda path: Image.fromarray(RAMP).save(path)),
        ("f.npy", lambda path: np.save(path, RAMP.astype(np.float64))),
        ("g.npy", lambda path: np.save(path, (RAMP * 65535).round().astype(np.uint16))),
    ],
)
def test_formats_are_read_as_fractions_of_their_range(tmp_path, name, save):
    save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, RAMP, atol=0.003)


def test_one_bit_pictures_are_read(tmp_path):
    Image.fromarray(RAMP > 0.5).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RAMP > 0.5)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("nan.npy", np.array([[0.0, np.nan]]), "must hold finite numbers. Received 1 NaN"),
        ("scale.npy", np.array([[0.0, 7.5]]), "must hold values from 0 to 1. Received 0 to 7.5"),
        ("cube.npy", np.zeros((2, 3, 5)), r"must be grey, of shape \(height, width\). Received shape \(2, 3, 5\)"),
        ("empty.npy", np.zeros((0, 4)), "must be grey"),
        ("text.npy", np.array([["a"]]), "must hold integers or floats. Received dtype"),
        ("object.npy", np.array([{"a": 1}], dtype=object), "cannot be read"),
    ],
)
def test_arrays_that_are_no_radiograph_are_refused_in_one_line(tmp_path, name, array, message):
    np.save(tmp_path / name, array)
    with pytest.raises(ValueError, match=message) as error:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_colour_is_refused(tmp_path):
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="must be grey"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n broken", b""])
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_broken_files_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(path)


def test_missing_files_and_other_suffixes_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no image file"):
        read_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match="must have a suffix of"):
        read_image(tmp_path / "a.txt")


def test_dicom_without_pydicom_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(images.importlib, "import_module", missing)
    (tmp_path / "a.dcm").write_bytes(b"\0" * 200)
    with pytest.raises(ImportError, match="pip install pydicom"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("interpretation", "signed", "expected"),
    [("MONOCHROME2", 0, [0.0, 1.0]), ("MONOCHROME1", 0, [1.0, 0.0]), ("MONOCHROME2", 1, [0.0, 1.0])],
)
def test_dicom_is_read_by_its_stored_bits(tmp_path, monkeypatch, interpretation, signed, expected):
    class Record(SimpleNamespace):
        def get(self, name, default):
            return getattr(self, name, default)

    pixels = np.array([[0, 4095]], np.uint16) if not signed else np.array([[-2048, 2047]], np.int16)
    record = Record(
        pixel_array=pixels, BitsStored=12, PhotometricInterpretation=interpretation, PixelRepresentation=signed
    )
    pydicom = SimpleNamespace(dcmread=lambda path: record, errors=SimpleNamespace(InvalidDicomError=TypeError))
    monkeypatch.setattr(images.importlib, "import_module", lambda name: pydicom)
    (tmp_path / "a.dcm").write_bytes(b"")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), [expected])


def test_a_real_fluoroscopy_frame_is_read(real_data):
    image = read_image(real_data("xray/hip_dhs_fluoroscopy/IM-0001-0022.png"))
    assert image.shape == (1024, 1024)
    # Outside the image intensifier, the wire, and bone beside it.
    assert image[10, 10] == 0.0 and 0.1 < image[640, 345] < 0.25 < image[600, 420] < 0.6
