"""Whether a file may be written over: an earlier output may, a user's data or a store may not."""

from __future__ import annotations

from pathlib import Path


def holds_other(path: Path, *beginnings: str) -> bool:
    """Return whether a file is there, holds something, and begins with none of `beginnings` (in any case)."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(256).lower()
    return bool(head) and not head.startswith(tuple(each.lower().encode() for each in beginnings))
