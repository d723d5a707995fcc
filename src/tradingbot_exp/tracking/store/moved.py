"""Where things of a store are after its folder was moved or copied: beside the store, where they were before."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cache, wraps
from pathlib import Path
from typing import Any

from tradingbot_exp.data.folder import is_there
from tradingbot_exp.runtime.text import own_command
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.places import local_folder, sqlite_path

log = logging.getLogger(__name__)

_ARTIFACTS = "mlruns"
# Where MLflow keeps locations: table, column, and which rows.
_LOCATIONS = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", "WHERE key = 'mlflow.artifactLocation'"),
)
_READERS = (
    "get_run",
    "search_runs",
    "get_experiment",  # new runs and models are given their locations by it
    "get_logged_model",
    "search_logged_models",
)


def follow_moves(store: Any, uri: str) -> None:
    """Let one of MLflow's stores say where artifacts are now, to everybody in this process who asks it.

    Parameters
    ----------
    store : AbstractStore
        MLflow's; it is the same for all who use the address.
    uri : str
        Its address. Nothing is done for a server's.
    """
    from mlflow.tracking._tracking_service import utils

    place = _place(uri)
    if place is None or getattr(store, "tradingbot_follows", False):
        return
    store.tradingbot_follows = True
    utils._artifact_repos_cache.clear()  # by run, whichever store it is of: a copy has the same runs
    for name in _READERS:
        if hasattr(store, name):
            setattr(store, name, _following(getattr(store, name), place))


def _following(read: Callable[..., Any], place: Path) -> Callable[..., Any]:
    @wraps(read)
    def follow(*arguments: Any, **named: Any) -> Any:
        found = read(*arguments, **named)
        for each in found if isinstance(found, list) else [found]:
            holder = getattr(each, "info", each)
            for name in ("_artifact_uri", "_artifact_location"):  # entities have no setters
                if text := getattr(holder, name, None):
                    setattr(holder, name, _present_uri(text, place))
        return found

    return follow


def _place(uri: str) -> Path | None:
    """Return the file of an SQLite store, or the folder of a file store."""
    path = sqlite_path(uri) if uri.startswith("sqlite") else local_folder(uri)
    return None if path is None else path.resolve()


def _present_uri(uri: str, place: Path) -> str:
    recorded = local_folder(uri)
    if recorded is None or not recorded.is_absolute() or ".." in recorded.parts:
        return uri
    found = present_artifacts(recorded, place)
    if found == recorded:
        return uri
    if found.is_dir():
        _say(place)
    return found.as_uri() if uri.startswith("file:") else str(found)


@cache
def _say(place: Path) -> None:
    log.warning(
        "%s was moved or copied: artifacts are looked for beside it, in %s. To write that into the store: %s",
        place,
        place.parent,
        own_command("doctor", "--fix"),
    )


def present_artifacts(recorded: Path, place: Path) -> Path:
    """Return where artifacts are now: at the recorded place, or at the same place relative to their store.

    The recorded place counts where it is there, unless another store lies there whose copy this one is: then a copy
    of the artifacts beside this store counts. Where neither is there, because nothing was kept yet, it is beside the
    store, unless the recorded one's project is still there.

    Parameters
    ----------
    recorded : Path
        Of a run, a model or an experiment; absolute.
    place : Path
        The store's database, resolved; of a file store, its folder.
    """
    base = place if place.is_dir() and place.name != _ARTIFACTS else place.parent
    if recorded.is_relative_to(base / _ARTIFACTS):
        return recorded
    beside = _beside(recorded, base)
    if beside is None or beside == recorded:
        return recorded
    home = recorded.parents[len(beside.relative_to(base).parts) - 1]
    is_copy = (home / place.name).is_file() and not (home / place.name).samefile(place)
    if recorded.is_dir():
        return beside if is_copy and beside.is_dir() else recorded
    return beside if beside.is_dir() or is_copy or not home.is_dir() else recorded


def _beside(recorded: Path, base: Path) -> Path | None:
    """Return the same place in another folder, of which two names at least have to be known; None without any."""
    parts = recorded.parts
    ours = None
    if _ARTIFACTS in parts:
        start = len(parts) - 1 - parts[::-1].index(_ARTIFACTS)
        ours = base.joinpath(*parts[start:])
        if ours.is_dir():
            return ours
    tried = (base.joinpath(*parts[start:]) for start in range(1, len(parts) - 1))
    return next((each for each in tried if each.is_dir()), ours)


def present_path(recorded: str, params: Mapping[str, str], store: str) -> str:
    """Return where a file or folder of a project is now, by where its store was when it was recorded, and is now.

    Parameters
    ----------
    recorded : str
        A path; only an absolute one can be another now.
    params : mapping of str to str
        The run's: ``tracking.uri`` is the store's address then.
    store : str
        Its address now.
    """
    path, before, now = Path(recorded), sqlite_path(params.get("tracking.uri", "")), sqlite_path(store)
    if before is None or now is None or before == now or not path.is_relative_to(before.parent):
        return recorded
    moved = now.parent / path.relative_to(before.parent)
    return str(moved) if is_there(moved) else recorded


def moved_locations(uri: str) -> dict[tuple[str, str, int], tuple[str, str]]:
    """Find locations in an SQLite store that are not where things are now; empty for any other store.

    Returns
    -------
    dict of (str, str, int) to (str, str)
        By table, column and row: the location as it is recorded, and as it would be right.
    """
    path = sqlite_path(uri)
    if path is None or not path.is_file():
        return {}
    with wrapped(f"The locations in {path} cannot be read"), closing(sqlite3.connect(path, timeout=30)) as database:
        return {
            (table, column, row): (text, now)
            for table, column, rows in _known(database)
            for row, text in database.execute(f"SELECT rowid, {column} FROM {table} {rows}")  # noqa: S608 - names of ours
            if text and (now := _present_uri(text, path.resolve())) != text
        }


def mend_locations(uri: str) -> int:
    """Write into an SQLite store where things are now; give the number of locations that were changed."""
    found, path = moved_locations(uri), sqlite_path(uri)
    if path is None or not found:
        return 0
    with wrapped(f"The locations in {path} cannot be written"), closing(sqlite3.connect(path, timeout=30)) as database:
        for (table, column, row), (text, now) in found.items():
            changed = f"UPDATE {table} SET {column} = ? WHERE rowid = ? AND {column} = ?"  # noqa: S608 - names of ours
            database.execute(changed, (now, row, text))
        database.commit()
    return len(found)


def _known(database: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """Yield those of the locations that this version of MLflow has."""
    for table, column, rows in _LOCATIONS:
        if column in {each[1] for each in database.execute(f"PRAGMA table_info({table})")}:
            yield table, column, rows
