"""Real commands in subprocesses, and what they left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run

REPOSITORY = Path(__file__).resolve().parents[1]
CI = os.environ.get("CI", "").lower() in ("1", "true")
# Seconds for which a store is away.
OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "15"))
in_ci = pytest.mark.skipif(not CI, reason="takes long: CI runs it, and so does CI=true make test")


def give_up(why: str) -> NoReturn:
    """Skip a test that this machine has not what it needs for, with the reason; in CI, where all of it is, fail."""
    if CI:
        pytest.fail(f"{why}, and CI tests everything")
    pytest.skip(why)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as a made-up author, and give what it prints."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Finished:
    """A finished command: where it ran, what it printed, how it ended."""

    cwd: Path
    out: str
    err: str
    status: int

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.cwd / 'mlflow.db'}")

    def runs(self) -> list[Run]:
        """All runs of the store, oldest first."""
        client = self.client
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(ids, order_by=["attributes.start_time ASC"]))

    @property
    def run(self) -> Run:
        (run,) = self.runs()
        return run

    def artifacts(self, run: Run | None = None) -> Path:
        return artifact_folder(run or self.run)


def artifact_folder(run: Run) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def make_run(
    client: MlflowClient,
    experiment: str,
    kind: str,
    status: str = "FINISHED",
    start: int | None = None,
    tags: Mapping[str, str] | None = None,
    **named: str,
) -> str:
    """Make a run of a kind, with tags; in names, double underscores stand for dots, and empty values for none."""
    given = {"run.kind": kind, **(tags or {}), **{name.replace("__", "."): value for name, value in named.items()}}
    run_id = client.create_run(experiment, start, {name: value for name, value in given.items() if value}).info.run_id
    if status != "RUNNING":
        client.set_terminated(run_id, status, None if start is None else start + 2500)
    return str(run_id)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: that of the tests, without what would steer the command."""
    steering = ("MLFLOW_", "HYDRA_", "GIT_", "TRADINGBOT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return kept | {"OMP_NUM_THREADS": "1"} | dict(extra or {})


def python(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 240) -> Finished:
    """Run this interpreter in `cwd`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Finished(cwd, done.stdout, done.stderr, done.returncode)


def start(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start this interpreter in `cwd`, without waiting for its end."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=clean_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(cwd: Path, *overrides: str, env: Mapping[str, str] | None = None) -> Finished:
    """Run ``python -m tradingbot_exp.train`` in `cwd`."""
    return python(cwd, "-m", "tradingbot_exp.train", *overrides, env=env)


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """Kill a server and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


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


def wait_until(page: Any, condition: str) -> None:
    """Poll a browser's page: Playwright's own `wait_for_function` needs `eval`, which our pages' policy forbids."""
    deadline = time.monotonic() + 60  # a busy machine is no failure
    while time.monotonic() < deadline:
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"not true within a minute: {condition}")
