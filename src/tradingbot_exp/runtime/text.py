"""Words for counts, lists, times, code and commands, as messages, pages and terminals show them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from functools import partial


def plural(number: int, noun: str, many: str = "") -> str:
    """Write a number of things: ``1 run``, ``1,234 runs``, ``2 queries``; `many` where the noun has another plural."""
    regular = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many or regular}"


def times(number: int) -> str:
    """Write how often something happened: ``once``, ``2 times``."""
    return "once" if number == 1 else f"{number:,} times"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does: ``A``, ``A and B``, ``A, B and C``; `last` stands before the last one."""
    return f" {last} ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


def at_most(words: Sequence[str], most: int, gap: str = ", ", rest: str = "more") -> str:
    """Join the first words, and count the others: ``A, B and 3 more``, or with another gap ``A; B; and 3 more``."""
    others = f"{' ' if gap == ', ' else gap}and {len(words) - most:,} {rest}" if len(words) > most else ""
    return gap.join(words[:most]) + others


def day(when: object) -> str:
    """Write a point in time without the hour where that is midnight: ``2020-01-31``, ``2020-01-31 09:30:00``."""
    return re.sub(r" 00:00:00([+-]\d\d:\d\d)?$", "", str(when).replace("T", " "))


def qualified_name(code: object) -> str:
    """Write where a class or a function is defined: ``my_desk.losses.wrong_side``.

    A `functools.partial` has the name of its function, another object that can be called that of its class.
    """
    while isinstance(code, partial):
        code = code.func
    named = code if hasattr(code, "__qualname__") else type(code)
    return f"{named.__module__}.{named.__qualname__}"


def split_command(command: str) -> list[str]:
    """Split the words of a command, or of a part of one; by spaces where its quotes are not closed."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def train_command(words: Iterable[object]) -> str:
    """Write the command that trains with such arguments, quoted for a POSIX shell."""
    return shlex.join(["python", "-m", "tradingbot_exp.train", *map(str, words)])


def own_command(*words: object) -> str:
    """Write another command of this package, quoted for a POSIX shell: ``own_command("doctor", "--fix")``."""
    return shlex.join(["python", "-m", "tradingbot_exp", *map(str, words)])


# Control characters but newline and tab, which a terminal obeys (escape sequences), and those that reverse a line.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Write the control characters of a text as ``\x1b`` does: what a terminal would obey is shown."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    r"""Write a name that somebody chose so that it stays within its line: as `printable`, newlines and tabs too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
