"""The journal of a run: a folder of this disk that every record is written into before MLflow gets it.

``run.json`` says of which run and store the records are, ``records.jsonl`` has one a line, ``sent`` how many bytes of
it MLflow has, ``files/`` the artifacts. The process at work holds a lock, which a kill releases.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock, Timeout

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.tracking.writing.outbox.send import Record, is_record, merged, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

HEADER = "run.json"


class Journal:
    """Written by the process at work, from one thread at a time; and read, by that process or after its end.

    Parameters
    ----------
    folder : Path
        Made when the first record is written.

    Attributes
    ----------
    header : dict
        `run_id` (None while MLflow does not know the run), `uri` (without credentials), `on_error`, what a run is
        created with, and `failure` once nothing more is sent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.header = folder, dict[str, Any]()
        self._lock = FileLock(folder / "in-use.lock", thread_local=False)
        self._file: BinaryIO | None = None
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
        self, file = cls(folder), folder / HEADER
        try:
            if hasattr(os, "geteuid") and {folder.stat().st_uid, file.stat().st_uid} != {os.geteuid()}:
                raise TrackingError(f"{folder} is another user's: its records are not sent.")
            self.header = json.loads(file.read_text(encoding="utf-8"))
            texts = [self.header["uri"], self.header["on_error"]]
            if not all(isinstance(each, str) for each in [*texts, self.header["run_id"] or ""]):
                raise ValueError("it names no run and no store")
            sent = folder / "sent"
            self.sent = int(sent.read_text() or 0) if sent.exists() else 0
        except FileNotFoundError:
            raise
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise TrackingError(f"{file} cannot be read, and nothing in its folder is sent: {error!r}") from error
        records = folder / "records.jsonl"
        self.written = records.stat().st_size if records.exists() else 0
        return self

    @property
    def is_waiting(self) -> bool:
        """Whether MLflow lacks a record."""
        return self.written > self.sent

    def try_lock(self) -> bool:
        """Keep other processes from sending; give whether none is at work here."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let other processes send what is left."""
        if self._file is not None:
            if self.is_waiting:  # for longer, perhaps
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        self._lock.release()

    def write_header(self, **changes: Any) -> None:
        """Write who the records are of, so that at any moment the old header or the new one is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock.is_locked:
            self._lock.acquire()
        self.header |= changes
        fresh = self.folder / f"{HEADER}.new"
        fresh.write_text(json.dumps(self.header), encoding="utf-8")
        fresh.replace(self.folder / HEADER)

    def append(self, record: Record) -> None:
        """Write a record; a file or folder that it names is copied.

        Raises
        ------
        OSError
            The disk is full, for example; then the journal is as it was.
        """
        content = dict(record.content)
        if self._file is None:
            if not (self.folder / HEADER).exists():
                self.write_header()
            self._file = (self.folder / "records.jsonl").open("ab", buffering=0)
        if "file" in content:
            content["file"] = self._keep(Path(content["file"]))
        line = json.dumps({"kind": record.kind, **content}, separators=(",", ":")).encode() + b"\n"
        if self._file.write(line) != len(line):
            self._file.truncate(self.written)
            raise OSError(f"{self._file.name} takes no more")
        self.written += len(line)

    def _keep(self, source: Path) -> str:
        kept = Path("files") / uuid.uuid4().hex[:8] / source.name
        target = self.folder / kept
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        return str(kept)

    def records(self) -> Iterator[tuple[Record, int]]:
        """Return the records that MLflow lacks, each with the position behind it.

        A line that was cut off in writing is no record, and nothing comes after it.

        Raises
        ------
        TrackingError
            A line is something else.
        """
        file = self.folder / "records.jsonl"
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
                kept = (self.folder / content["file"]).resolve()
                if not kept.is_relative_to((self.folder / "files").resolve()):
                    raise ValueError(f"{content['file']} lies outside")
                content["file"] = str(kept)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrackingError(
                f"{self.folder / 'records.jsonl'} is damaged, or was not written by tradingbot_exp: what ends at byte "
                f"{position} is not a record ({error}). It is not sent."
            ) from error
        return Record(kind, content)

    def send(self, client: MlflowClient, run_id: str, admit: Callable[[Record], Record | None] | None = None) -> int:
        """Send what MLflow lacks, in order; give the number of records, batches that follow each other counted as one.

        Parameters
        ----------
        client : MlflowClient
        run_id : str
        admit : callable, optional
            Gives what is to be sent of a record, if anything.
        """
        number = 0
        for record, position in merged(self.records()):
            admitted = record if admit is None else admit(record)
            if admitted is not None:
                send(client, run_id, admitted)
            self.sent, number = position, number + 1
            with suppress(OSError):  # a record that is sent again does no harm
                (self.folder / "sent").write_text(str(position))
            if "file" in record.content:
                shutil.rmtree(Path(record.content["file"]).parent, ignore_errors=True)
        return number

    def remove(self) -> None:
        """Remove the folder: MLflow has everything."""
        self.written = self.sent = 0
        (self.folder / HEADER).unlink(missing_ok=True)  # from here on nothing is left, should this be interrupted
        self.release()
        shutil.rmtree(self.folder, ignore_errors=True)
