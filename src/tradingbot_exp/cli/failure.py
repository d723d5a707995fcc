"""What a command says, in one line, about an error that this package did not raise on purpose."""

from __future__ import annotations

import os
import traceback
from pathlib import Path


def in_one_line(error: Exception) -> str:
    """Say what went wrong, and of what, as far as the error tells."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) and error.strerror and error.filename:
        path = Path(os.fsdecode(error.filename))
        if not path.is_absolute() and frames and frames[-1].name == "mkdir":  # only Hydra makes such folders
            return (
                f"the folder {path} cannot be made in {Path.cwd()}: {error.strerror}. Start the command in a folder "
                "that can be written to, or name another place with hydra.run.dir=FOLDER (with --multirun: "
                "hydra.sweep.dir=FOLDER)."
            )
        return f"{error.strerror}: {path}"
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
