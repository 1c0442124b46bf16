import numpy as np

from tfmedcai.simulators.organ_anatomy import AIR, BONE, FAT, Grid, smooth_field, tissues


def places(grid):
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(*grid, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def test_smooth_fields_are_smooth_and_of_unit_spread():
    grid = Grid((60, 50, 40), (2.0, 2.0, 4.0))
    fields = np.stack([smooth_field(np.random.default_rng(seed), grid, 15.0) for seed in range(5)])
    assert fields.shape[1:] == grid.size and fields.dtype == np.float32
    assert abs(fields.mean()) < 0.1 and 0.8 < fields.std() < 1.2
    steps = [np.diff(fields, axis=axis + 1).std() / grid.spacing[axis] for axis in range(3)]
    # As smooth along z, whose voxels are longer, as along x; and no step where cells of the coarse grid meet.
    assert 0.7 < steps[0] / steps[2] < 1.4
    assert np.abs(np.diff(fields, axis=1)).max() < 12 * np.abs(np.diff(fields, axis=1)).mean()


def test_the_body_lies_in_air_and_organs_lie_in_the_body():
    grid = Grid((64, 52, 32), (5.2, 5.0, 6.0))
    tissue = tissues(np.random.default_rng(0), grid, places(grid), 1.0)
    assert (tissue[0] == AIR).all() and (tissue[:, 0] == AIR).all() and tissue[32, 26, 16] != AIR
    organs = tissue < AIR
    skin = np.zeros_like(organs)
    for axis in range(2):
        for shift in (-1, 1):
            skin |= np.roll(tissue == AIR, shift, axis=axis)
    assert not (organs & skin).any()
    assert {FAT, BONE} <= set(np.unique(tissue))


def test_left_and_right_are_not_exchanged():
    grid = Grid((64, 52, 32), (5.2, 5.0, 6.0))
    tissue = tissues(np.random.default_rng(1), grid, places(grid), 1.0)
    right = {organ: places(grid)[0][tissue == organ].mean() for organ in (1, 2, 4)}
    assert right[1] < -60 < right[4] < 0 < 20 < right[2]
