"""What tests share: a migrated store, one finished default run, and servers that end with their test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from mlflow import MlflowClient
from support import Finished, clean_environment, stop_server, train

settings.register_profile("here", deadline=None)  # a busy machine is no failure
settings.load_profile("here")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all worker processes of this test session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Let the first worker make `folder`, and the others wait for it."""
    with FileLock(folder.with_suffix(".lock")):
        done = folder / ".done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def store_template(shared_folder: Path) -> Path:
    """A migrated, empty SQLite store: migrating takes seconds, copying does not."""

    def make(folder: Path) -> None:
        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return once(shared_folder / "store", make) / "mlflow.db"


@pytest.fixture
def workdir(tmp_path: Path, store_template: Path) -> Path:
    """An empty launch directory outside git, but for a migrated store."""
    shutil.copy(store_template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def default_run(shared_folder: Path) -> Finished:
    """The main job, run once as a newcomer would: no store, nothing set, output piped."""

    def make(folder: Path) -> None:
        done = train(folder)
        (folder / "out.txt").write_text(done.out)
        (folder / "err.txt").write_text(done.err)
        (folder / "status.txt").write_text(str(done.status))

    folder = once(shared_folder / "default-run", make)
    texts = [(folder / name).read_text() for name in ("out.txt", "err.txt", "status.txt")]
    return Finished(folder, texts[0], texts[1], int(texts[2]))


@pytest.fixture(autouse=True)
def _no_steering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the environment of whoever runs the tests from steering them."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "HYDRA_", "TRADINGBOT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start_server() -> Iterator[Callable[[list[str], Path, int], subprocess.Popen[bytes]]]:
    """Start servers that are ended with the test, each in a process group of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], cwd: Path, port: int) -> subprocess.Popen[bytes]:
        program = str(Path(sys.executable).with_name(command[0]))
        server = subprocess.Popen(
            [program, *command[1:]],
            cwd=cwd,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(server)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert server.poll() is None, f"{command} ended by itself"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    return server
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"{command} did not answer")

    yield start
    for server in started:
        stop_server(server)
