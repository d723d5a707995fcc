"""Words for counts, lists, times and commands, as messages, pages and terminals show them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence


def plural(number: int, noun: str, many: str = "") -> str:
    """Write a number of things: ``1 run``, ``1,234 runs``, ``2 queries``; `many` where the noun has another plural."""
    regular = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many or regular}"


def times(number: int) -> str:
    """Write how often something happened: ``once``, ``2 times``."""
    return "once" if number == 1 else f"{number:,} times"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: ``A``, ``A and B``, ``A, B and C``."""
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def at_most(words: Sequence[str], most: int, gap: str = ", ", rest: str = "more") -> str:
    """Join the first words, and count the others: ``A, B and 3 more``, or with another gap ``A; B; and 3 more``."""
    others = f"{' ' if gap == ', ' else gap}and {len(words) - most:,} {rest}" if len(words) > most else ""
    return gap.join(words[:most]) + others


def day(when: object) -> str:
    """Write a point in time without the hour where that is midnight: ``2020-01-31``, ``2020-01-31 09:30:00``."""
    return str(when).replace("T", " ").removesuffix(" 00:00:00")


def train_command(words: Iterable[object]) -> str:
    """Write the command that trains with such arguments, quoted for a POSIX shell."""
    return shlex.join(["python", "-m", "tradingbot_exp.train", *map(str, words)])
