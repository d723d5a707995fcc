"""Text for a terminal or a pipe: wrapped lines, and values that may not be there."""

from __future__ import annotations

import shutil
import textwrap

# Narrower is unreadable; a pipe has no width, and gets 100.
_NARROWEST, _PIPED = 40, 100

WIDTH = 110
"""Letters of a line into which long sentences are broken."""


def width() -> int:
    """Return the columns of the terminal (or of COLUMNS), 100 without one."""
    return max(_NARROWEST, shutil.get_terminal_size((_PIPED, 24)).columns)


def wrapped_line(label: str, text: str, indent: int = 2, column: int = 12) -> str:
    """Write ``label  text`` with the text in a column of its own, wrapped; words are never cut."""
    head = f"{'':{indent}}{label:<{column - indent}}"
    head += " " * (len(head) > column or bool(label and not head.endswith(" ")))
    return textwrap.fill(
        text,
        width(),
        initial_indent=head,
        subsequent_indent=" " * column,
        break_long_words=False,
        break_on_hyphens=False,
    )


def value(text: str | None) -> str:
    """Write a value that may not be there."""
    return "not there" if text is None else text if text else "''"
