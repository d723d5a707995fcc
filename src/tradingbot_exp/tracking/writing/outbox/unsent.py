"""Records that earlier processes left in their journals: which, of which run, and sending them in order."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.text import own_command, plural
from tradingbot_exp.tracking.run_names import INTERRUPTED
from tradingbot_exp.tracking.store.client import open_experiment
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.store.places import is_same_store, require_inside, sqlite_path
from tradingbot_exp.tracking.store.store import default_uri
from tradingbot_exp.tracking.writing.outbox.journal import HEADER, Journal
from tradingbot_exp.tracking.writing.outbox.send import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

_FOLDER = Path(".tradingbot") / "unsent"
ID_TAG = "tradingbot.local_id"


class InUseError(TrackingError):
    """A living process adds to records, or sends them."""


def unsent_folder() -> Path:
    """Return the folder under which the journals of this command are."""
    return launch_dir() / _FOLDER


def unsent_runs(root: Path, since: float = 0.0) -> list[Path]:
    """List the journals below `root` in which records wait and that no process is at work on, oldest first.

    Those that an earlier process left without any such record are removed.

    Parameters
    ----------
    root : Path
        A launch directory.
    since : float
        Only those begun after it, in seconds since 1970.
    """
    begun: dict[Path, float] = {}
    for header in (root / _FOLDER).glob(f"*/{HEADER}"):
        folder = header.parent
        with suppress(FileNotFoundError):  # sent meanwhile
            began = header.stat().st_mtime
            if began >= since and _is_left(folder):
                begun[folder] = began
    return sorted(begun, key=lambda folder: begun[folder])


def _is_left(folder: Path) -> bool:
    """Tell whether a journal has records, or something that is none, and no process; remove one without any."""
    try:
        journal = Journal.read(folder)
        if not journal.try_lock():
            return False
        try:
            if any(True for _ in journal.records()) or journal.header["run_id"] is None:
                return True
            journal.remove()
        finally:
            journal.release()
    except TrackingError:  # whoever wants to send it names it
        return True
    return False


def waiting_run_id(folder: Path) -> str | None:
    """Return the run that records in `folder` are of; None if MLflow does not know it yet, or they cannot be read."""
    with suppress(TrackingError, FileNotFoundError):
        found: str | None = Journal.read(folder).header["run_id"]
        return found
    return None


def closes_run(folder: Path) -> bool:
    """Tell whether the records in `folder` say how their run ended; records that cannot be read do not."""
    with suppress(TrackingError, FileNotFoundError):
        return any(record.kind == "end" for record, _ in Journal.read(folder).records())
    return False


def must_fail(folder: Path) -> bool:
    """Tell whether records waiting in `folder` make the exit status an error; those that cannot be read do not."""
    with suppress(TrackingError, FileNotFoundError):
        header = Journal.read(folder).header
        return header["on_error"] == "raise" and "failure" in header
    return False


def stored_uri(folder: Path) -> str:
    """Return the address of the store that records in `folder` were meant for, passwords masked.

    An SQLite store may have been moved with the launch directory: then it is where that is now.

    Raises
    ------
    FileNotFoundError, TrackingError
        The records are sent, and removed; or they are another user's, or damaged.
    """
    header = Journal.read(folder).header
    uri = str(header["uri"])
    path = sqlite_path(uri)
    if path is None:
        return uri
    before = _launched_from(Path(header["folder"])) if "folder" in header else path.parent
    moved = _launched_from(folder) / path.relative_to(before) if path.is_relative_to(before) else path
    is_meant = moved.is_file() and ("folder" in header or not path.is_file())
    return uri.replace(str(path), str(moved)) if is_meant else uri


def send_command(uri: str) -> str:
    """Return the command that sends what waits here for a store, which is named if it is not the one meant without."""
    named = () if is_same_store(uri, default_uri()) else ("--tracking-uri", redact(uri))
    return own_command("doctor", "--fix", *named)


def _launched_from(folder: Path) -> Path:
    """Return the directory that the command with a journal was started from."""
    return folder.absolute().parents[len(_FOLDER.parts)]


def send_unsent(folder: Path, client: MlflowClient) -> tuple[str, int]:
    """Send the records kept in `folder`, in order, and remove the folder; may be interrupted and repeated.

    Parameters
    ----------
    folder : Path
        One of `unsent_runs`.
    client : MlflowClient
        Client of the store that is to have them.

    Returns
    -------
    tuple of (str, int)
        The run's id and the number of records sent; batches that follow each other count as one.

    Raises
    ------
    InUseError, FileNotFoundError, TrackingError
        A living process is at work on them; or they are sent, and removed; or they are another user's, or damaged.
    """
    journal = Journal.read(folder)
    if not journal.try_lock():
        raise InUseError(f"The records in {folder} are of a run that is still going on. Send them when it has ended.")
    try:
        if journal.header["run_id"] is None:
            journal.write_header(run_id=_created(journal.header, client))
        run = client.get_run(journal.header["run_id"])
        number = journal.send(client, run.info.run_id, partial(_admitted, run, journal.header.get("owner", {})))
        journal.remove()
    finally:
        journal.release()
    return str(run.info.run_id), number


def _created(header: Mapping[str, Any], client: MlflowClient) -> str:
    """Create the run of a journal, or find it if a sender was interrupted before it could take note."""
    experiment_id = open_experiment(client, client.tracking_uri, header["experiment"])
    query = f"tags.`{ID_TAG}` = '{header['tags'][ID_TAG]}'"
    made = client.search_runs([experiment_id], query, max_results=1)
    run = made[0] if made else client.create_run(experiment_id, header["start_time"], header["tags"], header["name"])
    return str(run.info.run_id)


def _admitted(run: Run, owner: Mapping[str, str], record: Record) -> Record | None:
    """Return what of a record still holds for a run, that others may have seen to since its process died."""
    if "file" in record.content:
        require_inside(run.info.artifact_uri, run.info.run_id, record.content["folder"], Path(record.content["file"]))
    tags = run.data.tags
    if "resumed.count" in tags and not owner.items() <= tags.items():
        return None  # it was resumed, from its checkpoint
    if tags.get("trial.state") != INTERRUPTED:
        return record
    # Its study has closed it and tried its point again: it gets what it had done, and stays closed.
    if record.kind == "batch":
        own = {name: text for name, text in record.content["tags"].items() if name not in (*tags, "trial.values")}
        return Record("batch", {**record.content, "tags": own})
    return None if record.kind == "end" else record


def send_left_behind(client: MlflowClient) -> None:
    """Send what processes that were started here left for a client's store; what cannot be sent is named, and stays."""
    sent = 0
    for folder in unsent_runs(launch_dir()):
        try:
            if is_same_store(stored_uri(folder), client.tracking_uri):
                send_unsent(folder, client)
                sent += 1
        except InUseError:  # another process was faster
            continue
        except Exception as error:  # one run's records are no reason not to start another
            if (folder / HEADER).exists():  # else another process has sent them meanwhile
                log.warning("Records in %s, which an earlier process left, cannot be sent: %s", folder, reason(error))
    if sent:
        log.info("Records of %s that an earlier process left on this disk are in MLflow now.", plural(sent, "run"))
