"""What a report consists of, before it is laid out: sections of paragraphs, tables, figures and facts.

Three modules build a `Page` from records; ``templates/report.html.j2`` lays any page out, and decides nothing.
All text is plain: what looks like markup is shown as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import plotly.graph_objects as go

Tone = Literal["plain", "good", "bad", "warning", "muted"]


@dataclass(frozen=True)
class Cell:
    """One value of a table or a fact.

    Attributes
    ----------
    text : str
        As it is shown: with its unit, and as many digits as make sense.
    sort : float, str or None
        What a table is sorted by; None sorts last. The text by default.
    href : str or None
        Where it leads: ``#id`` in this page, or an address of the tracking server.
    tone : Tone
    """

    text: str
    sort: float | str | None = None
    href: str | None = None
    tone: Tone = "plain"


@dataclass(frozen=True)
class Paragraph:
    """A sentence or a few."""

    block: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Notice:
    """A sentence that must not be missed: what failed, is missing, or cannot be compared."""

    block: ClassVar[str] = "notice"
    text: str
    tone: Tone = "warning"


@dataclass(frozen=True)
class Tiles:
    """The few numbers that a reader looks for first: label, value, and a line of context below."""

    block: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Tile:
    """One of `Tiles`."""

    label: str
    value: str
    context: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and their values, one below the other."""

    block: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, Cell]]


@dataclass(frozen=True)
class Column:
    """A table's column; numbers stand to the right."""

    name: str
    numeric: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells, as many as there are columns.

    Attributes
    ----------
    caption : str
        What the table holds; read aloud by screen readers, shown above it.
    columns : sequence of Column
    rows : sequence of sequences of Cell
    sortable, filterable : bool
        Whether a click on a column's head sorts, and a field above filters by text.
    row_header : bool
        Whether each row's first cell names the row.
    """

    block: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    filterable: bool = False
    row_header: bool = True


@dataclass(frozen=True, eq=False)
class Figure:
    """A Plotly figure, with a sentence that says in words what can be seen in it."""

    block: ClassVar[str] = "figure"
    figure: go.Figure
    description: str


@dataclass(frozen=True)
class Code:
    """Text to be copied, such as a command."""

    block: ClassVar[str] = "code"
    text: str
    label: str = ""


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away until the reader wants them; unfolded on paper."""

    block: ClassVar[str] = "details"
    summary: str
    blocks: Sequence[Block]


Block = Paragraph | Notice | Tiles | Facts | Table | Figure | Code | Details


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading and a place in the table of contents; `anchor` is its id in the page."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes
    ----------
    title : str
        Also the browser's.
    kind : str
        ``Training report``, ``Study report`` or ``Comparison``.
    facts : sequence of (str, Cell)
        The line below the title: status, time, duration.
    sections : sequence of Section
    made : str
        When and by which version the report was made: its last line.
    """

    title: str
    kind: str
    facts: Sequence[tuple[str, Cell]]
    sections: Sequence[Section]
    made: str
