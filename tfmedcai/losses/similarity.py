"""How unlike two images are, for registration: normalised cross-correlation of grey values, gradients and patches.

All are costs for `(batch,)` pairs of images, in the precision of `moving`. For many pairs of one size, compile the
calling function (`tf.function(jit_compile=True)`): a gradient then takes a fourth of the time.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Smallest standard deviation of a patch's gradients: what varies less shows nothing.
_LEAST = 1e-6


def ncc(moving: tf.Tensor, fixed: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Computes one less the normalised cross-correlation of grey values.

    Args:
        moving: `(batch, rows, columns)` or `(batch, rows, columns, 1)` float.
        fixed: of the same shape; a batch of one meets all images of the other side.
        mask: as an image, of bool or 0 and 1: which pixels count; a batch of one serves all. None for all.

    Returns:
        `(batch,)` float: 0 for images that differ in brightness and contrast alone, up to 2 for the negative. 1, and a
        gradient of 0, where one of them is constant.

    Raises:
        ValueError: if the shapes do not fit.

    >>> ncc([[[0.0, 1.0], [2.0, 3.0]]], [[[5.0, 7.0], [9.0, 11.0]]]).numpy().round(6).tolist()
    [0.0]
    """
    moving, fixed, mask = _images(moving, fixed, mask)
    return 1 - _correlation(moving, fixed, mask)


def gradient_ncc(moving: tf.Tensor, fixed: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Computes one less the mean of the normalised cross-correlations of gradients along x and along y (Sobel).

    Args:
        moving: as in `ncc`.
        fixed: as in `ncc`.
        mask: as in `ncc`; a gradient counts if all pixels that it is taken from do.

    Returns:
        `(batch,)` float, as `ncc`.

    Raises:
        ValueError: if the shapes do not fit.

    Reference:
        Gao et al., ProST, MICCAI 2020. Its program divides otherwise: `compat_gradient_ncc`.
    """
    moving, fixed, mask = _images(moving, fixed, mask)
    seen = None if mask is None else _all_seen(mask, reach=1)
    pairs = zip(_sobel(_bordered(moving, 1)), _sobel(_bordered(fixed, 1)), strict=True)
    return 1 - tf.add_n([_correlation(a, b, seen) for a, b in pairs]) / 2


def compat_ncc(moving: tf.Tensor, fixed: tf.Tensor) -> tf.Tensor:
    """Computes what the program of ProST calls the cross-correlation, to compare with it: 1 - sum(a b) / sum(|a b|).

    Args:
        moving: as in `ncc`.
        fixed: as in `ncc`.

    Returns:
        `(batch,)` float, 0 to 2.

    Raises:
        ValueError: if the shapes do not fit.
    """
    return _compat(*_images(moving, fixed, None)[:2])


def compat_gradient_ncc(moving: tf.Tensor, fixed: tf.Tensor) -> tf.Tensor:
    """Computes the mean of `compat_ncc` of gradients along x and along y, with zeros around the images.

    Args:
        moving: as in `ncc`.
        fixed: as in `ncc`.

    Returns:
        `(batch,)` float, 0 to 2.

    Raises:
        ValueError: if the shapes do not fit.
    """
    moving, fixed = (tf.pad(image, [(1, 1), (1, 1), (0, 0)]) for image in _images(moving, fixed, None)[:2])
    return tf.add_n([_compat(a, b) for a, b in zip(_sobel(moving), _sobel(fixed), strict=True)]) / 2


def patch_gradient_ncc(
    moving: tf.Tensor, fixed: tf.Tensor, mask: tf.Tensor | None = None, radius: int = 5
) -> tf.Tensor:
    """Computes one less the mean correlation of gradients in all patches inside the images.

    Made for searches without derivatives. It has one, but as steep as a million where the moving image shows next to
    nothing.

    Args:
        moving: as in `ncc`.
        fixed: as in `ncc`.
        mask: as in `ncc`; a patch counts if all pixels that it is computed from do. Without a patch the cost is 1.
        radius: of the square patches in px; their side is twice that and one. The published 41 px of a detector of 1536
            px make 5 at an eighth of its size and 10 at a fourth.

    Returns:
        `(batch,)` float: 1 / pixels of a patch for images alike, 1 where one of them shows nothing, up to 2.

    Raises:
        ValueError: if the shapes do not fit, or no patch does.

    Reference:
        Grupp et al., Patch-based image similarity for pelvis registration, OR 2.0 2018; with the numbers of
        the program xReg: blur by 1 4 6 4 1, Sobel, patches around every pixel, standard deviations with n - 1 and
        not below 1e-6, though the mean product is of n.
    """
    moving, fixed, mask = _images(moving, fixed, mask)
    side = 2 * radius + 1
    if radius < 1 or any(size is not None and size < side for size in moving.shape[:2]):
        raise ValueError(
            f"`radius` must be 1 px or more, with twice that and one at most the size of the images. "
            f"Received {radius} for {tuple(moving.shape[:2])} px."
        )
    pairs = zip(*(_sobel(_bordered(_blurred(image), 1)) for image in (moving, fixed)), strict=True)
    alike = tf.add_n([_patch_correlation(a, b, side) for a, b in pairs]) / 2
    if mask is None:
        return 1 - _mean(alike)
    seen = _all_seen(mask, reach=3, radius=radius)
    return 1 - tf.math.divide_no_nan(_mean(seen * alike), _mean(seen))


def _images(
    moving: tf.Tensor, fixed: tf.Tensor, mask: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Returns images and mask as (rows, columns, batch): many times as fast to add up windows of."""
    moving = tf.convert_to_tensor(moving)
    given = [tf.cast(image, moving.dtype) for image in (moving, fixed, mask) if image is not None]
    images = [image[..., 0] if image.shape.rank == 4 and image.shape[3] == 1 else image for image in given]
    if any(image.shape.rank != 3 or not image.shape[1:].is_compatible_with(images[0].shape[1:]) for image in images):
        raise ValueError(
            "`moving`, `fixed` and `mask` must have the shape (batch, rows, columns), maybe with a last axis of 1. "
            f"Received {', '.join(str(image.shape) for image in given)}."
        )
    images = [tf.transpose(image, (1, 2, 0)) for image in images]
    return images[0], images[1], images[2] if mask is not None else None


def _correlation(a: tf.Tensor, b: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Correlates images (rows, columns, batch), with weights of 0 and 1; 0 if one of them is constant."""

    def mean(image: tf.Tensor) -> tf.Tensor:
        return _mean(image) if weights is None else tf.math.divide_no_nan(_mean(weights * image), _mean(weights))

    rounding = 10 * np.finfo(a.dtype.name).eps
    deviations, variances, varies = [], [], True
    for image in (a, b):
        deviations.append(image - mean(image))
        variances.append(mean(deviations[-1] ** 2))
        # What differs from the mean by rounding alone is constant.
        varies &= variances[-1] > rounding**2 * mean(image**2)
    # The roots see what they can bear, since the derivative of what is not chosen must be finite as well.
    roots = [tf.sqrt(tf.where(varies, variance, tf.ones_like(variance))) for variance in variances]
    correlation = mean(deviations[0] * deviations[1]) / (roots[0] * roots[1])
    return tf.where(varies, correlation, tf.zeros_like(correlation))


def _compat(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    a, b = (image - _mean(image) for image in (a, b))
    return 1 - _mean(a * b) / _mean(tf.sqrt((a * b) ** 2 + 1e-10))


def _mean(image: tf.Tensor) -> tf.Tensor:
    """Averages images (rows, columns, batch), first down, then across: in one go single precision loses two digits."""
    return tf.reduce_mean(tf.reduce_mean(image, axis=0), axis=0)


def _patch_correlation(a: tf.Tensor, b: tf.Tensor, side: int) -> tf.Tensor:
    """Correlates all patches inside images; (rows - side + 1, columns - side + 1, batch)."""
    rounding = 100 * np.finfo(a.dtype.name).eps
    kinds = [a, b, a**2, b**2, a * b]
    # All at once, and three of nothing: pooling takes a fourth of the time for eight images of that for five in turn.
    together = tf.pad(tf.concat(kinds, axis=-1), [(0, 0), (0, 0), (0, 3)])
    sizes = [*(tf.shape(kind)[-1] for kind in kinds), 3]
    means = tf.split(_patch_means(together, side), tf.stack(sizes), axis=-1, num=len(sizes))
    deviations = []
    for mean, squares in ((means[0], means[2]), (means[1], means[3])):
        variance = (squares - mean**2) * side**2 / (side**2 - 1)
        # In a patch of one slope the difference is rounding, which must not pass for structure.
        deviations.append(tf.sqrt(tf.maximum(tf.maximum(variance, _LEAST**2), rounding * squares)))
    return (means[4] - means[0] * means[1]) / (deviations[0] * deviations[1])


def _patch_means(image: tf.Tensor, side: int) -> tf.Tensor:
    """Returns the means of all patches inside images (rows, columns, batch), first down, then across.

    Differences of cumulative sums would cost less, and lose the digits of small values that lie beside large ones.
    """
    down = tf.nn.avg_pool2d(image[tf.newaxis], (side, 1), 1, "VALID")
    return tf.nn.avg_pool2d(down, (1, side), 1, "VALID")[0]


def _all_seen(mask: tf.Tensor, reach: int, radius: int = 0) -> tf.Tensor:
    """Is 1 for the pixels, or patches of a radius, for which the mask holds wherever they reach, else 0."""
    side = 2 * (reach + radius) + 1
    return tf.cast(_patch_means(_bordered(mask, reach), side) > 1 - 0.5 / side**2, mask.dtype)


def _sobel(image: tf.Tensor) -> list[tf.Tensor]:
    """Computes gradients along x and y, one pixel inside the border."""
    gradients = []
    for along, across in ((1, 0), (0, 1)):
        smooth = _sums(_sums(image, across), across)
        gradients.append(_cut(smooth, along, 2, 0) - _cut(smooth, along, 0, 2))
    return gradients


def _blurred(image: tf.Tensor) -> tf.Tensor:
    """Blurs by 1 4 6 4 1 along both axes."""
    image = _bordered(image, 2)
    for axis in 4 * (0, 1):
        image = _sums(image, axis)
    return image / 256


def _bordered(image: tf.Tensor, width: int) -> tf.Tensor:
    """Puts a border around images that mirrors them at their outermost pixels."""
    return tf.pad(image, [(width, width), (width, width), (0, 0)], "REFLECT")


def _sums(image: tf.Tensor, axis: int) -> tf.Tensor:
    """Adds neighbours along an axis."""
    return _cut(image, axis, 0, 1) + _cut(image, axis, 1, 0)


def _cut(image: tf.Tensor, axis: int, first: int, last: int) -> tf.Tensor:
    """Leaves out so many pixels at the beginning and the end of an axis."""
    kept = slice(first, -last or None)
    return image[kept] if axis == 0 else image[:, kept]
