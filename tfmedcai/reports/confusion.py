"""What was taken for what, as a table: structures of volumes by voxels, of frames by pixels."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfmedcai.reports.document import Body, Cell, Column, Table


def confusion_table(counts: Mapping[str, np.ndarray], classes: Sequence[str]) -> Table:
    """Tabulates the confusion of classes of each network.

    Args:
        counts: network -> `(classes, classes)` counts, a row for each true class, a column for each predicted one.
        classes: their names.

    Returns:
        A table with a body for each network and a row for each true class.

    >>> confusion_table({"net": np.array([[9, 1], [0, 0]])}, ["background", "tumour"]).bodies[0].rows
    [['background', '90.0 %', '10.0 %', 10], ['tumour', '-', '-', 0]]
    """
    columns = [Column("truth"), *(Column(name, number=True, group="predicted as") for name in classes)]
    bodies = [
        Body([_row(name, row) for name, row in zip(classes, matrix, strict=True)], network)
        for network, matrix in counts.items()
    ]
    caption = (
        "What is taken for what: of all voxels (in frames: pixels) that truly belong to a class, the part predicted as "
        "each. All cases and seeds together."
    )
    return Table(caption, [*columns, Column("voxels", number=True)], bodies)


def _row(name: str, counts: np.ndarray) -> list[Cell]:
    total = int(counts.sum())
    return [name, *(f"{100 * count / total:.1f} %" if total else "-" for count in counts), total]
