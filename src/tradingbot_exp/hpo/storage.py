"""Where Optuna keeps a study: a journal file that survives any kill, SQLite, or PostgreSQL."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy import create_engine, inspect

from tradingbot_exp.config.redaction import redact, remember
from tradingbot_exp.errors import TrackingError, TradingBotError
from tradingbot_exp.hpo.journal import Journal, check_journal
from tradingbot_exp.tracking.store.places import require_sound_journal, sqlite_path

if TYPE_CHECKING:
    from optuna.study import Study

log = logging.getLogger(__name__)

JOURNAL_NAME = "optuna.journal"
# Tries to open a database, at growing intervals, while other processes make its tables.
_TRIES = 6


def check_storage(place: str | None, launch_dir: Path) -> None:
    """Refuse a storage that `open_storage` cannot open, and make nothing."""
    with _refusing(place, launch_dir):
        address = _address(place, launch_dir)
        file = _journal(place, launch_dir) if address is None else sqlite_path(address)
        if file is not None and not file.exists():
            _check_folder(file.parent)
        elif address is not None:
            _check_database(address)
        elif file is not None:
            check_journal(file)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is not there and cannot be made, or cannot be written to."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    tempfile.TemporaryFile(dir=there).close()  # asked for permissions, root may write anywhere


@contextmanager
def _refusing(place: str | None, launch_dir: Path) -> Iterator[None]:
    """Say of what cannot be opened, in one line, what it is and what would be right."""
    try:
        yield
    except TradingBotError:
        raise
    except Exception as error:
        shown = redact(place or str(launch_dir / JOURNAL_NAME))
        raise TrackingError(
            f"hpo.storage={shown} cannot be opened: {storage_reason(error)}; expected a file (a journal), "
            "sqlite:///FILE or postgresql://USER@HOST/NAME."
        ) from error


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
    with _refusing(place, launch_dir):
        address = _address(place, launch_dir)
        if address is None:
            journal = _journal(place, launch_dir)
            journal.parent.mkdir(parents=True, exist_ok=True)
            journal.touch()
            check_journal(journal)
            return JournalStorage(Journal(journal)), str(journal)
        if (file := sqlite_path(address)) is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        return _open_database(address), address


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
    if (path := sqlite_path(address)) is not None:
        require_sound_journal(path)
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


def _address(place: str | None, launch_dir: Path) -> str | None:
    """Return the address of a database, of SQLite with an absolute path; None for a journal."""
    if place is None or not re.match(r"[A-Za-z][\w+.-]*://", place):
        return None
    found = re.fullmatch(r"(sqlite[\w+]*):///(.+)", place)
    return place if found is None else f"{found[1]}:///{launch_dir / found[2]}"


def _journal(place: str | None, launch_dir: Path) -> Path:
    """Return the path of a journal."""
    return (launch_dir / (place or JOURNAL_NAME)).absolute()


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
