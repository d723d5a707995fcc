"""Where a store's database, artifacts and pages are, and whether the disk has room for more."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tradingbot_exp.config.paths import TRACKING_DATABASE
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError

MIN_FREE_BYTES = 64 * 1024**2


def sqlite_path(uri: str) -> Path | None:
    """Return the file behind a ``sqlite:///`` URI, or None for any other store."""
    scheme, _, rest = uri.partition(":///")
    if not scheme.startswith("sqlite") or not rest or rest.startswith(":memory:"):
        return None
    return Path(unquote(rest.partition("?")[0]))


def local_artifacts(artifact_uri: str) -> Path | None:
    """Return the folder of a run's artifacts; None if a server or a bucket has them."""
    place = urlsplit(artifact_uri)
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def inside(root: Path, path: str) -> Path:
    """Return the file that a path of a store means below a folder; a store is not trusted to stay in it.

    Raises
    ------
    TrackingError
        The path is absolute, or leads out of the folder by ``..`` or a link.
    """
    file = root / path
    if Path(path).is_absolute() or ".." in Path(path).parts or not file.resolve().is_relative_to(root.resolve()):
        raise TrackingError(f"The path {path!r} leads out of {root}, and is not followed.")
    return file


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


def ui_command(uri: str, launch_dir: Path) -> str:
    """Return the command that shows a store in the browser; for a server, that it is open already."""
    path = sqlite_path(uri)
    if path is not None and path.absolute() == launch_dir / TRACKING_DATABASE:
        return "mlflow ui"
    if uri.startswith("http"):
        return "in a browser"
    return f"mlflow ui --backend-store-uri {redact(uri)}"


def run_page(uri: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page in MLflow's web interface, as `ui_command` serves it."""
    root = redact(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{root}/#/experiments/{experiment_id}/runs/{run_id}"
