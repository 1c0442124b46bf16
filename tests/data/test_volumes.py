import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tfmedcai.data.resampling import reorient, resample, resample_onto
from tfmedcai.data.volumes import (
    Volume,
    check_same_grid,
    file_stem,
    read_channels,
    read_labels,
    read_volume,
    same_grid,
    write_volume,
)

AFFINE = np.array([[0.0, -2.0, 0.0, 40.0], [0.8, 0.0, 0.0, -30.0], [0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]])


def save(path, array, affine=AFFINE, change=lambda header: None):
    image = nib.Nifti1Image(array, affine)
    change(image.header)
    nib.save(image, path)
    return path


def ramp(dtype=np.int16, shape=(4, 5, 6)):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_written_is_read(tmp_path, dtype, suffix):
    volume = Volume(ramp(dtype), AFFINE)
    path = tmp_path / "new" / f"a{suffix}"
    write_volume(path, volume)
    again = read_volume(path)
    assert again.array.dtype == dtype and again.path == path
    np.testing.assert_array_equal(again.array, volume.array)
    np.testing.assert_allclose(again.affine, AFFINE)
    assert again.spacing == pytest.approx((0.8, 2.0, 3.0)) and again.orientation == "ALS"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_scaled_integers_and_doubles_become_single_precision(tmp_path):
    image = nib.Nifti1Image(ramp(), AFFINE)
    image.header.set_slope_inter(2.0, -10.0)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, ramp() * 2.0 - 10)
    assert read_volume(save(tmp_path / "b.nii", ramp(np.float64))).array.dtype == np.float32


def test_big_endian_files_are_read_in_the_order_of_the_machine(tmp_path):
    nib.save(nib.Nifti1Image(ramp(">i2"), AFFINE, nib.Nifti1Header(endianness=">")), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, ramp())


def test_a_prediction_lies_exactly_on_its_input(tmp_path):
    def as_scanners_write(header):
        header.set_qform(AFFINE, code=1)
        header.set_sform(None, code=0)
        header["descrip"] = b"a scanner"
        header.set_slope_inter(2.0, 1.0)
        header["cal_max"] = 300

    source = read_volume(save(tmp_path / "in.nii.gz", ramp(), change=as_scanners_write))
    worked_on = reorient(source)
    prediction = worked_on.holding((worked_on.array % 3).astype(np.int64))
    write_volume(tmp_path / "out.nii.gz", source.holding(reorient(prediction, source.orientation).array))
    first, second = (nib.load(tmp_path / name) for name in ("in.nii.gz", "out.nii.gz"))
    np.testing.assert_array_equal(second.affine, first.affine)
    np.testing.assert_array_equal(second.get_fdata(), first.get_fdata() % 3)
    assert second.get_data_dtype() == np.int32
    for key in ("qform_code", "sform_code", "descrip", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(second.header[key], first.header[key])
    assert second.header["cal_max"] == 0


def test_a_moved_grid_is_written_with_its_own_affine(tmp_path):
    source = read_volume(save(tmp_path / "in.nii.gz", ramp()))
    write_volume(tmp_path / "out.nii.gz", reorient(source, "LIP"))
    again = read_volume(tmp_path / "out.nii.gz")
    assert again.orientation == "LIP"
    np.testing.assert_array_equal(reorient(again, source.orientation).array, source.array)


def test_labels(tmp_path):
    path = save(tmp_path / "a.nii.gz", (ramp() % 3).astype(np.float64))
    assert read_labels(path, (1, 2)).array.dtype == np.uint8
    assert read_labels(save(tmp_path / "b.nii.gz", ramp() * 5)).array.dtype == np.uint16
    for labels, message in (((1,), r"a\.nii\.gz: labels must be among 0, 1\. Received 2:"), ((7, 2), "Received 1:")):
        with pytest.raises(ValueError, match=message):
            read_labels(path, labels)
    with pytest.raises(ValueError, match=r"c\.nii: labels must be whole numbers"):
        read_labels(save(tmp_path / "c.nii", ramp(np.float32) / 2))
    with pytest.raises(ValueError, match=r"d\.nii: labels must be 0 or more. Received -1"):
        read_labels(save(tmp_path / "d.nii", ramp() - 1))


def test_channels(tmp_path):
    four = save(tmp_path / "a.nii.gz", ramp(shape=(4, 5, 6, 2)))
    assert read_channels(four, 2).array.shape == (4, 5, 6, 2)
    assert read_channels(save(tmp_path / "b.nii.gz", ramp()), 1).array.shape == (4, 5, 6, 1)
    assert read_volume(save(tmp_path / "c.nii.gz", ramp(shape=(4, 5, 6, 1)))).array.shape == (4, 5, 6)
    with pytest.raises(ValueError, match=r"a\.nii\.gz: this volume must have 3 channels. Received 2"):
        read_channels(four, 3)
    with pytest.raises(ValueError, match=r"a\.nii\.gz: this volume must be 3D. Received shape \(4, 5, 6, 2\)"):
        read_channels(four, 1)


def _patch(path, change):
    """Changes the header of a file as it lies on disk: nibabel itself would put it right."""
    whole = gzip.decompress(path.read_bytes())
    header = nib.Nifti1Header(whole[:348], check=False)
    change(header)
    path.write_bytes(gzip.compress(header.binaryblock + whole[348:]))


def _truncate(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _zero_spacing(header):
    header["sform_code"] = header["qform_code"] = 0
    header["pixdim"][1:4] = [1.0, 0.0, 1.0]


def _zero_sform(header):
    header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)


BAD = {
    "truncated.nii.gz": (ramp(shape=(30, 30, 30)), None, r"cannot read this as NIfTI \(.*end-of-stream"),
    "truncated.nii": (ramp(shape=(30, 30, 30)), None, r"cannot read this as NIfTI \("),
    "nan.nii.gz": (np.where(ramp() < 3, np.nan, ramp(np.float32)), None, "all voxels must be finite. Received 3 NaN"),
    "four.nii.gz": (ramp(shape=(4, 5, 6, 2)), None, r"must be 3D. Received shape \(4, 5, 6, 2\)"),
    "two.nii.gz": (ramp(shape=(4, 5)), None, r"must be 3D. Received shape \(4, 5\)"),
    "spacing.nii.gz": (ramp(), _zero_spacing, "spacing in the header must be above 0 mm. Received 1, 0, 1"),
    "header.nii.gz": (ramp(), lambda header: header["pixdim"].__setitem__(3, 0), "Received 0.8, 2, 0"),
    "affine.nii.gz": (ramp(), _zero_sform, "spacing in the affine must be above 0 mm. Received 1, 1, 0"),
    "metre.nii.gz": (ramp(), lambda header: header.set_xyzt_units("meter"), "lengths must be in mm. Received meter"),
    "colours.nii.gz": (np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]), None, "integers or floats"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_one_line(tmp_path, name):
    array, change, message = BAD[name]
    path = save(tmp_path / name, array)
    if name.startswith("truncated"):
        _truncate(path)
    if change:
        _patch(path, change)
    with pytest.raises(ValueError, match=message) as error:
        read_volume(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_files_that_are_no_volume(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_volume(tmp_path / "none.nii.gz")
    with pytest.raises(ValueError, match=r"must be a file that ends in \.nii\.gz or \.nii"):
        read_volume(tmp_path / "a.mha")
    for content in (b"", b"nothing of the kind", gzip.compress(b"nothing of the kind")):
        (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(ValueError, match="cannot read this as NIfTI"):
            read_volume(tmp_path / "a.nii.gz")


def test_image_and_label_on_different_grids():
    image = Volume(ramp(), AFFINE, path=Path("image.nii.gz"))
    for shift, same in ((0.05, True), (0.5, False)):
        moved = AFFINE.copy()
        moved[0, 3] += shift
        label = Volume(ramp(), moved, path=Path("label.nii.gz"))
        assert same_grid(image, label) == same
    with pytest.raises(ValueError, match=r"^label\.nii\.gz: this must have the affine of image\.nii\.gz.* 0\.5 mm"):
        check_same_grid(image, label)
    with pytest.raises(ValueError, match=r"^a volume in memory: this must have the shape \(4, 5, 6\) of image"):
        check_same_grid(image, Volume(ramp(shape=(4, 5, 7)), AFFINE))
    with pytest.raises(ValueError, match="`array` must have the grid"):
        image.holding(np.zeros((4, 5, 7)))


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write here"):
        write_volume(tmp_path / "file" / "a.nii.gz", Volume(ramp(), AFFINE))
    with pytest.raises(ValueError, match="must be a file that ends in"):
        file_stem("a.png")


def test_real_volumes_are_written_as_they_were(tmp_path, real_data):
    for name, orientation in (
        ("ct/patientA/seg_total.nii.gz", "RAS"),
        ("ct/patientB/seg_total.nii.gz", "LPS"),
        ("ct/verse_vertebra_mask/sub-verse004_seg-vert_msk.nii.gz", "PIR"),
    ):
        volume = read_labels(real_data(name))
        assert volume.orientation == orientation
        back = reorient(reorient(volume), orientation)
        write_volume(tmp_path / "a.nii.gz", back)
        first, second = nib.load(real_data(name)), nib.load(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(second.affine, first.affine)
        np.testing.assert_array_equal(np.asanyarray(second.dataobj), np.asanyarray(first.dataobj))


def test_a_prediction_on_a_coarser_grid_is_brought_back(tmp_path):
    source = read_volume(save(tmp_path / "in.nii.gz", np.zeros((20, 24, 12), np.int16)))
    worked_on = resample(reorient(source), (2.0, 2.0, 3.0))
    inside = np.zeros(worked_on.array.shape, np.uint8)
    inside[3:8, 2:9, 4:9] = 2
    write_volume(tmp_path / "out.nii.gz", resample_onto(worked_on.holding(inside), source, "nearest"))
    again = read_labels(tmp_path / "out.nii.gz", (2,))
    check_same_grid(source, again)
    np.testing.assert_array_equal(again.affine, source.affine)
    places = [
        nib.affines.apply_affine(volume.affine, np.argwhere(array)).mean(axis=0)
        for volume, array in ((worked_on, inside), (again, again.array))
    ]
    np.testing.assert_allclose(*places, atol=0.5)
