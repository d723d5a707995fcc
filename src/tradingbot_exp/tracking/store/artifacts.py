"""One artifact of a run, by its path, from this machine's disk or from a server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingbot_exp.tracking.store.places import local_artifacts

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tradingbot_exp.tracking.store.store import Store


def read_artifact(store: Store, run: Run, path: str, parse: Callable[[Path], Any]) -> Any:
    """Read one artifact; None if it is not there."""
    artifacts = local_artifacts(run.info.artifact_uri)
    if artifacts is not None:
        file = artifacts / path
        return parse(file) if file.is_file() else None
    folder = str(Path(path).parent)
    listed = store.client.list_artifacts(run.info.run_id, "" if folder == "." else folder)
    if path not in {each.path for each in listed}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return parse(Path(store.client.download_artifacts(run.info.run_id, path, scratch)))
