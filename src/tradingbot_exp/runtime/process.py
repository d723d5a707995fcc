"""Which process works on a trial, and whether it is still there."""

from __future__ import annotations

import getpass
import os
import platform
import time
from collections.abc import Mapping

import psutil

# A trial on another machine counts as alive for this long after its last sign of life, in seconds.
SILENCE = 120.0
_SAME_START = 2.0


def identity() -> dict[str, str]:
    """Name this process: host, pid and start time, as tags of a run or attributes of a trial."""
    return {
        "process.host": platform.node().replace(" ", "-"),
        "process.pid": str(os.getpid()),
        "process.started": f"{psutil.Process().create_time():.2f}",
    }


def signature() -> dict[str, str]:
    """Return `identity` with the present time as a sign of life."""
    return {**identity(), "process.heartbeat": f"{time.time():.0f}"}


def is_alive(owner: Mapping[str, str]) -> bool:
    """Return whether the process that `identity` named is there; on another host, whether it was heard of lately.

    Parameters
    ----------
    owner : mapping
        From `identity`; ``process.heartbeat`` (seconds since 1970) may be added.
    """
    if owner.get("process.host") != identity()["process.host"]:
        return time.time() - float(owner.get("process.heartbeat") or 0.0) < SILENCE
    try:
        process = psutil.Process(int(owner["process.pid"]))
        started = float(owner["process.started"])
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < _SAME_START)
    except (psutil.Error, KeyError, ValueError):
        return False


def user_name() -> str:
    """Return the name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
