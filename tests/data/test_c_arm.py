"""Cameras survive their file, and headers give cameras, with a warning for all that they lack."""

import json
import math
import warnings

import pytest

from tfmedcai.data import c_arm, images
from tfmedcai.data.c_arm import camera_from_header, positioner_angles, read_camera, read_header, write_camera
from tfmedcai.geometry.camera import NOMINAL_C_ARM, Camera

HEADER = {
    "Rows": 600,
    "Columns": 800,
    "ImagerPixelSpacing": [0.4, "0.3"],
    "DistanceSourceToDetector": "1164.0",
    "DistanceSourceToPatient": 622,
    "PositionerPrimaryAngle": "-30.0",
    "PositionerSecondaryAngle": 15,
}
WRITTEN = {"source_detector_mm": 1020, "pixel_mm": 0.2, "image_size": [300, 401]}


def without(*keywords):
    return {keyword: value for keyword, value in HEADER.items() if keyword not in keywords}


@pytest.mark.parametrize(
    "camera",
    [NOMINAL_C_ARM, Camera.from_c_arm(1000 / 3, (0.1, 0.7), (4, 5), (-3.5, 99.25)), Camera.from_c_arm(mirrored=True)],
)
def test_a_camera_survives_its_file(tmp_path, camera):
    write_camera(tmp_path / "new" / "camera.json", camera)
    assert read_camera(tmp_path / "new" / "camera.json") == camera


def test_what_a_file_need_not_say(tmp_path):
    (tmp_path / "camera.json").write_text(json.dumps(WRITTEN))
    assert read_camera(tmp_path / "camera.json") == Camera.from_c_arm(1020.0, 0.2, (300, 401))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"this is no camera \(Invalid JSON"),
        (json.dumps({"pixel_mm": 0.2, "image_size": [3, 4]}), r"\(source_detector_mm: Field required\)"),
        (json.dumps(WRITTEN | {"focal_length": 1}), r"focal_length: Extra inputs are not permitted"),
        (json.dumps(WRITTEN | {"mirrored": "no"}), r"mirrored: Input should be a valid boolean"),
        (json.dumps(WRITTEN | {"image_size": [3]}), r"image_size: 1: Field required"),
        (json.dumps(WRITTEN | {"pixel_mm": -0.2}), r"`pixel_mm` \(mm\) and .* must be positive"),
        (json.dumps(WRITTEN | {"source_isocentre_mm": 2000}), r"`source_isocentre_mm` must lie between"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    (tmp_path / "camera.json").write_text(text)
    with pytest.raises(ValueError, match=rf"camera\.json: .*{message}"):
        read_camera(tmp_path / "camera.json")


def test_files_that_are_not_there_or_something_else(tmp_path):
    for name in ("none.json", "none.dcm"):
        with pytest.raises(FileNotFoundError, match=rf"{name}: there is no such file"):
            read_camera(tmp_path / name)
    with pytest.raises(ValueError, match=r"must be a \.json, \.dcm or \.dicom file\. Received '\.txt'"):
        read_camera(tmp_path / "a.txt")


def test_a_whole_header_gives_its_camera_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camera = camera_from_header(HEADER)
        angles = positioner_angles(HEADER)
    # The header has rows first: they are 0.4 mm apart, which is along y.
    assert camera == Camera(1164.0, (0.3, 0.4), (399.5, 299.5), (600, 800), 622.0)
    assert angles == pytest.approx([-math.pi / 6, math.pi / 12])


@pytest.mark.parametrize("absent", [None, "", 0, "nan"])
def test_what_a_header_lacks_is_that_of_the_nominal_c_arm(absent):
    with pytest.warns(UserWarning, match=r"scan has no DistanceSourceToDetector: 1020 mm is taken\. Write"):
        camera = camera_from_header(HEADER | {"DistanceSourceToDetector": absent}, name="scan")
    assert camera.source_detector_mm == 1020
    with pytest.warns(UserWarning, match="no DistanceSourceToPatient: 555.0 mm is taken"):
        nominal = Camera.from_c_arm(source_isocentre_mm=555.0)
        camera = camera_from_header(HEADER | {"DistanceSourceToPatient": absent}, nominal)
    assert camera.source_isocentre_mm == 555


def test_other_pitches_stand_in_for_that_of_the_detector():
    header = without("ImagerPixelSpacing") | {"PixelSpacing": 0.2, "DetectorElementSpacing": [0.14, 0.15]}
    with pytest.warns(UserWarning, match="no ImagerPixelSpacing: DetectorElementSpacing, .* not binned, is taken"):
        assert camera_from_header(header).pixel_mm == (0.15, 0.14)
    with pytest.warns(UserWarning, match="no ImagerPixelSpacing: PixelSpacing, .* in the patient, is taken"):
        assert camera_from_header(header | {"PixelSpacing": [0.25, 0.26]}).pixel_mm == (0.26, 0.25)
    with pytest.warns(UserWarning, match=r"no ImagerPixelSpacing: 0\.3725 mm, that of a detector as wide"):
        camera = camera_from_header(without("ImagerPixelSpacing"))
    assert camera.pixel_mm == pytest.approx((1536 * 0.194 / 800,) * 2)


def test_a_c_arm_that_does_not_say_how_it_is_turned_is_upright():
    with pytest.warns(UserWarning) as record:
        assert positioner_angles(without("PositionerPrimaryAngle", "PositionerSecondaryAngle"), "scan") == (0, 0)
    assert [str(one.message).split(":")[0] for one in record] == [
        "scan has no PositionerPrimaryAngle",
        "scan has no PositionerSecondaryAngle",
    ]


def test_headers_that_make_no_camera():
    with pytest.raises(ValueError, match=r"scan: `Rows` and `Columns` must be .* Received None and 800"):
        camera_from_header(without("Rows"), name="scan")
    with pytest.raises(ValueError, match=r"scan: `source_isocentre_mm` must lie between"):
        camera_from_header(HEADER | {"DistanceSourceToPatient": 1200}, name="scan")


def test_a_header_without_pydicom_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(images.importlib, "import_module", missing)
    (tmp_path / "a.dcm").write_bytes(b"\0" * 200)
    with pytest.raises(ImportError, match=r"a\.dcm needs the package pydicom: `pip install pydicom`"):
        read_camera(tmp_path / "a.dcm")


def test_a_dicom_image_gives_its_camera(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="no pydicom: `pip install tfmedcai[dicom]`")
    record = pydicom.Dataset()
    for keyword, value in HEADER.items():
        setattr(record, keyword, value)
    record.file_meta = pydicom.dataset.FileMetaDataset()
    record.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    record.SOPClassUID, record.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.12.2", "1.2.3"
    record.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_camera(tmp_path / "a.dcm") == camera_from_header(HEADER)
    assert set(read_header(tmp_path / "a.dcm")) == set(c_arm.HEADER) & set(HEADER)
    (tmp_path / "b.dcm").write_bytes(b"no DICOM" * 100)
    with pytest.raises(ValueError, match=r"b\.dcm: this is no DICOM image"):
        read_header(tmp_path / "b.dcm")
