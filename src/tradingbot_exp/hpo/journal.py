"""Optuna's journal: a file that survives any kill, and that several processes write to."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock

from tradingbot_exp.errors import TrackingError

log = logging.getLogger(__name__)

# How every journal begins.
_FIRST_BYTES = b'{"op_code":'
# How often the journal is forced to the disk.
FORCE_SECONDS = 1.0


class RepairingLock(BaseJournalFileLock):
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
        try:
            self._repair()
        except BaseException:
            self._lock.release()
            raise
        return True

    def _repair(self) -> None:
        with self._journal.open("rb+") as file:
            end = file.seek(0, 2)
            whole = _line_start(file, end)
            # A crash of the machine may leave whole lines of anything: nobody could read what came after them.
            sound = _sound_end(file, whole)
            if sound < whole:
                told = "The last %d bytes of %s are no entries of a journal, and are cut off. %s"
                log.warning(told, end - sound, self._journal, "What they said of trials is taken from MLflow again.")
            if sound < end:
                file.truncate(sound)

    def release(self) -> None:
        """Let the next writer in."""
        self._lock.release()


class Journal(JournalFileBackend):
    """A journal that is forced to the disk once a second at most: a kill loses nothing, a power cut a second.

    Optuna's own waits for the disk after each line, which takes longer than all else that a stacked trial costs. One
    that is damaged in its middle is named.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._own_lock, self._forced = path, RepairingLock(path), 0.0
        self._open: BinaryIO | None = None  # while others are kept from writing
        super().__init__(str(path), lock_obj=self._own_lock)

    @contextmanager
    def held(self) -> Iterator[BinaryIO]:
        """Keep all others from writing for the length of a ``with`` block; one within another is the same."""
        if self._open is not None:
            yield self._open
            return
        self._own_lock.acquire()
        try:
            with self._path.open("ab") as self._open:
                yield self._open
        finally:
            self._open = None
            self._own_lock.release()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines, under the lock."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in logs)
        with self.held() as file:
            file.write(text.encode())
            file.flush()
            if time.monotonic() - self._forced > FORCE_SECONDS:
                os.fsync(file.fileno())
                self._forced = time.monotonic()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Return the entries from a number on, but not what is damaged at the end, which the next writer cuts off.

        Raises
        ------
        TrackingError
            A line before others is no entry.
        """
        try:
            for entry in super().read_logs(log_number_from):
                if not isinstance(entry, dict):
                    raise ValueError(f"it is {entry!r}")
                yield entry
        except ValueError as error:
            known, damaged = self._log_number_offset, max(self._log_number_offset.values())
            with self._path.open("rb") as file:
                sound = _sound_end(file, _line_start(file, file.seek(0, 2)))
            if sound <= damaged:
                self._log_number_offset = {number: place for number, place in known.items() if place <= sound}
                return
            raise TrackingError(
                f"hpo.storage={self._file_path} is damaged: a line of it is not an entry of a journal ({error}). Put a "
                "copy of the file back, or name another one with hpo.storage=FILE."
            ) from error


def transaction(storage: BaseStorage) -> AbstractContextManager[object]:
    """Make what is written within a ``with`` block one transaction, where the storage is a journal."""
    backend = getattr(storage, "_backend", None)
    return backend.held() if isinstance(backend, Journal) else nullcontext()


def _line_start(file: BinaryIO, end: int) -> int:
    """Return the position after the last newline before `end`; 0 if there is none."""
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _sound_end(file: BinaryIO, end: int) -> int:
    """Return the position after the last line before `end` that is an entry; 0 without any."""
    while end > 0 and not _is_entry(file, start := _line_start(file, end - 1), end):
        end = start
    return end


def _is_entry(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    try:
        return isinstance(json.loads(file.read(end - start)), dict)
    except ValueError:
        return False


def check_journal(path: Path) -> None:
    """Refuse a file that is something else, before anything is cut off it.

    Raises
    ------
    ValueError, OSError
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file but a {'folder' if path.is_dir() else 'pipe or a device'}")
    with path.open("rb") as file:
        head = file.read(len(_FIRST_BYTES))
    if head != _FIRST_BYTES[: len(head)]:
        raise ValueError("the file is there already, and is not a journal of Optuna's")
