"""The schema of MLflow's database: whether it is that of the installed MLflow, and its upgrade after a copy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.process import is_alive
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.store.places import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Schema:
    """A database's schema, and the installed MLflow's.

    Attributes
    ----------
    found, expected : str
        Revisions.
    is_older : bool
        Whether the installed MLflow knows the way from the one to the other; else another MLflow made it, a newer one.
    """

    found: str
    expected: str
    is_older: bool

    @property
    def is_current(self) -> bool:
        """Whether the installed MLflow can use the database."""
        return self.found == self.expected


def read_schema(uri: str) -> Schema | None:
    """Read the schema of the database behind a tracking URI; None for a server, or where there are no tables yet.

    Raises
    ------
    TrackingError
        The database cannot be read.
    """
    if not uri.startswith(_DATABASES):
        return None
    path = sqlite_path(uri)
    if path is not None and not path.is_file():
        return None
    import sqlalchemy
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config, _get_latest_schema_revision

    engine = None
    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("alembic_version"):
                return None
            found = str(connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar())
    except Exception as error:
        raise TrackingError(f"The tracking store {redact(uri)} cannot be read: {reason(error)}") from error
    finally:
        if engine is not None:
            engine.dispose()
    scripts = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    known = {str(script.revision) for script in scripts.walk_revisions()}
    return Schema(found, str(_get_latest_schema_revision()), found in known)


def upgrade_command(uri: str) -> str:
    """Give the command that upgrades the database, its password masked."""
    return f"mlflow db upgrade '{redact(uri)}'"


def upgrade_sqlite(uri: str) -> Path:
    """Copy an SQLite store, then upgrade it; if that fails, the copy is put back.

    Returns
    -------
    Path
        The copy, beside the database.

    Raises
    ------
    TrackingError
        A living process has a run open in it, or the upgrade failed; the database is as it was.
    """
    path = sqlite_path(uri)
    assert path is not None  # noqa: S101 - the caller's to know
    alive = next((run_id for run_id, owner in _running(path) if is_alive(owner)), None)
    if alive is not None:
        raise TrackingError(f"{path} is not upgraded while the run {alive} is going on in it. Try again afterwards.")
    copy = path.with_name(f"{path.name}.before-upgrade-{time.strftime('%Y%m%d-%H%M%S')}")
    _copy(path, copy)
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", uri], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        _copy(copy, path)
        why = (done.stderr.strip().splitlines() or ["it did not say why"])[-1]
        raise TrackingError(f"{path} could not be upgraded, and is as it was: {redact(why)}")
    return copy


def _copy(source: Path, target: Path) -> None:
    """Copy a database whole, with what its log still holds."""
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.Error as error:
        raise TrackingError(f"{source} could not be copied to {target}, and is as it was: {error}") from error


def _running(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the open runs of a database that MLflow's client cannot read, with the processes that opened them."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            for (run_id,) in database.execute("SELECT run_uuid FROM runs WHERE status = 'RUNNING'").fetchall():
                tags = database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)).fetchall()
                yield run_id, {key: text for key, text in tags if key.startswith("process.")}
    except sqlite3.Error:
        return  # a schema without these tables
