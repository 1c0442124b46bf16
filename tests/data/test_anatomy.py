"""A CT of any orientation lies as the projector wants it, and stays in its place in the patient on any grid."""

import math

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from tfmedcai.data.anatomy import AIR_HU, Anatomy, anatomy_from_volumes, read_anatomy
from tfmedcai.data.resampling import reorient
from tfmedcai.data.volumes import Volume, write_volume
from tfmedcai.geometry.camera import Camera
from tfmedcai.layers.projector import ProjectiveSpatialTransformer
from tfmedcai.simulators.materials import attenuation_from_hu

# Right, front, head: 2, 3 and 4 mm.
AFFINE = np.array([[2.0, 0, 0, -11], [0, 3.0, 0, 5], [0, 0, 4.0, 100], [0, 0, 0, 1]])
SHAPE = (10, 12, 8)
PARTS = {"left hip": [77], "right hip": [78], "spine": range(27, 33), "bowel": [18], "liver": [5], "spleen": [1]}


def marked(at=(8, 2, 6), affine=AFFINE):
    """A voxel of bone to the right, at the back and the head of a patient of water, with a label."""
    hu, labels = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8)
    hu[0, 0, 0] = AIR_HU
    hu[at], labels[at] = 1500, 7
    return Volume(hu, affine), Volume(labels, affine)


def turned(volume, degrees):
    turn = np.eye(4)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return Volume(volume.array, turn @ volume.affine)


def test_depth_runs_to_the_back_height_to_the_feet_and_width_to_the_left():
    anatomy = anatomy_from_volumes(*marked())
    assert anatomy.hu.shape == (12, 8, 10) and anatomy.spacing_mm == (3.0, 4.0, 2.0)
    # From the front: near the back, near the head, and what is on the patient's right is on the left.
    assert np.argwhere(anatomy.hu == 1500).tolist() == [[9, 1, 1]]
    np.testing.assert_array_equal(anatomy.labels == 7, anatomy.hu == 1500)
    assert anatomy.hu.dtype == np.float32


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SLA", "IAR"])
@pytest.mark.parametrize("degrees", [0, 10])
def test_every_orientation_gives_one_anatomy(orientation, degrees):
    first, second = (turned(volume, degrees) for volume in marked())
    expected = anatomy_from_volumes(first, second)
    found = anatomy_from_volumes(reorient(first, orientation), second)
    np.testing.assert_array_equal(found.hu, expected.hu)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.patient_from_volume, expected.patient_from_volume, atol=1e-9)
    turn = found.patient_from_volume[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(
        found.points([7])[0] @ turn.T + found.patient_from_volume[:3, 3], apply_affine(first.affine, (8, 2, 6))
    )


def test_places_are_in_mm_from_the_middle():
    anatomy = anatomy_from_volumes(*marked())
    np.testing.assert_allclose(anatomy.points([7]), [[2 * (1 - 4.5), 4 * (1 - 3.5), 3 * (9 - 5.5)]])
    np.testing.assert_allclose(anatomy.patient_from_volume @ [0, 0, 0, 1], [-2, 21.5, 114, 1])
    np.testing.assert_allclose(anatomy.patient_from_volume[:3, :3], [[-1, 0, 0], [0, 0, -1], [0, -1, 0]])


def test_what_is_rendered_lies_where_the_camera_projects_it():
    anatomy = anatomy_from_volumes(*marked()).masked([7])
    camera = Camera.from_c_arm(1000.0, 0.25, (192, 200), (90.0, 100.0), source_isocentre_mm=600.0)
    volume = attenuation_from_hu(anatomy.hu)[np.newaxis, ..., np.newaxis]
    image = ProjectiveSpatialTransformer(camera, anatomy.spacing_mm)([volume, np.zeros((1, 6), np.float32)])
    image = image.numpy()[0, ..., 0]
    y, x = np.indices(image.shape)
    centre = (image * x).sum() / image.sum(), (image * y).sum() / image.sum()
    expected = camera.project(anatomy.points([7])[0] + [0, 0, 600.0]).numpy()
    np.testing.assert_allclose(centre, expected, atol=0.2)
    # The patient's right is left of the central ray, the head above it.
    assert expected[0] < 90 - 10 and expected[1] < 100 - 10


def test_masked_leaves_structures_in_air():
    ct, labels = marked()
    labels.array[3, 3, 3] = 5
    anatomy = anatomy_from_volumes(ct, labels)
    kept = anatomy.masked([7, 9])
    assert np.count_nonzero(kept.hu > AIR_HU) == 1 and kept.hu.max() == 1500
    assert np.unique(kept.labels).tolist() == [0, 7] and kept.labels.dtype == np.uint8
    assert np.unique(anatomy.labels).tolist() == [0, 5, 7]
    assert kept.hu.dtype == np.float32
    with pytest.raises(ValueError, match=r"must have one of the labels 1, 9\. Received 0, 5, 7\."):
        anatomy.masked([9, 1])
    with pytest.raises(ValueError, match=r"must have labels\. Received a CT alone"):
        anatomy_from_volumes(ct).masked([7])


def blob(spacing, shape=(40, 44, 36), sigma=9.0, at=(5.0, -7.0, 3.0)):
    """A Gaussian of bone in a patient of air, at a place in mm from the middle."""
    grid = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    distance = sum((axis - place) ** 2 for axis, place in zip(grid, at[::-1], strict=True))
    hu = (AIR_HU + 2000 * np.exp(-0.5 * distance / sigma**2)).astype(np.float32)
    labels = (distance < (2 * sigma) ** 2).astype(np.uint8)
    return Anatomy(hu, labels, tuple(spacing), np.eye(4))


@pytest.mark.parametrize("centre", ["middle", "labels"])
@pytest.mark.parametrize("spacing", [(4.0, 5.0, 6.0), 1.5])
def test_fitted_keeps_every_place_in_the_patient(centre, spacing):
    anatomy = blob((2.0, 2.5, 3.0))
    fitted = anatomy.fitted((60, 50, 40), spacing, centre)
    assert fitted.hu.shape == fitted.labels.shape == (60, 50, 40)
    assert fitted.spacing_mm == (spacing if isinstance(spacing, tuple) else (1.5, 1.5, 1.5))
    weights = fitted.hu - AIR_HU
    index = np.array([(weights * axis).sum() / weights.sum() for axis in np.indices(weights.shape)])
    middle = ((index - (np.array(weights.shape) - 1) / 2) * fitted.spacing_mm)[::-1]
    np.testing.assert_allclose(apply_affine(fitted.patient_from_volume, middle), [5, -7, 3], atol=0.2)
    labelled = apply_affine(fitted.patient_from_volume, fitted.points([1], 4000)).mean(axis=0)
    np.testing.assert_allclose(labelled, [5, -7, 3], atol=1.6)  # where two voxels are as near, one is taken
    if centre == "labels":
        np.testing.assert_allclose(middle, 0, atol=2)
    # The mass stays, whatever the size of voxels.
    mass = [(one.hu - AIR_HU).sum(dtype=float) * np.prod(one.spacing_mm) for one in (anatomy, fitted)]
    np.testing.assert_allclose(*mass, rtol=0.01)


def test_on_its_own_grid_nothing_changes():
    anatomy = blob((2.0, 2.5, 3.0))
    fitted = anatomy.fitted((38, 44, 36), (2.0, 2.5, 3.0))
    np.testing.assert_allclose(fitted.hu, anatomy.hu[1:-1], atol=1e-3)
    np.testing.assert_array_equal(fitted.labels, anatomy.labels[1:-1])
    np.testing.assert_array_equal(fitted.patient_from_volume, np.eye(4))


def test_coarser_voxels_average_what_lies_between():
    stripes = np.where(np.arange(49) % 2, 600, -400).astype(np.float32)
    hu = np.broadcast_to(stripes[:, None, None], (49, 8, 8)).copy()
    fitted = Anatomy(hu, None, (1.0, 1.0, 1.0), np.eye(4)).fitted((11, 8, 8), (4.0, 1.0, 1.0))
    np.testing.assert_allclose(fitted.hu, 100, atol=30)


def test_beyond_the_volume_is_air():
    anatomy = anatomy_from_volumes(*marked())
    fitted = anatomy.fitted((24, 8, 10), anatomy.spacing_mm)
    assert (fitted.hu[:6] == AIR_HU).all() and (fitted.hu[-6:] == AIR_HU).all()
    np.testing.assert_allclose(fitted.hu[6:18], anatomy.hu, atol=1e-2)


def test_points_are_of_the_labels_and_always_the_same():
    anatomy = blob((2.0, 2.5, 3.0))
    points = anatomy.points([1], 50)
    assert points.shape == (50, 3) and len(np.unique(points, axis=0)) == 50
    np.testing.assert_array_equal(points, anatomy.points(count=50))
    assert (np.linalg.norm(points - [5, -7, 3], axis=1) < 18).all()
    bone = Anatomy(anatomy.hu, None, anatomy.spacing_mm, np.eye(4)).points(count=10**6)
    assert len(bone) == np.count_nonzero(anatomy.hu >= 200)
    with pytest.raises(ValueError, match=r"must have voxels of 200 HU or more\. Received none"):
        Anatomy(np.zeros((2, 2, 2), np.float32), None, (1.0, 1.0, 1.0), np.eye(4)).points()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.fitted((4, 4), 1.0), "`shape` must be three numbers of voxels"),
        (lambda one: one.fitted((4, 4, 0), 1.0), "`shape` must be three"),
        (lambda one: one.fitted((4, 4, 4), (1.0, 2.0)), r"Received \(4, 4, 4\) and \(1\.0, 2\.0\)"),
        (lambda one: one.fitted((4, 4, 4), -1.0), "lengths above 0 mm"),
        (lambda one: one.fitted((4, 4, 4), math.nan), "lengths above 0 mm"),
        (lambda one: one.fitted((4, 4, 4), 1.0, "bones"), "`centre` must be one of middle, labels. Received 'bones'"),
    ],
)
def test_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(anatomy_from_volumes(*marked()))


def test_files_are_read_with_labels_of_another_orientation(tmp_path):
    ct, labels = marked()
    ct.array[0, 0, 0] = -3024
    write_volume(tmp_path / "scan.nii.gz", ct)
    write_volume(tmp_path / "labels.nii", reorient(labels, "LPI"))
    anatomy = read_anatomy(tmp_path / "scan.nii.gz", tmp_path / "labels.nii")
    assert anatomy.name == "scan" and anatomy.hu.min() == AIR_HU
    assert np.argwhere(anatomy.labels).tolist() == [[9, 1, 1]]
    assert read_anatomy(tmp_path / "scan.nii.gz").labels is None


def sheared():
    affine = AFFINE.copy()
    affine[1, 2] = 4 * math.tan(math.radians(15))
    return affine


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: hu + 1024, r"Hounsfield units, .* Received 24 to 2524: .* without its offset of 1024\?"),
        (lambda hu: np.clip(hu, 0, 20), "Received 0 to 20: is this another modality"),
        (lambda hu: hu / 1000, "Received -1 to 1.5: is this another modality"),
    ],
)
def test_values_that_are_no_hounsfield_units(tmp_path, change, message):
    ct, _ = marked()
    write_volume(tmp_path / "a.nii.gz", ct.holding(change(ct.array)))
    with pytest.raises(ValueError, match=message) as error:
        read_anatomy(tmp_path / "a.nii.gz")
    assert str(error.value).startswith(str(tmp_path / "a.nii.gz"))


def test_grids_that_cannot_be_used(tmp_path):
    ct, labels = marked(affine=sheared())
    with pytest.raises(ValueError, match=r"axes must be at right angles. Received 75 deg, as from a tilted gantry"):
        anatomy_from_volumes(ct)
    ct, labels = marked()
    moved = AFFINE.copy()
    moved[0, 3] += 2
    write_volume(tmp_path / "ct.nii", ct)
    write_volume(tmp_path / "labels.nii", Volume(labels.array, moved))
    with pytest.raises(ValueError, match=r"labels\.nii: this must have the affine of .*ct\.nii.* up to 2 mm apart"):
        read_anatomy(tmp_path / "ct.nii", tmp_path / "labels.nii")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_anatomy(tmp_path / "none.nii.gz")


def test_a_real_patient_is_seen_from_the_front(real_data):
    folder = real_data("ct/patientA")
    anatomy = read_anatomy(folder / "ct.nii.gz", folder / "seg_total.nii.gz")
    assert anatomy.spacing_mm == (3.0, 3.0, 3.0) and anatomy.hu.shape == (101, 112, 122)
    x, y, z = (
        {name: anatomy.points(labels, 400)[:, axis].mean() for name, labels in PARTS.items()} for axis in range(3)
    )
    assert x["left hip"] > 50 > x["right hip"] + 100 and x["spleen"] > x["liver"] + 50  # the left at the right
    assert y["spine"] < y["left hip"] - 50  # the head up
    assert z["spine"] > z["bowel"] + 20  # the back behind
    grid = nib.load(folder / "seg_total.nii.gz")
    places = apply_affine(np.linalg.inv(grid.affine) @ anatomy.patient_from_volume, anatomy.points([1], 50))
    voxels = np.round(places).astype(int)
    np.testing.assert_allclose(places, voxels, atol=1e-4)
    assert (np.asanyarray(grid.dataobj)[tuple(voxels.T)] == 1).all()
