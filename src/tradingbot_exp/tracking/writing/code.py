"""Which source of this package the numbers of a run come from, as a hash."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import tradingbot_exp

# Source that no trial's numbers come from: what is shown, recorded or typed.
_NOT_DECIDING = (
    *("commands", "reporting", "reproduction", "tracking", "cli.py", "__main__.py", "callbacks.py", "notebook.py"),
    *("console.py", "loaded_run.py", "summary.py", "prediction.py", "data/incoming.py", "config/own_conf.py"),
    *("failure.py", "overwriting.py", "resuming.py", "hydra_job.py", "memory.py"),
    *("opening.py", "opening_subject.py", "opening_table.py"),
    *("config/help.py", "hpo/outlook.py", "hpo/display.py", "hpo/results.py", "training/progress.py"),
    *("hpo/bars.py", "hpo/matrices.py", "hpo/reseeding.py", "hpo/null_replay.py"),
    *("hpo/judgement.py", "hpo/judgement_words.py"),
)


@lru_cache(maxsize=2)
def code_sha256(package: Path = Path(tradingbot_exp.__file__).parent) -> str:
    """Hash the source that a trial's numbers may come from: all of the package but what only shows or records.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if not any(name == part or name.startswith(f"{part}/") for part in _NOT_DECIDING):
            digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
