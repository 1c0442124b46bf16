"""How well a predicted segmentation agrees with the true one: overlap and surface, by case and structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfmedcai.metrics.surface import bounding_box, surface_distances

METRICS = ("dice", "surface_dice", "hd95_mm", "assd_mm")
Row = dict[str, Any]


def dice(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Measures the overlap of two masks: twice the common part over the sum of both.

    Args:
        prediction: any shape, non-zero inside.
        truth: of the same shape.

    Returns:
        From 0 to 1; NaN if both masks are empty.

    Raises:
        ValueError: if the shapes differ.

    >>> dice([1, 1, 0, 0], [0, 1, 1, 1])
    0.4
    """
    common, predicted, true = _counts(prediction, truth)
    return 2 * common / (predicted + true) if predicted + true else float("nan")


def precision_and_recall(prediction: ArrayLike, truth: ArrayLike) -> tuple[float, float]:
    """Measures which part of what is predicted is true, and which part of what is true is predicted.

    Args:
        prediction: any shape, non-zero inside.
        truth: of the same shape.

    Returns:
        Each from 0 to 1; NaN where nothing is predicted, or nothing is there.

    Raises:
        ValueError: if the shapes differ.

    >>> precision_and_recall([1, 1, 0, 0], [0, 1, 1, 1])
    (0.5, 0.3333333333333333)
    """
    common, predicted, true = _counts(prediction, truth)
    return common / predicted if predicted else float("nan"), common / true if true else float("nan")


def confusion(prediction: ArrayLike, truth: ArrayLike, classes: int) -> np.ndarray:
    """Counts how often each class is taken for each other.

    Args:
        prediction: any shape, integers from 0 to `classes` - 1.
        truth: of the same shape.
        classes: number of classes, the background among them.

    Returns:
        `(classes, classes)` int: a row for each true class, a column for each predicted one.

    >>> confusion([0, 1, 1], [0, 1, 0], 2).tolist()
    [[1, 1], [0, 1]]
    """
    predicted, true = (np.asarray(labels).ravel().astype(np.int64) for labels in (prediction, truth))
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)


def _counts(prediction: ArrayLike, truth: ArrayLike) -> tuple[int, int, int]:
    first, second = (np.asarray(mask) != 0 for mask in (prediction, truth))
    if first.shape != second.shape:
        raise ValueError(
            f"`prediction` and `truth` must have the same shape. Received {first.shape} and {second.shape}: "
            "bring both onto one grid."
        )
    return int(np.count_nonzero(first & second)), int(np.count_nonzero(first)), int(np.count_nonzero(second))


def mask_metrics(
    prediction: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float],
    tolerance_mm: float = 2.0,
    convention: str = "subvoxel",
) -> dict[str, float]:
    """Measures one structure of one case.

    A structure that is in neither mask cannot be judged: all values are NaN, which a summary leaves out. One
    that is in one mask only is missed or invented: Dice and surface Dice are 0, the distances are inf.

    Args:
        prediction: `(x, y)` or `(x, y, z)`, non-zero inside.
        truth: of the same shape.
        spacing: mm between voxels, one number an axis.
        tolerance_mm: distance that the surface Dice forgives.
        convention: where the surface lies, "subvoxel" or "border"; see `surface_distances`.

    Returns:
        "dice" and "surface_dice" from 0 to 1; "hd95_mm", the 95th percentile of the Hausdorff distance; "assd_mm",
        the average symmetric surface distance.

    Raises:
        ValueError: if shapes, spacing, tolerance or convention are wrong.

    Reference:
        MB-NAS, Table 1.
    """
    if tolerance_mm < 0:
        raise ValueError(f"`tolerance_mm` must be 0 mm or more. Received {tolerance_mm}.")
    surfaces = surface_distances(prediction, truth, spacing, convention)
    return {
        "dice": dice(prediction, truth),
        "surface_dice": surfaces.dice(tolerance_mm),
        "hd95_mm": surfaces.hausdorff(95),
        "assd_mm": surfaces.average(),
    }


def structure_table(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    structures: Mapping[str, int | Sequence[int]],
    tolerance_mm: float = 2.0,
    convention: str = "subvoxel",
) -> list[Row]:
    """Measures every structure of one case.

    Args:
        prediction: `(x, y)` or `(x, y, z)` integer labels, 0 or more.
        truth: of the same shape.
        spacing: mm between voxels, one number an axis.
        structures: name -> label, or several labels that make up the structure together.
        tolerance_mm: distance that the surface Dice forgives.
        convention: where the surface lies, "subvoxel" or "border".

    Returns:
        One row a structure: "structure", what `mask_metrics` returns, and "predicted_voxels" and "true_voxels".

    Raises:
        ValueError: if an argument is wrong, or a structure has a label below 1.

    >>> truth = np.array([[0, 1, 1], [0, 2, 2]])
    >>> rows = structure_table(truth, truth, (1.0, 1.0), {"whole": (1, 2), "core": 2})
    >>> [(row["structure"], row["dice"], row["true_voxels"]) for row in rows]
    [('whole', 1.0, 4), ('core', 1.0, 2)]
    """
    labels = [np.asarray(prediction), np.asarray(truth)]
    if labels[0].shape != labels[1].shape or any(label.dtype.kind not in "uib" for label in labels):
        raise ValueError(
            "`prediction` and `truth` must be integer labels of the same shape. "
            f"Received {labels[0].dtype} {labels[0].shape} and {labels[1].dtype} {labels[1].shape}."
        )
    # Outside of the box both are background.
    box = bounding_box((labels[0] != 0) | (labels[1] != 0)) or (slice(0, 1),) * labels[0].ndim
    labels = [label[box] for label in labels]
    most = max(int(label.max()) for label in labels)
    rows = []
    for name, chosen in structures.items():
        chosen = np.atleast_1d(chosen)
        if chosen.min() < 1:
            raise ValueError(f"`structures[{name!r}]` must be labels from 1 on. Received {chosen.tolist()}.")
        belongs = np.zeros(max(most, int(chosen.max())) + 1, bool)
        belongs[chosen] = True
        predicted, true = (belongs[label] for label in labels)
        measured = mask_metrics(predicted, true, spacing, tolerance_mm, convention)
        voxels = {"predicted_voxels": int(np.count_nonzero(predicted)), "true_voxels": int(np.count_nonzero(true))}
        rows.append({"structure": name, **measured, **voxels})
    return rows
