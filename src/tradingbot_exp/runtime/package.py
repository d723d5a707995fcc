"""The package as it is installed: its folder, its version, and a hash of the source that numbers come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[1]
VERSION = version("tradingbot_exp")

# Folders whose source no trial's numbers come from: what is shown, recorded, judged or done with runs that are there.
_NOT_DECIDING = (
    *("api", "callbacks", "cli", "plots", "recorded", "reporting", "runtime", "terminal", "tracking"),
    *("evaluation/significance", "hpo/results", "hpo/verdict"),
)


@lru_cache(maxsize=2)
def code_sha256(package: Path = FOLDER) -> str:
    """Hash the source that a trial's numbers may come from: all of the package but what only shows or records.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    files = [(file.relative_to(package).as_posix(), file) for file in sorted(package.rglob("*.py"))]
    left_out = tuple(f"{folder}/" for folder in _NOT_DECIDING)
    return source_sha256((name, file) for name, file in files if not name.startswith(left_out))


def source_sha256(files: Iterable[tuple[str, Path]]) -> str:
    """Hash files, each with the name that it counts by, in their order.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
