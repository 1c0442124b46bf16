import numpy as np
import pytest
import tensorflow as tf

from tfmedcai.data.augmentation import Augmentation
from tfmedcai.data.patches import Sampling, padded, random_patches


def volumes(shapes=((12, 10, 8), (9, 14, 6)), channels=2):
    """Images that say which volume and voxel is where, and labels with a small structure in the first."""
    images, labels = [], []
    for number, shape in enumerate(shapes):
        index = np.arange(np.prod(shape)).reshape(shape) + 1
        images.append(np.stack([index, np.full(shape, number + 1)], axis=-1)[..., :channels].astype(np.float32))
        labels.append(np.zeros(shape, np.uint8))
    labels[0][8, 3, 5] = 1
    labels[0][1:3, 7:9, 0:2] = 2
    return images, labels


def epoch_of(patches):
    found = list(patches.batches.take(patches.steps))
    return [np.concatenate([np.asarray(batch[part]) for batch in found]) for part in range(2)]


def test_patches_are_pieces_of_the_volumes():
    images, labels = volumes()
    patches = random_patches(images, labels, Sampling((4, 5, 3), batch_size=3, per_volume=5), seed=0)
    assert patches.steps == 4
    sizes = [len(batch[0]) for batch in patches.batches.take(8)]
    assert sizes == [3, 3, 3, 1] * 2
    found, marks = epoch_of(patches)
    assert found.shape == (10, 4, 5, 3, 2) and found.dtype == np.float32
    assert marks.shape == (10, 4, 5, 3) and marks.dtype == np.uint8
    owners = found[:, 0, 0, 0, 1].astype(int) - 1
    assert sorted(owners) == [0] * 5 + [1] * 5
    starts = set()
    for patch, mark, owner in zip(found, marks, owners, strict=True):
        x, y, z = np.unravel_index(int(patch[0, 0, 0, 0]) - 1, labels[owner].shape)
        starts.add((owner, x, y, z))
        piece = (slice(x, x + 4), slice(y, y + 5), slice(z, z + 3))
        np.testing.assert_array_equal(patch, images[owner][piece])
        np.testing.assert_array_equal(mark, labels[owner][piece])
    assert len(starts) > 5


def test_what_is_drawn_depends_on_seed_and_epoch_alone():
    images, labels = volumes()
    sampling = Sampling((4, 5, 3), batch_size=2, per_volume=3, foreground=0.5)
    first, again, other = (random_patches(images, labels, sampling, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(epoch_of(first)[0], epoch_of(again)[0])
    assert np.any(epoch_of(first)[0] != epoch_of(other)[0])
    two = [np.concatenate([np.asarray(image) for image, _ in first.batches.take(6)])[6:]]
    resumed = random_patches(images, labels, sampling, 1, first_epoch=1)
    np.testing.assert_array_equal(two[0], epoch_of(resumed)[0])
    assert np.any(two[0] != epoch_of(first)[0])


def test_foreground_is_centred_and_each_structure_comes_as_often():
    images, labels = volumes()
    sampling = Sampling((3, 3, 3), batch_size=50, per_volume=50, foreground=1.0)
    found, marks = epoch_of(random_patches(images, labels, sampling, 0))
    first = found[:, 0, 0, 0, 1] == 1
    assert (marks[first].max(axis=(1, 2, 3)) > 0).all()
    small = (marks[first] == 1).any(axis=(1, 2, 3))
    assert 0.3 < small.mean() < 0.7
    assert (marks[first][small][:, 1, 1, 1] == 1).all()
    # The second volume has no structure: its patches come from anywhere.
    assert len(np.unique(found[~first, 0, 0, 0, 0])) > 20
    nowhere = epoch_of(random_patches(images, labels, Sampling((3, 3, 3), 50, per_volume=50), 0))[1]
    assert 0 < (nowhere > 0).any(axis=(1, 2, 3)).mean() < 0.4


def test_an_epoch_of_slices_has_each_once():
    images, labels = volumes()
    patches = random_patches(images, labels, Sampling((12, 14), batch_size=4), 0)
    found, marks = epoch_of(patches)
    assert found.shape == (14, 12, 14, 2) and marks.shape == (14, 12, 14) and patches.steps == 4
    stacked = [padded(image, (12, 14)) for image in images]
    expected = {image[:, :, z].tobytes() for image in stacked for z in range(image.shape[2])}
    assert {image.tobytes() for image in found} == expected
    assert marks.max() == 2


def test_foreground_slices_replace_others():
    images, labels = volumes()
    found, marks = epoch_of(random_patches(images, labels, Sampling((5, 5), 14, foreground=1.0), 0))
    first = found[:, 0, 0, 1] == 1
    assert (marks[first].max(axis=(1, 2)) > 0).all() and first.sum() == 8


def test_volumes_smaller_than_a_patch_are_padded():
    images, labels = volumes()
    sampling = Sampling((16, 16, 16), batch_size=2, outside=-7.0, foreground=1.0)
    found, marks = epoch_of(random_patches(images, labels, sampling, 0))
    for image, mark in zip(found, marks, strict=True):
        owner = int(image[8, 8, 8, 1]) - 1
        np.testing.assert_array_equal(image, padded(images[owner], (16, 16, 16), -7.0))
        np.testing.assert_array_equal(mark, padded(labels[owner], (16, 16, 16)))


def test_half_precision_volumes_and_augmentation():
    images, labels = volumes()
    halves = [(image / 1000).astype(np.float16) for image in images]
    sampling = Sampling((6, 6, 4), batch_size=4, per_volume=2)
    plain, _ = epoch_of(random_patches(halves, labels, sampling, 0))
    assert plain.dtype == np.float32
    turned, _ = epoch_of(random_patches(halves, labels, sampling, 0, augment=Augmentation(quarter_turns=True)))
    assert np.any(turned != plain)
    np.testing.assert_array_equal(np.sort(turned.reshape(4, -1)), np.sort(plain.reshape(4, -1)))


def test_trains_a_network_without_being_asked_for_shapes():
    images, labels = volumes()
    batches = random_patches(images, labels, Sampling((6, 6, 4), batch_size=2), 0).batches
    assert batches.element_spec[0].shape.as_list() == [None, 6, 6, 4, 2]
    assert batches.element_spec[1].dtype == tf.uint8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampling((4,)), "`size` must be 2 or 3 numbers"),
        (lambda: Sampling((4, 4), foreground=1.5), "`foreground` must be from 0 to 1"),
        (lambda: random_patches([], [], Sampling((4, 4)), 0), "must be as many, 1 or more. Received 0 and 0"),
        (lambda: random_patches(volumes()[0], volumes()[1][::-1], Sampling((4, 4)), 0), "as number 0"),
        (lambda: random_patches([np.zeros((4, 4, 4))], [np.zeros((4, 4, 4))], Sampling((4, 4)), 0), "as number 0"),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
