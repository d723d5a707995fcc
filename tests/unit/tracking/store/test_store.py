"""A store that is created here: how it commits, by the disk it lies on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tradingbot_exp.tracking.store.client import open_client


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete")])
def test_a_store_writes_ahead_only_where_no_other_machine_has_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    mounts = [("/", "ext4" if kind != "ext4" else "nfs4"), (str(tmp_path), kind)]
    parts = [SimpleNamespace(mountpoint=point, fstype=each) for point, each in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)
    client = open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_experiment("kept")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == (mode,)
        assert ("kept",) in database.execute("SELECT name FROM experiments").fetchall()
