"""Which process works on a trial, and whether it is still there."""

from __future__ import annotations

import getpass
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

# A trial on another machine counts as alive for this long after its last sign of life, in seconds.
SILENCE = 120.0
_SAME_START = 2.0
# By process, its newest sign of life that was seen here, and when that was given, by `time.monotonic`.
_signs: dict[tuple[str, str, str], tuple[float, float]] = {}


def identity(pid: int | None = None) -> dict[str, str]:
    """Name a process of this machine, as tags of a run or attributes of a trial: host, pid, and when it started.

    That is said in seconds since 1970, and where there is ``/proc`` in ticks since the machine started too, with the id
    of that start: a step of the clock changes the one, not the other.

    Parameters
    ----------
    pid : int, optional
        This process if not given.
    """
    pid = os.getpid() if pid is None else pid
    start = _start(pid)
    return {
        "process.host": platform.node().replace(" ", "-"),
        "process.pid": str(pid),
        "process.started": f"{psutil.Process(pid).create_time():.2f}",
        **({} if start is None else {"process.boot": start}),
    }


def _start(pid: int) -> str | None:
    """Return the id of the machine's start, and the ticks from there to a process's; None without ``/proc``."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # proc(5), /proc/pid/stat: the 22nd field; the 2nd is a name in brackets, of any characters.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{boot}/{int(fields[19])}"
    except (OSError, ValueError, IndexError):
        return None


def signature() -> dict[str, str]:
    """Return `identity` with the present time as a sign of life."""
    return {**identity(), "process.heartbeat": f"{time.time():.0f}"}


def owner_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that name the process of a run; empty for a run of another program."""
    return {name: text for name, text in tags.items() if name.startswith("process.")}


def is_alive(owner: Mapping[str, str]) -> bool:
    """Return whether the process that `identity` named is there; where nobody can see, whether it was heard of lately.

    Nobody can on another host, nor after another start of this one, which may be another machine of that name. Of a
    process that was named by its time alone, a step of the clock since would make another one.

    Parameters
    ----------
    owner : mapping
        From `identity`; ``process.heartbeat`` (seconds since 1970) may be added.
    """
    try:
        heard = _was_heard_of(owner)
        if owner.get("process.host") != identity()["process.host"]:
            return heard
        pid = int(owner["process.pid"])
        then, now = owner.get("process.boot", ""), _start(pid) or ""
        if then and then.partition("/")[0] != (_start(os.getpid()) or "").partition("/")[0]:
            return heard
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if then:
            return then == now
        return abs(process.create_time() - float(owner["process.started"])) < _SAME_START or heard
    except (psutil.Error, KeyError, ValueError, OverflowError):
        return False


def _was_heard_of(owner: Mapping[str, str]) -> bool:
    """Tell whether a process gave a sign of life lately: by the clock, or, if it was seen to give another, by that.

    Raises
    ------
    ValueError
        The sign is no number.
    """
    sign, now = float(owner.get("process.heartbeat") or 0.0), time.monotonic()
    process = (owner.get("process.host", ""), owner.get("process.pid", ""), owner.get("process.started", ""))
    age, seen = max(0.0, time.time() - sign), _signs.get(process)
    if age >= SILENCE and (seen is None or sign < seen[0]):
        return False
    if seen is None or sign > seen[0]:
        seen = _signs[process] = (sign, now - age if seen is None else now)
    return now - seen[1] < SILENCE


def user_name() -> str:
    """Return the name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
