"""Where Optuna keeps a study: a journal file that survives any kill, SQLite, or PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy import create_engine, inspect

from tradingbot_exp.config.redaction import redact, remember
from tradingbot_exp.errors import TrackingError, TradingBotError

if TYPE_CHECKING:
    from optuna.study import Study

JOURNAL_NAME = "optuna.journal"
# How every journal begins.
_FIRST_BYTES = b'{"op_code":'
# How often the journal is forced to the disk.
FORCE_SECONDS = 1.0
# Tries to open a database, at growing intervals, while other processes make its tables.
_TRIES = 6


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
            # A crash of the machine may leave a whole line of anything: nobody could read what came after it.
            if whole > 0 and not _is_entry(file, start := _line_start(file, whole - 1), whole):
                whole = start
            if whole < end:
                file.truncate(whole)

    def release(self) -> None:
        """Let the next writer in."""
        self._lock.release()


class _Journal(JournalFileBackend):
    """A journal that is forced to the disk once a second at most: a kill loses nothing, a power cut a second.

    Optuna's own waits for the disk after each line, which takes longer than all else that a stacked trial costs. One
    that is damaged in its middle is named.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._own_lock, self._forced = path, _RepairingLock(path), 0.0
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
        """Return the entries from a number on.

        Raises
        ------
        TrackingError
            A line is no entry.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise TrackingError(
                f"hpo.storage={self._file_path} is damaged: a line of it is not an entry of a journal ({error}). Put a "
                "copy of the file back, or name another one with hpo.storage=FILE."
            ) from error


def transaction(storage: BaseStorage) -> AbstractContextManager[object]:
    """Make what is written within a ``with`` block one transaction, where the storage is a journal."""
    backend = getattr(storage, "_backend", None)
    return backend.held() if isinstance(backend, _Journal) else nullcontext()


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


def _is_entry(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    try:
        return isinstance(json.loads(file.read(end - start)), dict)
    except ValueError:
        return False


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
    remember(place)
    try:
        if place and re.match(r"[A-Za-z][\w+.-]*://", place):
            address = _absolute_sqlite(place, launch_dir)
            return _open_database(address), address
        path = (launch_dir / (place or JOURNAL_NAME)).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        _check_journal(path)
        return JournalStorage(_Journal(path)), str(path)
    except TradingBotError:
        raise
    except Exception as error:
        shown = redact(place or str(launch_dir / JOURNAL_NAME))
        raise TrackingError(
            f"hpo.storage={shown} cannot be opened: {storage_reason(error)}; expected a file (a journal), "
            "sqlite:///FILE or postgresql://USER@HOST/NAME."
        ) from error


def _open_database(address: str) -> RDBStorage:
    """Open a database, making its tables; when several processes do so at once, all but one start over."""
    _check_database(address)
    options = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {"pool_pre_ping": True}
    for attempt in range(1, _TRIES):
        try:
            return RDBStorage(address, engine_kwargs=dict(options))
        except Exception as error:
            if not _another_was_first(error):
                raise
            time.sleep(0.1 * attempt)
    return RDBStorage(address, engine_kwargs=dict(options))


def _check_database(address: str) -> None:
    """Refuse MLflow's database: whichever of the two came second would find the other's schema version."""
    engine = create_engine(address)
    try:
        tables = inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if "alembic_version" in tables and "studies" not in tables:
        raise ValueError("the database is MLflow's or another program's, and a study needs one of its own")


def _another_was_first(error: Exception) -> bool:
    texts = [str(cause) for cause in _causes(error)]
    return any(sign in text for text in texts for sign in ("already exists", "duplicate key", "UNIQUE constraint"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def storage_reason(error: BaseException) -> str:
    """Say in one line, without passwords, why a storage cannot be opened."""
    if isinstance(error, ImportError):
        missing = next((c.name for c in _causes(error) if isinstance(c, ModuleNotFoundError)), None)
        hint = " (pip install 'tradingbot_exp[postgres]')" if missing == "psycopg" else ""
        return f"the Python package {missing} is not installed{hint}" if missing else redact(str(error)).rstrip(".")
    lines = redact(str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _check_journal(path: Path) -> None:
    """Refuse a file that is something else, before anything is cut off it."""
    with path.open("rb") as file:
        head = file.read(len(_FIRST_BYTES))
    if head != _FIRST_BYTES[: len(head)]:
        raise ValueError("the file is there already, and is not a journal of Optuna's")


def _absolute_sqlite(uri: str, launch_dir: Path) -> str:
    found = re.fullmatch(r"(sqlite[\w+]*):///(.+)", uri)
    if found is None:
        return uri
    path = launch_dir / found[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"{found[1]}:///{path}"


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
