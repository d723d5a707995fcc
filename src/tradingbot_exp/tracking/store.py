"""Opening a tracking store: reachability first, migrations once, the experiment by name."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from tradingbot_exp.config.paths import TRACKING_DATABASE
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

MIN_FREE_BYTES = 64 * 1024**2
_MLFLOW_DEFAULTS = {
    # MLflow's own wait four minutes for a server that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # The address that it would print holds the password, if there is one.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_SIGNS = {
    "database or disk is full": "the disk is full",
    "No space left on device": "the disk is full",
    "Connection refused": "nothing listens there (connection refused)",
    "Name or service not known": "the host name is not known",
    "Failed to resolve": "the host name is not known",
    "timed out": "no answer came in time",
    "No route to host": "there is no route to the host",
}

# File systems of one machine: on those of a network, hosts cannot share what SQLite writes ahead.
_LOCAL_DISKS = ("apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "ntfs", "overlay", "tmpfs", "xfs", "zfs")
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def sqlite_path(uri: str) -> Path | None:
    """Give the file behind a ``sqlite:///`` URI, or None for any other store."""
    scheme, _, rest = uri.partition(":///")
    if not scheme.startswith("sqlite") or not rest or rest.startswith(":memory:"):
        return None
    return Path(unquote(rest.partition("?")[0]))


def open_client(uri: str) -> MlflowClient:
    """Connect to a tracking store, creating a missing SQLite database.

    Raises
    ------
    TrackingError
        The place cannot be written to, is full, is no MLflow store, or does not answer.
    """
    path = sqlite_path(uri)
    if path is not None:
        _check_sqlite(path, uri)
    elif uri.partition("+")[0].partition(":")[0] in _DATABASE_PORTS:
        _check_server(uri)
    for name, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    with wrapped(f"The tracking store {redact(uri)} cannot be used"):
        from mlflow import MlflowClient

        if path is not None:
            close_databases_at_exit()
        with quiet("alembic", "mlflow.store.db.utils", "urllib3.connectionpool", level=logging.ERROR):
            if path is not None and not _has_tables(path):
                _create_sqlite(path)
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
    return client


def open_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Give the id of the experiment called `name`, creating it if it is not there.

    Artifacts of a SQLite store go to ``mlruns/`` beside the database, wherever a job happens to run.

    Raises
    ------
    TrackingError
        The experiment was deleted, or the store does not answer.
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
    return str(found.experiment_id)


@contextmanager
def wrapped(what: str) -> Iterator[None]:
    """Turn whatever MLflow, its database driver or the network raises into a `TrackingError`."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Say in one line, without credentials, why MLflow could not do something."""
    text = redact(str(error)).strip()
    for sign, meaning in _SIGNS.items():
        if sign in text:
            return meaning if "full" in meaning else f"{meaning}. Is the server running, and is tracking.uri right?"
    # SQLAlchemy may say before what went wrong that it was writing on its own account.
    lines = [line for line in text.splitlines() if not line.startswith("(raised as a result of Query-invoked")]
    return lines[0] if lines else type(error).__name__


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


def local_artifacts(artifact_uri: str) -> Path | None:
    """Give the folder of a run's artifacts; None if a server or a bucket has them."""
    place = urlsplit(artifact_uri)
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def check_store_space(uri: str) -> None:
    """Refuse to write runs into a SQLite store on a disk that is as good as full; reading one needs no space."""
    path = sqlite_path(uri)
    if path is not None and path.absolute().parent.is_dir():
        check_space(path.absolute().parent)


def check_space(folder: Path) -> None:
    """Refuse to start where the disk is as good as full.

    Raises
    ------
    TrackingError
        Less than 64 MiB are free.
    """
    disk = shutil.disk_usage(folder)
    if disk.total > 0 and disk.free < MIN_FREE_BYTES:
        raise TrackingError(
            f"The disk is full: {disk.free / 1024**2:.0f} MiB are free at {folder}, and a run needs "
            f"{MIN_FREE_BYTES // 1024**2} MiB. Free some space, or start from another directory."
        )


def _create_sqlite(path: Path) -> None:
    """Create the tables of a SQLite store beside it and move it into place whole.

    MLflow's migrations take seconds; a second process that starts meanwhile would run them too, and a kill in
    their middle would leave a store that no process can open any more.
    """
    from filelock import FileLock
    from mlflow import MlflowClient

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


@contextmanager
def quiet(*names: str, level: int = logging.WARNING) -> Iterator[None]:
    """Keep what the loggers `names` say below `level` off the terminal."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.setLevel(old)


def _slug(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def ui_command(uri: str, launch_dir: Path) -> str:
    """Give the command that shows a store in the browser; for a server, that it is open already."""
    path = sqlite_path(uri)
    if path is not None and path.absolute() == launch_dir / TRACKING_DATABASE:
        return "mlflow ui"
    if uri.startswith("http"):
        return "in a browser"
    return f"mlflow ui --backend-store-uri {redact(uri)}"


def run_page(uri: str, experiment_id: str, run_id: str) -> str:
    """Give the address of a run's page in MLflow's web interface, as `ui_command` serves it."""
    root = redact(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{root}/#/experiments/{experiment_id}/runs/{run_id}"


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
