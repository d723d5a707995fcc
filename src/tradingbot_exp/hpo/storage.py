"""Where Optuna keeps a study: a journal file that survives any kill, SQLite, or PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError, TradingBotError

if TYPE_CHECKING:
    from optuna.study import Study

JOURNAL_NAME = "optuna.journal"


class _RepairingLock(BaseJournalFileLock):
    """The journal's write lock: the kernel releases it when its holder dies, and a torn last line is cut off.

    Optuna's own lock delays the next write by 30 seconds after a kill, and whatever is appended to a torn
    line makes the journal unreadable.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_name(f".{journal.name}.lock"))

    def acquire(self) -> bool:
        """Wait for the lock, then cut what a killed writer left half-written."""
        self._lock.acquire()
        with self._journal.open("rb+") as file:
            end = file.seek(0, 2)
            whole = end
            while whole > 0:
                start = max(0, whole - 65536)
                file.seek(start)
                newline = file.read(whole - start).rfind(b"\n")
                if newline >= 0:
                    whole = start + newline + 1
                    break
                whole = start
            if whole < end:
                file.truncate(whole)
        return True

    def release(self) -> None:
        """Let the next writer in."""
        self._lock.release()


def open_storage(place: str | None, launch_dir: Path) -> tuple[BaseStorage, str]:
    """Open a study storage.

    Parameters
    ----------
    place : str or None
        `hpo.storage`: ``sqlite:///FILE``, ``postgresql://…``, or the path of a journal file; None is
        ``optuna.journal`` in the launch directory.
    launch_dir : Path
        What relative paths start from.

    Returns
    -------
    tuple of (BaseStorage, str)
        The storage and its absolute address, with any password, for worker processes.

    Raises
    ------
    TrackingError
        It cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if place and re.match(r"[a-z][\w+]*://", place):
            address = _absolute_sqlite(place, launch_dir)
            options = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {"pool_pre_ping": True}
            return RDBStorage(address, engine_kwargs=options), address
        path = (launch_dir / (place or JOURNAL_NAME)).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_RepairingLock(path))), str(path)
    except TradingBotError:
        raise
    except Exception as error:
        reason = redact(str(error)).strip().splitlines() or [type(error).__name__]
        shown = redact(place or str(launch_dir / JOURNAL_NAME))
        raise TrackingError(
            f"hpo.storage={shown} cannot be opened: {reason[0]}. Right would be a file (a journal), sqlite:///FILE "
            "or postgresql://USER@HOST/NAME."
        ) from error


def _absolute_sqlite(uri: str, launch_dir: Path) -> str:
    found = re.fullmatch(r"(sqlite[\w+]*):///([^/].*)", uri)
    return f"{found[1]}:///{launch_dir / found[2]}" if found else uri


def create_or_load(storage: BaseStorage, name: str, directions: Sequence[str]) -> tuple[Study, bool]:
    """Create a study, or load the one of that name.

    Returns
    -------
    tuple of (Study, bool)
        The study, and whether it was created here: by exactly one of several callers at once.
    """
    typed = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
    try:
        return optuna.create_study(storage=storage, study_name=name, directions=typed), True
    except optuna.exceptions.DuplicatedStudyError:
        return optuna.load_study(study_name=name, storage=storage), False
