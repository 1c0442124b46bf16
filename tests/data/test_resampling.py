import nibabel as nib
import nibabel.processing
import numpy as np
import pytest

from tfmedcai.data.resampling import reorient, resample, resample_onto, resize, stack
from tfmedcai.data.volumes import Volume


def turned(degrees, spacing, shift=(0.0, 0.0, 0.0)):
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= spacing
    affine[:3, 3] = shift
    return affine


def plane(shape, affine):
    """A volume whose values are a linear function of the place in the patient."""
    x, y, z = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1)).transpose(3, 0, 1, 2)
    return Volume((2 * x - y + 0.5 * z + 3).astype(np.float32), affine)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL", "ras"])
def test_reorienting_moves_no_voxel(orientation):
    volume = plane((4, 5, 6), turned(10, (1.0, 2.0, 3.0), (5, 6, 7)))
    changed = reorient(volume, orientation)
    assert changed.orientation == orientation.upper()
    np.testing.assert_allclose(changed.array, plane(changed.array.shape, changed.affine).array, atol=1e-4)
    back = reorient(changed, volume.orientation)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (0.7, 0.9, 2.2), (0.0, 3.0, 0.0)])
def test_resampling_keeps_the_place(interpolation, spacing):
    volume = plane((20, 24, 16), turned(25, (1.0, 1.5, 2.0), (-7, 3, 1)))
    changed = resample(volume, spacing, interpolation)
    wanted = [new or old for new, old in zip(spacing, volume.spacing, strict=True)]
    np.testing.assert_allclose(changed.spacing, wanted)
    inner = (slice(5, -5), slice(5, -5), slice(4, -4))
    expected = plane(changed.array.shape, changed.affine).array
    np.testing.assert_allclose(changed.array[inner], expected[inner], atol=1e-2 if interpolation == "cubic" else 1e-3)
    centres = [v.affine @ [*((np.array(v.array.shape) - 1) / 2), 1] for v in (volume, changed)]
    np.testing.assert_allclose(*centres)


def test_labels_keep_their_type_and_values():
    labels = Volume(np.random.default_rng(0).choice([0, 3, 200], (9, 8, 7)).astype(np.uint8), np.eye(4))
    changed = resample(labels, (0.5, 0.5, 2.0), "nearest")
    assert changed.array.dtype == np.uint8 and set(np.unique(changed.array)) == {0, 3, 200}
    np.testing.assert_array_equal(
        resample(labels, (0.5, 0.5, 1.0), "nearest").array, labels.array.repeat(2, 0).repeat(2, 1)
    )


def test_resizing_to_a_number_of_voxels():
    volume = plane((20, 24, 4), np.diag([1.0, 1.0, 3.0, 1.0]))
    changed = resize(volume, (10, 12, 0))
    assert changed.array.shape == (10, 12, 4) and changed.spacing == (2.0, 2.0, 3.0)
    np.testing.assert_allclose(changed.array, plane((10, 12, 4), changed.affine).array, atol=1e-4)


@pytest.mark.parametrize("degrees", [0, 20])
def test_onto_another_grid_as_nibabel_does(degrees):
    rng = np.random.default_rng(0)
    source = Volume(rng.normal(size=(12, 10, 8)).astype(np.float32), turned(0, (1.0, 1.0, 2.0)))
    grid = Volume(np.zeros((14, 16, 12)), turned(degrees, (0.8, 0.7, 1.5), (1.0, 1.0, 1.0)))
    ours = resample_onto(source, grid, outside=-5.0)
    theirs = nibabel.processing.resample_from_to(
        nib.Nifti1Image(source.array, source.affine), (grid.array.shape, grid.affine), order=1, cval=np.nan
    ).get_fdata()
    inside = np.isfinite(theirs)
    np.testing.assert_allclose(ours.array[inside], theirs[inside], atol=1e-4)
    assert (ours.array[-1, -1] == -5.0).all()
    np.testing.assert_array_equal(ours.affine, grid.affine)


def test_half_a_voxel_around_the_border_belongs_to_the_volume():
    source = Volume(np.ones((4, 4, 4), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    grid = Volume(np.zeros((10, 10, 10)), np.array([[1, 0, 0, -1.5], [0, 1, 0, -1.5], [0, 0, 1, -1.5], [0, 0, 0, 1.0]]))
    covered = resample_onto(source, grid).array
    assert covered[1:9, 1:9, 1:9].all() and covered.sum() == 8**3


def test_modalities_on_different_grids_become_channels():
    fine, coarse = plane((20, 20, 6), np.diag([0.5, 0.5, 3.0, 1.0])), plane((7, 7, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
    both = stack([fine, coarse])
    assert both.array.shape == (20, 20, 6, 2)
    np.testing.assert_array_equal(both.array[..., 0], fine.array)
    np.testing.assert_allclose(both.array[..., 1], fine.array, atol=1e-4)
    assert stack([both, coarse]).array.shape == (20, 20, 6, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: reorient(v, "RAP"), "`orientation` must be three letters"),
        (lambda v: reorient(v, "RA"), "`orientation` must be three letters"),
        (lambda v: resample(v, (1.0, -1.0, 1.0)), "`spacing` must be three numbers"),
        (lambda v: resample(v, (1.0, 1.0, 1.0), "bilinear"), "`interpolation` must be one of"),
        (lambda v: resize(v, (1, 1)), "`shape` must be three numbers"),
        (lambda v: stack([]), "at least one volume"),
    ],
)
def test_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(Volume(np.zeros((3, 3, 3)), np.eye(4)))
