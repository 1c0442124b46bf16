"""Reading images between their pixels."""

from __future__ import annotations

import tensorflow as tf

INTERPOLATIONS = ("cubic", "linear")


def resample(images: tf.Tensor, points: tf.Tensor, interpolation: str = "cubic") -> tf.Tensor:
    """Reads images at points between the pixels; only the pixels around the points are touched.

    For large batches of one shape, compile the calling function (`tf.function(jit_compile=True)`): several times
    faster, because otherwise each operation walks through memory by itself.

    Args:
        images: `(batch, height, width)` of any integer or float type, fewer than 2^31 pixels in all; with a batch of
            one, that image serves all points.
        points: `(batch, n, 2)` float32: x, y in px, pixel centres at integers. Points outside the image read the
            nearest pixel of its border.
        interpolation: "cubic" (Catmull-Rom) or "linear".

    Returns:
        `(batch, n)` float32, intensities.

    Raises:
        ValueError: if the shape of `images` is wrong, they are too many, or the interpolation is unknown.

    >>> images = [[[0, 10, 20, 30], [0, 10, 20, 30]]]
    >>> resample(images, [[[1.5, 0.5], [-7.0, 0.0]]]).numpy().tolist()
    [[15.0, 0.0]]
    """
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 3 or (images.shape.num_elements() or 0) >= 2**31:
        raise ValueError(
            "`images` must have shape (batch, height, width) and fewer than 2^31 pixels. "
            f"Received shape {images.shape}. Give fewer images at a time."
        )
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"`interpolation` must be one of {INTERPOLATIONS}. Received {interpolation!r}.")
    x, y = tf.unstack(tf.cast(points, tf.float32), axis=-1)
    count, height, width = tf.unstack(tf.shape(images))
    columns = _taps(x, width, interpolation)
    rows = _taps(y, height, interpolation)
    # Fails, as it must, unless there is one image or as many as sets of points.
    image = tf.broadcast_to(tf.range(count), tf.shape(x)[:1])
    first_pixel = (image * height * width)[:, tf.newaxis]
    pixels = tf.reshape(images, [-1])
    values = tf.zeros_like(x)
    # One tap at a time: a trailing axis of four taps is slower by a factor of two to four.
    for row, row_weight in rows:
        first_in_row = first_pixel + row * width
        in_row = tf.zeros_like(values)
        for column, weight in columns:
            in_row += weight * tf.cast(tf.gather(pixels, first_in_row + column), tf.float32)
        values += row_weight * in_row
    return values


def _taps(position: tf.Tensor, size: tf.Tensor, interpolation: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Lists the pixels along one axis that a position is interpolated from, with their weights."""
    position = tf.clip_by_value(position, 0.0, tf.cast(size - 1, tf.float32))
    base = tf.floor(position)
    t = position - base
    if interpolation == "linear":
        weights = {0: 1.0 - t, 1: t}
    else:
        weights = {
            -1: t * (t * (1.0 - 0.5 * t) - 0.5),
            0: t * t * (1.5 * t - 2.5) + 1.0,
            1: t * (t * (2.0 - 1.5 * t) + 0.5),
            2: 0.5 * t * t * (t - 1.0),
        }
    pixel = tf.cast(base, tf.int32)
    # Clipped even if the position is not a number, so that no index leaves the image.
    return [(tf.clip_by_value(pixel + step, 0, size - 1), weight) for step, weight in weights.items()]
