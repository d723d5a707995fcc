"""Whether a file may be written over: an earlier output of the same kind may, by its mark; a user's own may not."""

from __future__ import annotations

import re
from pathlib import Path


def holds_other(path: Path, *marks: str) -> bool:
    """Return whether a file is there, holds something, and begins like none of `marks`, regular expressions."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(512).decode("utf-8", "replace")
    return bool(head) and not any(re.match(mark, head) for mark in marks)
