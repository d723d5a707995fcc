"""Where a store's database, artifacts and pages are, and whether the disk has room for more."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tradingbot_exp.config.paths import TRACKING_DATABASE, launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError

MIN_FREE_BYTES = 64 * 1024**2


def sqlite_path(uri: str) -> Path | None:
    """Return the file behind a ``sqlite:///`` URI, or None for any other store."""
    scheme, _, rest = uri.partition(":///")
    if not scheme.startswith("sqlite") or not rest or rest.startswith(":memory:"):
        return None
    return Path(unquote(rest.partition("?")[0]))


def local_folder(location: str) -> Path | None:
    """Return the folder that a location names, as it is; None if a server or a bucket has it."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    # As MLflow reads it: in a plain path, what looks like a query or a fragment is part of a name.
    return None if re.match(r"[A-Za-z][\w+.-]+:", location) else Path(unquote(location))


def require_own_server(store_uri: str, artifact_uri: str) -> None:
    """Refuse artifacts on a web server that is not the store's: requests would bring it the user's credentials.

    Raises
    ------
    TrackingError
    """
    place, own = urlsplit(artifact_uri), urlsplit(store_uri)
    scheme = own.scheme if place.scheme == "mlflow-artifacts" and place.netloc else place.scheme
    ports = {"http": 80, "https": 443}
    here, there = (
        (scheme, each.hostname, each.port or ports.get(scheme)) for scheme, each in ((own.scheme, own), (scheme, place))
    )
    is_web = place.scheme in ports or (place.scheme == "mlflow-artifacts" and place.netloc)
    if is_web and here != there:
        raise TrackingError(
            f"The store {redact(store_uri)} says that artifacts are at {redact(artifact_uri)}. That is another server, "
            "which would be sent the credentials of yours, and it is not asked."
        )


_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def require_sound_journal(database: Path) -> None:
    """Refuse an SQLite database beside which a rollback journal names another file, which SQLite would remove.

    Raises
    ------
    TrackingError
        See "The Super-Journal" in https://sqlite.org/fileformat2.html. No program that MLflow or Optuna use writes one.
    """
    journal = database.with_name(f"{database.name}-journal")
    if journal.is_file() and journal.stat().st_size > len(_JOURNAL_MAGIC):
        with journal.open("rb") as file:
            file.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
            if file.read() == _JOURNAL_MAGIC:
                raise TrackingError(
                    f"{journal} names a file that SQLite would remove when it opens {database}, which is not opened. "
                    "Ask whoever made it; to open it without what that journal undoes, move the journal away."
                )


def local_artifacts(artifact_uri: str, run_id: str) -> Path | None:
    """Return the folder of a run's artifacts; None if a server or a bucket has them.

    Raises
    ------
    TrackingError
        It is none in which MLflow keeps those of a run, ``<id of the run>/artifacts``: a store that somebody prepared
        would have any folder of the reader's read and written to, another run's too.
    """
    folder = local_folder(artifact_uri)
    if folder is None:
        return None
    is_usual = folder.parts[-2:] == (run_id, "artifacts") and ".." not in folder.parts
    if not is_usual or folder.is_symlink() or folder.parent.is_symlink():
        raise TrackingError(
            f"The artifacts of a run are said to be in {folder}, and that is not followed: MLflow keeps them in a "
            "folder ID/artifacts, with the id of the run, and neither is a link."
        )
    return folder


def inside(root: Path, path: str) -> Path:
    """Return the file that a path of a store means below a folder; a store is not trusted to stay in it.

    Raises
    ------
    TrackingError
        The path is absolute, or leads out of the folder by ``..`` or a link.
    """
    file = root / path
    try:
        leads_out = Path(path).is_absolute() or ".." in Path(path).parts
        leads_out = leads_out or not file.resolve().is_relative_to(root.resolve())
    except (ValueError, OSError, RuntimeError):  # a null byte, a name that is too long, links in a circle
        leads_out = True
    if leads_out:
        raise TrackingError(f"The path {path!r} leads out of {root}, and is not followed.")
    return file


def require_unlinked(source: Path) -> None:
    """Refuse a file or directory that is a link, or holds one: what it leads to would be sent in its place.

    Raises
    ------
    TrackingError
        Names it.
    """
    for each in (source, *source.rglob("*")):
        if each.is_symlink():
            raise TrackingError(f"{each} is a link, which is not followed.")


def require_inside(artifact_uri: str, run_id: str, folder: str, source: Path) -> None:
    """Refuse to put a file, or what is in a directory, among artifacts of this machine where a link leads out of them.

    Raises
    ------
    TrackingError
        One does, or `folder` does.
    """
    artifacts = local_artifacts(artifact_uri, run_id)
    if artifacts is None:
        return
    names = [each.relative_to(source) for each in source.rglob("*")] if source.is_dir() else [Path(source.name)]
    for name in names:
        inside(artifacts, f"{folder or '.'}/{name}")


def is_same_store(first: str, second: str) -> bool:
    """Tell whether two addresses are of one store; users and passwords do not count, as passwords are not kept."""
    paths = [sqlite_path(address) for address in (first, second)]
    if paths[0] is None or paths[1] is None:
        bare = [re.sub(r"://[^/]*@", "://", redact(address)).rstrip("/") for address in (first, second)]
        return bare[0] == bare[1]
    return (launch_dir() / paths[0]).resolve() == (launch_dir() / paths[1]).resolve()


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
    return shlex.join(["mlflow", "ui", "--backend-store-uri", redact(uri)])


def run_page(uri: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page in MLflow's web interface, as `ui_command` serves it."""
    root = redact(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{root}/#/experiments/{experiment_id}/runs/{run_id}"
