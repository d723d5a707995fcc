"""A tracking store that is there already, by its address or by the folder in which it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tradingbot_exp.config.paths import TRACKING_DATABASE, launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import RunError, TrackingError, near
from tradingbot_exp.tracking.store.errors import wrapped
from tradingbot_exp.tracking.store.places import sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Store:
    """A tracking store that is open for reading.

    Attributes
    ----------
    client : MlflowClient
    uri : str
        With any credentials.
    """

    client: MlflowClient
    uri: str

    @property
    def shown(self) -> str:
        """The URI as it may be shown."""
        return redact(self.uri)

    def experiments(self, name: str | None = None) -> dict[str, str]:
        """Give the names of all experiments that are not deleted, or of the named one, by id.

        Raises
        ------
        RunError
            There is none of that name.
        """
        with wrapped(f"The experiments in {self.shown} cannot be read"):
            found = {str(each.experiment_id): str(each.name) for each in self.client.search_experiments()}
        if name is None:
            return found
        named = {number: each for number, each in found.items() if each == name}
        if not named:
            there = ", ".join(sorted(found.values())) or "none"
            raise RunError(
                f"There is no experiment '{name}' in {self.shown}; there are: {there}.{near(name, found.values())}"
            )
        return named


def default_uri() -> str:
    """Give the store that a command means when none is named: `MLFLOW_TRACKING_URI`, else ``mlflow.db`` here."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{launch_dir() / TRACKING_DATABASE}"


def open_store(uri: str | Path | None = None) -> Store:
    """Open a store that is there already; nothing is created.

    Parameters
    ----------
    uri : str or Path, optional
        A URI; or a directory: the database in it or beside it, or an old file store. `default_uri` if not given.

    Raises
    ------
    TrackingError
        There is no store, or it cannot be read.
    """
    address = store_address(str(uri) if uri is not None else default_uri())
    path = sqlite_path(address)
    if path is not None and not path.is_file():
        raise TrackingError(
            f"There is no tracking store at {path}. Give the folder in which the runs were started, or the store's "
            "address with --tracking-uri (MLFLOW_TRACKING_URI)."
        )
    from tradingbot_exp.tracking.store.client import open_client

    return Store(open_client(address), address)


def store_address(given: str) -> str:
    """Give the URI of a store that is named by one, or by a directory.

    Raises
    ------
    TrackingError
        There is no store in the directory.
    """
    return given if "://" in given or given.startswith("sqlite:") else _directory_store(given)


def _directory_store(given: str) -> str:
    """Give the URI of the store that a bare path means."""
    place = Path(given.removeprefix("file:")).expanduser()
    place = place if place.is_absolute() else launch_dir() / place
    if place.is_file():
        return f"sqlite:///{place}"
    for database in (place / TRACKING_DATABASE, place.parent / TRACKING_DATABASE):
        if database.is_file():
            return f"sqlite:///{database}"
    if place.is_dir() and any(place.glob("*/meta.yaml")):
        # MLflow 3 opens its old file store only for those who ask for it.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        return place.as_uri()
    raise TrackingError(
        f"There is no tracking store in {place}: no {TRACKING_DATABASE} in it or beside it, and no MLflow file store."
    )
