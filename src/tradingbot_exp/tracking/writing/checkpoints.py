"""The checkpoint of a run: one file among its artifacts, replaced as a whole, and read without executing anything.

A file begins with a line that says what it is and a line with the SHA-256 of the rest, so that damage is seen.
Where the artifacts are a folder of this machine, it is written beside the old one and moved over it. Else two
names are uploaded to in turn, and the tag ``checkpoint.file`` names the one that arrived last.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tradingbot_exp.config.redaction import redact
from tradingbot_exp.errors import RunError, TrackingError, TrainingError
from tradingbot_exp.runtime.interrupt import signals_held
from tradingbot_exp.runtime.text import train_command
from tradingbot_exp.tracking.store.errors import reason
from tradingbot_exp.tracking.store.places import inside, is_same_store, local_artifacts
from tradingbot_exp.tracking.store.store import default_uri

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store
    from tradingbot_exp.tracking.writing.run import TrackedRun

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
FILE_TAG = "checkpoint.file"
_LOCAL, _REMOTE = "last.pt", ("a.pt", "b.pt")
_MAGIC = b"tradingbot_exp checkpoint 1\n"
# Commands that go on with the runs of this process that have a checkpoint, by run id.
_commands: dict[str, str] = {}


class CheckpointFile:
    """Writes and removes the checkpoint of an open run.

    Parameters
    ----------
    run : TrackedRun
        In MLflow.
    current : str, optional
        The file that the run has already, as `FILE_TAG` names it.
    plugins : sequence of str
        Modules that the command which goes on with the run has to name.
    """

    def __init__(self, run: TrackedRun, current: str | None = None, plugins: Sequence[str] = ()) -> None:
        self._run, self._current, self._plugins = run, current, plugins
        self._folder = checkpoint_folder(run.delivery.artifact_uri, run.run_id)
        self._was_read = False
        if current is not None:
            self._announce()

    def write(self, content: dict[str, Any]) -> bool:
        """Replace the checkpoint; return whether that went well. If not, the old one stays, and a warning says why.

        Raises
        ------
        TrainingError
            The content could not be read again without executing code.
        """
        data = encode(content)
        if not self._was_read:
            _require_readable(data)
            self._was_read = True
        try:
            with signals_held():
                self._run.flush()  # a hook's metrics of these epochs will not be logged again
                if self._folder is None and self._run.delivery.is_waiting:
                    raise TrackingError("MLflow is away")
                name = self._upload(data) if self._folder is None else _replace(self._folder, data)
                if name != self._current:
                    self._run.set_tags({FILE_TAG: name})
                    self._current = name
        except Exception as error:  # the disk, the network, MLflow: none of them is worth the training
            why = reason(error)
            log.warning("A checkpoint of the run %s could not be written: %s. Training goes on.", self._run.name, why)
            return False
        self._announce()
        return True

    def remove(self) -> None:
        """Remove it, when the run is FINISHED."""
        _commands.pop(self._run.run_id, None)
        client, run_id = self._run.delivery.client, self._run.run_id
        try:
            if self._folder is not None:
                _clear(self._folder)
            elif self._current is not None:
                from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

                get_artifact_repository(self._run.delivery.artifact_uri, self._run.uri).delete_artifacts(FOLDER)
            if self._current is not None and client is not None and self._run.delivery.failure is None:
                client.delete_tag(run_id, FILE_TAG)
        except Exception as error:
            log.warning("The checkpoint of the run %s could not be removed: %s", self._run.name, reason(error))

    def _announce(self) -> None:
        _commands[self._run.run_id] = resume_command(self._run.run_id, self._run.uri, self._plugins)

    def _upload(self, data: bytes) -> str:
        name = next(each for each in _REMOTE if f"{FOLDER}/{each}" != self._current)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            file.write_bytes(data)
            self._run.log_artifact(file, FOLDER)
        return f"{FOLDER}/{name}"


def checkpoint_folder(artifact_uri: str, run_id: str) -> Path | None:
    """Return the folder of a run's checkpoint; None if a server or a bucket has its artifacts.

    Raises
    ------
    TrackingError
        It, or what is written in it, is a link that leads out of the artifacts.
    """
    artifacts = local_artifacts(artifact_uri, run_id)
    if artifacts is None:
        return None
    for name in (_LOCAL, f"{_LOCAL}.new", f"{_LOCAL}.lock"):
        inside(artifacts, f"{FOLDER}/{name}")
    return artifacts / FOLDER


def has_checkpoint(run: Run) -> bool:
    """Tell whether a run has a checkpoint."""
    name, folder = run.data.tags.get(FILE_TAG), checkpoint_folder(run.info.artifact_uri, run.info.run_id)
    return name is not None and (folder is None or (folder.parent / name).is_file())


@contextmanager
def alone_with(run: Run) -> Iterator[None]:
    """Keep other processes of this machine from opening the same run again, for the length of a ``with`` block."""
    folder = checkpoint_folder(run.info.artifact_uri, run.info.run_id)
    if folder is None:
        yield
        return
    with FileLock(folder / f"{_LOCAL}.lock"):
        yield


def set_traceback_aside(run: Run) -> None:
    """Rename the traceback of a run that failed and is resumed, where the artifacts are on this machine."""
    folder = checkpoint_folder(run.info.artifact_uri, run.info.run_id)
    file = None if folder is None else inside(folder.parent, "error/traceback.txt")
    if file is not None and file.is_file():
        file.rename(file.with_name(f"traceback-{len(list(file.parent.iterdir()))}.txt"))


def read_checkpoint(store: Store, run: Run) -> dict[str, Any]:
    """Read the checkpoint of a run that has one.

    Raises
    ------
    RunError
        It is damaged, or of another version of this package.
    TrackingError
        The artifacts cannot be read.
    """
    name = run.data.tags[FILE_TAG]
    data = store.artifact(run, name, Path.read_bytes)
    what = f"The checkpoint {name} of the run {run.info.run_id} ({run.info.run_name})"
    advice = "Restore it from a copy, or train again without training.resume."
    if data is None:
        raise RunError(f"{what} is not there any more. {advice}")
    try:
        return decode(data)
    except ValueError as error:
        raise RunError(f"{what} {error}. {advice}") from error


def encode(content: dict[str, Any]) -> bytes:
    """Turn the content of a checkpoint into that of its file."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getvalue()
    return b"".join((_MAGIC, hashlib.sha256(body).hexdigest().encode(), b"\n", body))


def decode(data: bytes) -> dict[str, Any]:
    """Read what `encode` wrote, without executing anything.

    Raises
    ------
    ValueError
        Says what is wrong with it.
    """
    import torch

    if not data.startswith(_MAGIC):
        raise ValueError("is damaged, or was not written by this version of tradingbot_exp")
    digest, body = data[len(_MAGIC) :][:64], data[len(_MAGIC) + 65 :]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("is damaged: its content is not what was written")
    try:
        found: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        why = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot be read without executing code that it holds: {why}") from error
    return found


def resume_command(run_id: str, uri: str, plugins: Sequence[str] = ()) -> str:
    """Return the command that goes on with a run, from here; the plugins of a run are named by whoever trusts it."""
    words = [f"training.resume={run_id[:12]}", *([f"plugins=[{','.join(plugins)}]"] if plugins else [])]
    if not is_same_store(uri, default_uri()):
        words.append(f"tracking.uri={redact(uri)}")
    return train_command(words)


def commands() -> list[str]:
    """Return the commands that go on with the runs of this process that did not finish and have a checkpoint."""
    return list(_commands.values())


def _replace(folder: Path, data: bytes) -> str:
    """Write a file beside the checkpoint and move it over it: at any moment one of the two is there, and whole."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{_LOCAL}.new"
    try:
        with fresh.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(folder / _LOCAL)
    finally:
        fresh.unlink(missing_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return f"{FOLDER}/{_LOCAL}"


def _clear(folder: Path) -> None:
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _require_readable(data: bytes) -> None:
    """Refuse content with objects in it, such as a model of the user's own may keep in its state."""
    try:
        decode(data)
    except ValueError as error:
        raise TrainingError(
            "training.checkpoint_every: no checkpoint can be kept, since the state of the model or the optimizer holds "
            f"more than tensors, numbers and texts: it {error} Leave training.checkpoint_every out, or keep such "
            "objects out of state_dict()."
        ) from error
