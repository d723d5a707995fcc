"""Words for counts and lists, as messages, pages and terminals show them."""

from __future__ import annotations

from collections.abc import Sequence


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does: ``A``, ``A and B``, ``A, B and C``."""
    return f" {last} ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def times(number: int) -> str:
    """Write how often something happened: ``once``, ``2 times``."""
    return "once" if number == 1 else f"{number:,} times"
