"""The parts of a report: a title, sections, and in them paragraphs, facts, tables, pictures and preformatted text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure

Cell = str | int | float | None


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of plain text, and after it what to type and where to look then."""

    text: str
    code: str = ""
    link: str = ""
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Facts:
    """Names and values, the first thing that a reader looks at; `code` names the facts in typewriter type."""

    items: Sequence[tuple[str, str]]
    code: Sequence[str] = ()
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Column:
    """A column of a table; columns of equal, adjacent `group` share a heading above theirs."""

    name: str
    number: bool = False  # right-aligned, sorted by value
    choices: bool = False  # few different values: the reader may choose one
    group: str = ""
    digits: str = ""  # format of its floats, "" for 4 significant digits


@dataclass(frozen=True)
class Body:
    """Rows of a table under a common heading ("" for none)."""

    rows: Sequence[Sequence[Cell]]
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table; its first column names the row unless `row_header` says another."""

    caption: str
    columns: Sequence[Column]
    bodies: Sequence[Body]
    row_header: int = 0
    interactive: bool = False  # sorts and filters
    kind: ClassVar[str] = "table"

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above the columns as (text, number of columns); empty if no column has a group."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans if any(text for text, _ in spans) else []


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, and with words for those who cannot see it."""

    figure: Figure
    caption: str
    alt: str
    bitmap: bool = False  # PNG, for photographs and X-rays; else SVG
    paper: bool = False  # on white in dark mode too, for drawings that choose their own colours
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Stack:
    """Pictures of one size that a slider goes through, slices of a volume say; where no script runs, one of them."""

    images: Sequence[np.ndarray]  # (height, width, 3) uint8
    labels: Sequence[str]  # what each shows, beside the slider
    caption: str
    alt: str
    start: int = 0  # which is shown first
    kind: ClassVar[str] = "stack"


@dataclass(frozen=True)
class Pictures:
    """Figures side by side where the window is wide enough."""

    items: Sequence[Picture | Stack]
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Preformatted:
    """Text as it stands in a file, closed until the reader opens it."""

    title: str
    text: str
    kind: ClassVar[str] = "preformatted"


Part = Paragraph | Facts | Table | Pictures | Preformatted


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Report:
    """A whole report; `lead` is the sentence under the title."""

    title: str
    sections: Sequence[Section] = field(default_factory=tuple)
    lead: str = ""
    language: str = "en"


def cell_text(cell: Cell, digits: str = "") -> str:
    """Returns a cell as text: a few digits of a number, `-` for what is not there.

    >>> cell_text(2.71828), cell_text(51000), cell_text(None), cell_text(0.5, ".2f")
    ('2.718', '51,000', '-', '0.50')
    """
    if cell is None or cell != cell:  # NaN is the value that differs from itself
        return "-"
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    return format(cell, digits or ".4g")
