"""The journal of a run: a folder of this disk that every record is written into before MLflow gets it.

``run.json`` says of which run and store the records are, ``records.jsonl`` has one a line, ``sent`` how many bytes of
it MLflow has, ``files/`` the artifacts. The process at work holds a lock, which a kill releases.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.store.places import inside, require_unlinked
from tradingbot_exp.tracking.writing.outbox.send import Record, is_record, merged, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

log = logging.getLogger(__name__)

HEADER = "run.json"
_RECORDS, _SENT, _FILES, _LOCK = "records.jsonl", "sent", "files", "in-use.lock"


class Journal:
    """Written by the process at work, from one thread at a time; and read, by that process or after its end.

    Parameters
    ----------
    folder : Path
        Made when the first record is written.

    Attributes
    ----------
    header : dict
        `run_id` (None while MLflow does not know the run), `uri` (without credentials), `folder` (the journal's own,
        as it was then), `on_error`, what a run is created with, and `failure` once nothing more is sent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.header = folder, dict[str, Any]()
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self.written = self.sent = 0

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read what an earlier process left.

        Raises
        ------
        FileNotFoundError
            It is sent, and removed.
        TrackingError
            The folder is another user's, or holds something else.
        """
        self = cls(folder)
        self._load()
        return self

    def _load(self) -> None:
        folder, file = self.folder, self.folder / HEADER
        for name in ("", HEADER, _RECORDS, _SENT, _FILES, _LOCK, f"{HEADER}.new", f"{_SENT}.new"):
            if (folder / name).is_symlink():  # it would be read, locked or written through
                raise TrackingError(f"{folder / name} is a link, which is not followed: nothing in it is sent.")
        try:
            if hasattr(os, "geteuid") and {folder.stat().st_uid, file.stat().st_uid} != {os.geteuid()}:
                raise TrackingError(f"{folder} is another user's: its records are not sent.")
            self.header = json.loads(file.read_text(encoding="utf-8"))
            texts = [self.header["uri"], self.header["on_error"], self.header.get("folder", "")]
            if self.header["run_id"] is not None:  # else MLflow does not know the run yet
                texts.append(self.header["run_id"])
            if not all(isinstance(each, str) for each in texts):
                raise ValueError("it names no run and no store")
            sent = folder / _SENT
            self.sent = int(sent.read_text() or 0) if sent.exists() else 0
        except FileNotFoundError:
            raise
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise TrackingError(f"{file} cannot be read, and nothing in its folder is sent: {error!r}") from error
        records = folder / _RECORDS
        self.written = records.stat().st_size if records.exists() else 0

    @property
    def is_waiting(self) -> bool:
        """Whether MLflow lacks a record."""
        return self.written > self.sent

    def try_lock(self) -> bool:
        """Keep other processes from sending, and read anew what they have done; False if one is at work here.

        Raises
        ------
        FileNotFoundError, TrackingError
            See `read`.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            self._load()
        except BaseException:
            self._lock.release()
            if not (self.folder / HEADER).exists():  # it was sent and removed, and the lock made its folder anew
                with suppress(OSError):
                    (self.folder / _LOCK).unlink(missing_ok=True)
                    self.folder.rmdir()
            raise
        return True

    def release(self) -> None:
        """Let other processes send what is left."""
        records = self.folder / _RECORDS
        if self.is_waiting and records.exists():  # for longer, perhaps
            with records.open("rb") as stream:
                os.fsync(stream.fileno())
        self._lock.release()

    def write_header(self, **changes: Any) -> None:
        """Write who the records are of."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock.is_locked:
            self._lock.acquire()
        self.header |= changes
        self._replace(HEADER, json.dumps(self.header))

    def _replace(self, name: str, text: str) -> None:
        """Write a file so that at any moment the old one or the new one is there, and whole."""
        fresh = self.folder / f"{name}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.folder / name)

    def append(self, record: Record) -> None:
        """Write a record; a file or folder that it names is copied.

        Raises
        ------
        OSError
            The disk is full, for example; then the journal is as it was.
        """
        content = dict(record.content)
        if not (self.folder / HEADER).exists():
            self.write_header()
        if "file" in content:
            content["file"] = self._keep(Path(content["file"]))
        line = json.dumps({"kind": record.kind, **content}, separators=(",", ":")).encode() + b"\n"
        with (self.folder / _RECORDS).open("ab", buffering=0) as stream:  # of a batch, many journals are open at once
            if stream.write(line) != len(line):
                stream.truncate(self.written)
                raise OSError(f"{stream.name} takes no more")
        self.written += len(line)

    def _keep(self, source: Path) -> str:
        kept = Path(_FILES) / uuid.uuid4().hex[:8] / source.name
        target = self.folder / kept
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        return str(kept)

    def records(self) -> Iterator[tuple[Record, int]]:
        """Yield the records that MLflow lacks, each with the position behind it.

        A line that was cut off in writing is no record, and nothing comes after it.

        Raises
        ------
        TrackingError
            A line is something else.
        """
        file = self.folder / _RECORDS
        if not file.exists():
            return
        with file.open("rb") as stream:
            position = stream.seek(self.sent)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                position += len(line)
                yield self._parsed(line, position), position

    def _parsed(self, line: bytes, position: int) -> Record:
        try:
            content = json.loads(line)
            kind = content.pop("kind")
            if not is_record(kind, content):
                raise ValueError(f"{kind!r} is not a kind of record, or has not what it needs")
            if "file" in content:
                kept = inside(self.folder / _FILES, str(Path(content["file"]).relative_to(_FILES)))
                require_unlinked(kept)
                inside(Path("/artifacts"), content["folder"])
                content["file"] = str(kept.resolve())
        except (ValueError, KeyError, TypeError, AttributeError, TrackingError) as error:
            raise TrackingError(
                f"{self.folder / _RECORDS} is damaged, or was not written by tradingbot_exp: what ends at byte "
                f"{position} is not a record ({error}). It is not sent."
            ) from error
        return Record(kind, content)

    def send(self, client: MlflowClient, run_id: str, admit: Callable[[Record], Record | None] | None = None) -> int:
        """Send what MLflow lacks, in order; return the number of records, where batches that follow each other are one.

        An artifact is removed once it is sent; one that is gone is left out.

        Parameters
        ----------
        client : MlflowClient
        run_id : str
        admit : callable, optional
            Returns what is to be sent of a record, if anything.
        """
        number = 0
        for record, position in merged(self.records()):
            admitted, file = record if admit is None else admit(record), record.content.get("file")
            if file is not None and not Path(file).exists():
                log.warning("%s is gone: it was sent before, or somebody removed it. The rest is sent.", file)
            elif admitted is not None:
                send(client, run_id, admitted)
            self.sent, number = position, number + 1
            with suppress(OSError):  # a record that is sent again does no harm
                self._replace(_SENT, str(position))
            if file is not None:
                shutil.rmtree(Path(file).parent, ignore_errors=True)
        return number

    def remove(self) -> None:
        """Remove the folder: MLflow has everything."""
        self.written = self.sent = 0
        (self.folder / HEADER).unlink(missing_ok=True)  # from here on nothing is left, should this be interrupted
        self.release()
        shutil.rmtree(self.folder, ignore_errors=True)
