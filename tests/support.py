"""Real commands in subprocesses, and what they left behind."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
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


class Command:
    """A command that runs: a fork of a process that has loaded what is heavy, see `forks`. Its output is in files."""

    def __init__(
        self, cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, own_group: bool = False
    ) -> None:
        self.cwd = cwd
        self.returncode: int | None = None
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        answers, answer_to = os.pipe()
        self._answers = os.fdopen(answers)
        request = {"cwd": str(cwd), "arguments": arguments, "env": clean_environment(env), "own_group": own_group}
        with Path(os.devnull).open() as nothing:
            streams = [nothing.fileno(), self._out.fileno(), self._err.fileno(), answer_to]
            socket.send_fds(_forks(), [json.dumps(request).encode()], streams)
        os.close(answer_to)
        self.pid = int(self._answers.readline())
        self._left = weakref.finalize(self, _kill, self.pid)  # of a test that failed in between

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._status(0)

    def _status(self, timeout: float) -> int | None:
        poll = select.poll()  # select.select takes no descriptor above 1,023
        poll.register(self._answers)
        if self.returncode is None and poll.poll(1000 * timeout):
            self.returncode = int(self._answers.readline())
            self._left.detach()
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Wait for the end, and return the exit status."""
        status = self._status(timeout)
        if status is None:
            self.kill()
            raise AssertionError(f"not over after {timeout:g} s:\n{self.out}{self.err}")
        return status

    def end(self, timeout: float = 240) -> Finished:
        """Wait for the end, and return what it left."""
        status = self.wait(timeout)
        return Finished(self.cwd, self.out, self.err, status)

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return os.pread(self._out.fileno(), 1 << 24, 0).decode()

    @property
    def err(self) -> str:
        return os.pread(self._err.fileno(), 1 << 24, 0).decode()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        if self.poll() is None:
            _kill(self.pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@functools.cache
def _forks() -> socket.socket:
    """Start the process that forks; it ends when this one has."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        program = str(Path(__file__).with_name("forks.py"))
        nothing = subprocess.DEVNULL
        forks = subprocess.Popen(
            [sys.executable, program, str(number)],
            pass_fds=[number],
            env=clean_environment(),
            stdin=nothing,
            stdout=nothing,
        )
    atexit.register(forks.wait)
    atexit.register(ours.close)  # which goes before
    return ours


def python(
    cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 240, fresh: bool = False
) -> Finished:
    """Run Python in `cwd`; `fresh` in a new interpreter, where the start itself or what is imported is tested."""
    if not fresh:
        return Command(cwd, *arguments, env=env).end(timeout)
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


def train(cwd: Path, *overrides: str, env: Mapping[str, str] | None = None, fresh: bool = False) -> Finished:
    """Run ``python -m tradingbot_exp.train`` in `cwd`."""
    return python(cwd, "-m", "tradingbot_exp.train", *overrides, env=env, fresh=fresh)


def start(cwd: Path, *overrides: str, env: Mapping[str, str] | None = None) -> Command:
    """Start ``python -m tradingbot_exp.train`` in `cwd`, without waiting for its end."""
    return Command(cwd, "-m", "tradingbot_exp.train", *overrides, env=env)


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
