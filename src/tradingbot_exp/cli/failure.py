"""What a command says, in one line, about an error that this package did not raise on purpose."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from tradingbot_exp.terminal.output import say

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The environment variable that asks for whole tracebacks, as Hydra has it."""


def tell(error: Exception, message: str, *, is_expected: bool, traceback_wanted: bool) -> None:
    """Say what went wrong on standard error; of what is not expected, how to see where."""
    if traceback_wanted:
        say("".join(traceback.format_exception(error)), error=True)
    say(f"Error: {message.rstrip()}\n", error=True)
    if not is_expected and not traceback_wanted:
        say(f"Set {FULL_ERROR}=1 for the whole traceback.\n", error=True)


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
