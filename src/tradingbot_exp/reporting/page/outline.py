"""A report as an ordered list of sections: each has an anchor, a heading, and the topics whose blocks it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from tradingbot_exp.plots.numbers import moment
from tradingbot_exp.reporting.page.page import Block, Cell, Page, Section
from tradingbot_exp.runtime.package import VERSION

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """A section of every report of one kind.

    Attributes
    ----------
    anchor, title : str
        Its id in the page, and its heading.
    topics : tuple of callable
        From what the report is about to blocks, in their order. A section without blocks is left out.
    """

    anchor: str
    title: str
    topics: tuple[Callable[[T], Sequence[Block]], ...]


def page_of(subject: T, parts: Sequence[Part[T]], title: str, kind: str, facts: Sequence[tuple[str, Cell]]) -> Page:
    """Build the report of a subject: its sections in their order, and when and by what it was made."""
    sections = [
        Section(part.anchor, part.title, [b for topic in part.topics for b in topic(subject)]) for part in parts
    ]
    made = f"Made {moment(datetime.now(UTC))} by tradingbot_exp {VERSION}"
    return Page(title, kind, facts, [section for section in sections if section.blocks], made)
