"""Records that wait on this disk for MLflow: which, of which run, and sending them in order."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tradingbot_exp.config.paths import launch_dir
from tradingbot_exp.config.redaction import MASK
from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.writing.outbox.send import Record, create_run, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

log = logging.getLogger(__name__)

_FOLDER = Path(".tradingbot") / "unsent"
SEND_COMMAND = "python -m tradingbot_exp doctor --fix"
LOCK_FILE = "in-use.lock"
ID_TAG = "tradingbot.local_id"


def unsent_folder() -> Path:
    """Return the folder under which the records of this command wait, if they have to."""
    return launch_dir() / _FOLDER


def _header(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrackingError(f"{folder / 'run.json'} cannot be read: {error}") from error
    return found


def unsent_runs(root: Path, since: float = 0.0) -> list[Path]:
    """List the folders below `root` in which records wait, oldest first; only those begun after `since` (epoch s)."""
    begun = {path.parent: path.stat().st_mtime for path in (root / _FOLDER).glob("*/run.json")}
    return sorted((folder for folder in begun if begun[folder] >= since), key=lambda folder: begun[folder])


def waiting_run_id(folder: Path) -> str | None:
    """Give the run that records in `folder` are of; None if MLflow does not know it yet."""
    found: str | None = _header(folder)["run_id"]
    return found


def must_fail(folder: Path) -> bool:
    """Tell whether records waiting in `folder` make the command's exit status an error."""
    return bool(_header(folder)["on_error"] == "raise")


def send_unsent(folder: Path, client: MlflowClient, open_experiment: Callable[[str], str]) -> tuple[str, int]:
    """Send the records kept in `folder`, in order, and remove the folder; may be interrupted and repeated.

    Parameters
    ----------
    folder : Path
        One of `unsent_runs`.
    client : MlflowClient
        Client of the store that is to have them.
    open_experiment : callable
        Gives the id of an experiment by its name.

    Returns
    -------
    tuple of (str, int)
        The run's id and the number of records sent.

    Raises
    ------
    TrackingError
        A living process still adds records.
    """
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            return _send_all(folder, client, open_experiment)
    except Timeout as error:
        raise TrackingError("their run is still going on; send them when it has ended") from error


def stored_uri(folder: Path) -> str | None:
    """Give the address of the store that records in `folder` belong to; None if a password in it was masked."""
    uri = str(_header(folder)["uri"])
    return None if MASK in uri else uri


def _send_all(folder: Path, client: MlflowClient, open_experiment: Callable[[str], str]) -> tuple[str, int]:
    header_file = folder / "run.json"
    header = _header(folder)
    if header["run_id"] is None:
        experiment_id = open_experiment(header["experiment"])
        local_id = header["tags"][ID_TAG]
        made = client.search_runs([experiment_id], f"tags.`{ID_TAG}` = '{local_id}'", max_results=1)
        header["run_id"] = made[0].info.run_id if made else create_run(client, experiment_id, header).run_id
        replace_file(header_file, json.dumps(header))
    journal = folder / "records.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    sent = 0
    for line in lines:
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            log.warning("%s: a record that was cut off in writing is left out", journal)
            continue
        if "file" in content:
            content["file"] = str(folder / content["file"])
        send(client, header["run_id"], Record(content.pop("kind"), content))
        sent += 1
    header_file.unlink()  # from here on the folder counts as sent, should its removal be interrupted
    shutil.rmtree(folder)
    return header["run_id"], sent


def replace_file(path: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one at any moment."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
