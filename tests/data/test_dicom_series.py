"""Slices of a DICOM series make the volume that they were cut from; what does not make one is refused by name."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from tfmedcai.data import images
from tfmedcai.data.anatomy import anatomy_from_volumes, read_anatomy
from tfmedcai.data.dicom_series import read_series
from tfmedcai.data.resampling import reorient
from tfmedcai.data.volumes import Volume, check_same_grid, write_volume

# As scanners write it: columns to the left, rows to the back, slices to the head; turned by 10 deg about the last.
C, S = np.cos(np.pi / 18), np.sin(np.pi / 18)
TURN = np.array([[C, -S, 0], [S, C, 0], [0, 0, 1]])
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN @ np.diag([-0.7, -0.8, 2.5]), (60, 50, -300)
HU = np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.float32)
COLUMNS_ROWS_SLICES = Volume(HU, AFFINE)


class NoDicom(Exception):
    pass


class Record(dict):
    """As much of a data set of pydicom as is used."""

    def __getattr__(self, keyword):
        if keyword not in self:
            raise AttributeError(f"no {keyword}")
        return self[keyword]


def dcmread(path, stop_before_pixels=False, specific_tags=None):
    try:
        record = Record(pickle.loads(path.read_bytes()))
    except pickle.UnpicklingError as error:
        raise NoDicom(path) from error
    return record if specific_tags is None else Record({tag: record[tag] for tag in specific_tags if tag in record})


@pytest.fixture(autouse=True)
def pydicom(monkeypatch):
    module = SimpleNamespace(dcmread=dcmread, errors=SimpleNamespace(InvalidDicomError=NoDicom))
    monkeypatch.setattr(images.importlib, "import_module", lambda name: module)


def slices(uid="1.2.3", **changes):
    """Cuts the volume: fields of each slice, as text where DICOM has decimal text."""
    lps = np.diag([-1, -1, 1, 1]) @ AFFINE
    directions = np.concatenate([lps[:3, 0] / 0.7, lps[:3, 1] / 0.8])
    return [
        {
            "SeriesInstanceUID": uid,
            "SeriesDescription": "abdomen",
            "Modality": "CT",
            "ImagePositionPatient": [f"{value:.6f}" for value in (lps @ [0, 0, k, 1])[:3]],
            "ImageOrientationPatient": [f"{value:.6f}" for value in directions],
            "PixelSpacing": ["0.8", "0.7"],
            "RescaleSlope": "0.5",
            "RescaleIntercept": -1024,
            "pixel_array": (2 * (HU[:, :, k].T + 1024)).astype(np.uint16),
        }
        | changes
        for k in range(HU.shape[2])
    ]


def save(folder, records, names="IM{:03d}"):
    folder.mkdir(exist_ok=True)
    for k, record in enumerate(records):
        (folder / names.format(k)).write_bytes(pickle.dumps(record))
    return folder


def test_slices_make_the_volume_that_they_were_cut_from(tmp_path):
    shuffled = [slices()[k] for k in (3, 0, 4, 1, 2)]
    folder = save(tmp_path / "ct", shuffled)
    (folder / "readme.txt").write_text("not DICOM")
    (folder / "deeper").mkdir()
    found = read_series(folder)
    assert found.array.dtype == np.float32 and found.spacing == pytest.approx((2.5, 0.8, 0.7), rel=1e-5)
    as_cut = reorient(found, "LPS")
    check_same_grid(COLUMNS_ROWS_SLICES, as_cut)
    np.testing.assert_array_equal(as_cut.array, HU)
    np.testing.assert_allclose(as_cut.affine, AFFINE, atol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_anatomy_of_dicom_equals_that_of_nifti(tmp_path, reverse):
    records = slices()
    if reverse:  # columns to the right and slices to the feet: another scanner, the same patient
        for record in records:
            directions = np.array(record["ImageOrientationPatient"], float)
            corner = np.array(record["ImagePositionPatient"], float) + directions[:3] * 0.7 * (HU.shape[0] - 1)
            record["ImagePositionPatient"] = corner.tolist()
            record["ImageOrientationPatient"] = [*-directions[:3], *directions[3:]]
            record["pixel_array"] = record["pixel_array"][:, ::-1]
    write_volume(tmp_path / "labels.nii", Volume((HU > 300).astype(np.uint8), AFFINE))
    found = read_anatomy(save(tmp_path / "ct", records), tmp_path / "labels.nii")
    expected = anatomy_from_volumes(COLUMNS_ROWS_SLICES)
    np.testing.assert_array_equal(found.hu, expected.hu)
    np.testing.assert_array_equal(found.labels, expected.hu > 300)
    np.testing.assert_allclose(found.patient_from_volume, expected.patient_from_volume, atol=1e-4)
    assert found.name == "ct"


def test_one_of_several_series_is_chosen_by_one_of_its_files(tmp_path):
    folder = save(tmp_path / "all", slices(), "a{}.dcm")
    other = slices("1.2.9", SeriesDescription="thorax", RescaleIntercept=-1000)
    save(folder, other, "b{}.dcm")
    with pytest.raises(
        ValueError, match=r"one series\. Received 5 of CT 'abdomen', as a0\.dcm; 5 of CT 'thorax', as b"
    ):
        read_anatomy(folder)
    np.testing.assert_array_equal(reorient(read_series(folder / "b2.dcm"), "LPS").array, HU + 24)
    # A plan of the irradiation, say, is no rival.
    save(folder, slices("1.2.9", Modality="RTDOSE"), "b{}.dcm")
    np.testing.assert_array_equal(reorient(read_series(folder), "LPS").array, HU)
    with pytest.raises(ValueError, match=r"b1\.dcm: there must be slices of a CT.* Received 5 of RTDOSE 'abdomen'"):
        read_series(folder / "b1.dcm")


def changed(index, **fields):
    records = slices()
    records[index] |= fields
    return records


def without(keyword):
    return [{name: value for name, value in record.items() if name != keyword} for record in slices()]


def tilted():
    records = slices()
    for k, record in enumerate(records):
        record["ImagePositionPatient"] = [30.0, 20.0 + 0.6 * k, 2.5 * k]
        record["ImageOrientationPatient"] = [1, 0, 0, 0, 1, 0]
    return records


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "there must be slices of a CT, one image a file. Received none"),
        (slices()[:1], "must have two slices or more. Received 1"),
        (
            slices()[:2] + slices()[3:],
            r"equally spaced\. Received gaps from 2\.5 to 5 mm, 2\.5 in the median: is a slice",
        ),
        (slices() + slices()[1:2], "equally spaced. Received gaps from 0 to 2.5 mm"),
        (tilted(), r"axes must be at right angles\. Received 76\.5 deg, as from a tilted gantry"),
        (without("PixelSpacing"), "must have `PixelSpacing`, 2 numbers. Received None"),
        (changed(1, PixelSpacing=["0", "0.7"]), r"must have `PixelSpacing`, 2 numbers\. Received \['0', '0\.7'\]"),
        (changed(1, ImageOrientationPatient=None), "must have `ImageOrientationPatient`, 6 numbers. Received None"),
        (changed(1, ImagePositionPatient=["1", "nan", "2"]), "must have `ImagePositionPatient`, 3 numbers"),
        (changed(1, PixelSpacing=["0.8", "0.8"]), "must have one size, spacing and orientation"),
        (changed(2, pixel_array=np.zeros((4, 4))), "must have one size, spacing and orientation"),
        (changed(2, pixel_array=np.zeros((2, 4, 4))), r"one grey slice each\. Received pixels of shape \(2, 4, 4\)"),
        (without("pixel_array"), "cannot read the pixels"),
        (without("RescaleIntercept"), "which make Hounsfield units. Received 0.5 and None"),
        (slices(RescaleIntercept=0), "a CT without its offset of 1024"),
    ],
)
def test_series_that_make_no_volume(tmp_path, records, message):
    with pytest.raises(ValueError, match=message) as error:
        read_anatomy(save(tmp_path / "ct", records))
    assert str(error.value).startswith(str(tmp_path / "ct")) and "\n" not in str(error.value)


def test_what_is_not_there_and_who_has_no_pydicom(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"none: there is no such file or folder"):
        read_anatomy(tmp_path / "none")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(images.importlib, "import_module", missing)
    with pytest.raises(ImportError, match="needs the package pydicom: `pip install pydicom`"):
        read_anatomy(save(tmp_path / "ct", slices()))


def test_files_that_pydicom_wrote(tmp_path, monkeypatch):
    monkeypatch.undo()
    real = pytest.importorskip("pydicom", reason="no pydicom: `pip install tfmedcai[dicom]`")
    for k, fields in enumerate(slices()):
        record = real.Dataset()
        pixels = fields.pop("pixel_array")
        image = {"Rows": 6, "Columns": 7, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "SamplesPerPixel": 1}
        image |= {"PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2", "PixelData": pixels.tobytes()}
        image |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": f"1.2.3.{k + 1}"}
        for keyword, value in (fields | image).items():
            setattr(record, keyword, value)
        record.file_meta = real.dataset.FileMetaDataset()
        record.file_meta.TransferSyntaxUID = real.uid.ExplicitVRLittleEndian
        record.save_as(tmp_path / f"{k}", enforce_file_format=True)
    np.testing.assert_array_equal(reorient(read_series(tmp_path), "LPS").array, HU)
