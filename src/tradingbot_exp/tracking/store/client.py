"""Opening a tracking store: reachability first, migrations once, the experiment by name."""

from __future__ import annotations

import atexit
import hashlib
import logging
import re
import shlex
import socket
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from weakref import WeakSet

from mlflow import MlflowClient

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.errors import quiet, wrapped
from tradingbot_exp.tracking.store.moved import follow_moves
from tradingbot_exp.tracking.store.patience import Client, outage_of, own_request
from tradingbot_exp.tracking.store.places import check_space, require_own_server, require_sound_journal, sqlite_path

# File systems of one machine: on those of a network, hosts cannot share what SQLite writes ahead.
_LOCAL_DISKS = ("apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "ntfs", "overlay", "tmpfs", "xfs", "zfs")
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def open_client(uri: str, patience: float | None = None) -> MlflowClient:
    """Connect to a tracking store, creating a missing SQLite database.

    Parameters
    ----------
    uri : str
    patience : float, optional
        Seconds for which later requests wait for a store that has gone away; else they fail.

    Raises
    ------
    TrackingError
        The place cannot be written to, is full, is no MLflow store, is one of another MLflow, or does not answer.
    """
    path = sqlite_path(uri)
    if path is not None:
        _check_sqlite(path, uri)
    elif uri.partition("+")[0].partition(":")[0] in _DATABASE_PORTS:
        _check_server(uri)
    with wrapped(f"The tracking store {redact(uri)} cannot be used"), own_request():
        if path is not None:
            close_databases_at_exit()
        with quiet("alembic", level=logging.ERROR):
            if path is not None and not _has_tables(path):
                _create_sqlite(path)
            try:
                client = MlflowClient(tracking_uri=uri)
                follow_moves(client._tracking_client.store, uri)
                client.search_experiments(max_results=1)
            except Exception as error:
                _refuse_other_schema(uri, str(error))
                raise
    return cast("MlflowClient", Client(client, None if patience is None else outage_of(uri, patience)))


def _refuse_other_schema(uri: str, text: str) -> None:
    """Say what to do about a database of another MLflow, which the installed one does not open."""
    found = re.search(r"database schema \(found version (\w+), but expected (\w+)\)", text)
    if found is not None:
        upgrade = shlex.join(["mlflow", "db", "upgrade", redact(uri)])
        raise TrackingError(
            f"The tracking store {redact(uri)} has the schema {found[1]}, and the installed MLflow expects {found[2]}. "
            f"If an older MLflow made it, copy the database, then run: {upgrade}. If a newer "
            "one did, install that one."
        )


def open_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of the experiment called `name`, creating it if it is not there.

    Artifacts of a SQLite store go to ``mlruns/`` beside the database, wherever a job happens to run.

    Raises
    ------
    TrackingError
        The experiment was deleted, or keeps artifacts on another server, or the store does not answer.
    """
    path = sqlite_path(uri)
    with wrapped(f"The experiment '{name}' cannot be opened in {redact(uri)}"):
        found = client.get_experiment_by_name(name)
        if found is None:
            location = None if path is None else (path.resolve().parent / "mlruns" / _slug(name)).as_uri()
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except Exception:
                # Another process may have been first.
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The experiment '{name}' was deleted. Restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or set experiment.name to another."
        )
    require_own_server(uri, str(found.artifact_location))
    return str(found.experiment_id)


def _check_sqlite(path: Path, uri: str) -> None:
    """Find out within milliseconds what SQLAlchemy would retry for two minutes."""
    advice = "Set tracking.uri (or MLFLOW_TRACKING_URI) to a place that can be written to."
    parent = path.absolute().parent
    if not parent.is_dir():
        raise TrackingError(f"tracking.uri={uri}: the directory {parent} does not exist. Make it, or choose another.")
    if path.is_dir():
        raise TrackingError(f"tracking.uri={uri}: {path} is a directory, not a database file. {advice}")
    if not path.is_file():
        check_space(parent)
    require_sound_journal(path)
    try:
        with sqlite3.connect(path, timeout=30) as database:
            database.execute("BEGIN IMMEDIATE")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            database.rollback()
        database.close()
    except sqlite3.Error as error:
        raise TrackingError(f"tracking.uri={uri} cannot be written to: {error}. {advice}") from error

    if tables and "alembic_version" not in tables:
        raise TrackingError(
            f"tracking.uri={uri} is a database of another program (it has the table {min(tables)}). {advice}"
        )


def _check_server(uri: str) -> None:
    """Find out in seconds whether a database server listens; SQLAlchemy would be asked ten times over two minutes."""
    address = urlsplit(uri)
    kind = address.scheme.partition("+")[0]
    with wrapped(f"The tracking store {redact(uri)} cannot be used"):
        place = (address.hostname or "localhost", address.port or _DATABASE_PORTS[kind])
        socket.create_connection(place, timeout=10).close()


def _create_sqlite(path: Path) -> None:
    """Create the tables of a SQLite store beside it and move it into place whole.

    MLflow's migrations take seconds; a second process that starts meanwhile would run them too, and a kill in
    their middle would leave a store that no process can open any more.
    """
    from filelock import FileLock

    path = path.absolute()
    with FileLock(path.with_name(f".{path.name}.lock")):
        if _has_tables(path):
            return
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"sqlite:///{fresh}").search_experiments(max_results=1)
        _write_ahead(fresh)
        fresh.replace(path)


def _write_ahead(path: Path) -> None:
    """Let a database write ahead, where its disk is this machine's own: a commit then waits for the disk once."""
    import psutil

    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    kind = next((mounts[folder] for folder in path.resolve().parents if folder in mounts), "")
    if kind in _LOCAL_DISKS:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = WAL")


def _has_tables(path: Path) -> bool:
    database = sqlite3.connect(path)
    try:
        found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    finally:
        database.close()
    return found is not None


def _slug(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@cache
def close_databases_at_exit() -> None:
    """Close SQLite databases that SQLAlchemy opens from now on; what one wrote ahead gets into its file then."""
    from sqlalchemy import Connection, Engine, event

    engines: WeakSet[Engine] = WeakSet()

    @event.listens_for(Engine, "engine_connect")
    def remember(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            engines.add(connection.engine)

    @atexit.register
    def close() -> None:
        for engine in list(engines):
            engine.dispose()
