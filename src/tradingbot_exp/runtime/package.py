"""The package as it is installed: its folder, its version, and a hash of the source that numbers come from."""

from __future__ import annotations

import hashlib
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
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if not any(name.startswith(f"{folder}/") for folder in _NOT_DECIDING):
            digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
