"""Reports as HTML pages that stand alone: no network, no server, and plotly.js packed inside."""

from __future__ import annotations

import html
import math
import secrets
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup, escape

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.plots.html import templates
from tradingbot_exp.reporting.page.page import Block, Cell, Details, Figure, Page, Tone

FIGURE_PX = 440
"""Height of a figure in a report that has none of its own."""
_WORD, _LONG = 12, 60
"""Characters up to which a cell's text, such as a date, stays in one line, and from which it is given room."""
_TONE_WORDS: dict[Tone, str] = {
    "plain": "Note",
    "good": "Good",
    "bad": "Problem",
    "warning": "Caution",
    "muted": "Note",
}


def page_html(page: Page) -> str:
    """Write a report as one HTML page that opens from a disk.

    Returns
    -------
    str
        About 2 MB and its figures; without figures it comes without plotly.js. Its content security policy forbids
        every request, and all text is escaped.
    """
    figures = any(isinstance(block, Figure) for section in page.sections for block in _walk(section.blocks))
    return _templates().get_template("report.html.j2").render(page=page, figures=figures)


def write_page(page: Page, path: Path) -> Path:
    """Write `page_html` to a file, whose folder is made if need be: the whole of it, or nothing.

    Raises
    ------
    OSError
        It cannot be written. A file that was there before is as it was.
    """
    text = page_html(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # a folder, which fails, or a device, which is not to be replaced
        path.write_text(text, encoding="utf-8", errors="replace")
        return path
    target = path.resolve()
    half = target.with_name(f".report-{secrets.token_hex(6)}.tmp")
    try:
        half.write_text(text, encoding="utf-8", errors="replace")  # half a surrogate pair is no character
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
    return path


def _walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks, and those folded away in them."""
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from _walk(block.blocks)


def _attributes(cell: Cell, numeric: bool = False) -> Markup:
    """Write the classes of a cell's element, and what its column is sorted by where that is not the text."""
    size = len(cell.text)
    looks = ["number"] if numeric else []
    looks += ["word"] if size <= _WORD else ["long"] if size > _LONG else []
    if cell.tone != "plain":
        looks.append(cell.tone)
    written = Markup(' class="{}"').format(" ".join(looks)) if looks else Markup("")
    if cell.sort is not None:
        written += Markup(' data-sort="{}"').format(_sort_text(cell.sort))
    return written


def _sort_text(value: float | str) -> str:
    """Write a number as JavaScript reads it, with all its digits; NaN as nothing, which sorts last."""
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return repr(float(value))


def _masked(value: object) -> object:
    """Mask secrets in a text that goes into a page, which others may have recorded; not in what is HTML already."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _content(cell: Cell) -> Markup:
    """Write a cell's text, as a link where it leads into this page or to a website, and nowhere else."""
    if cell.href is not None and cell.href.startswith(("#", "http://", "https://")):
        return Markup('<a href="{}" rel="noreferrer">{}</a>').format(cell.href, redact(cell.text))
    return escape(redact(cell.text))


@lru_cache(maxsize=1)
def _templates() -> Environment:
    """Return the templates of reports, with what these call."""
    environment = templates("tradingbot_exp.reporting")
    environment.finalize = _masked
    environment.filters |= {
        "attributes": _attributes,
        "content": _content,
        "tone_word": _TONE_WORDS.__getitem__,
        "figure_title": lambda fig: html.unescape(fig.layout.title.text or "Figure"),
        "figure_subtitle": lambda fig: html.unescape(fig.layout.title.subtitle.text or ""),
        "figure_height": lambda fig: fig.layout.height or FIGURE_PX,
    }
    return environment
