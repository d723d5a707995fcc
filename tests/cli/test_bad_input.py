"""Bad input gets one clear message before any training, and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import REFUSED, lay_out
from support import give_up, in_ci, train

from tradingbot_exp.train import run

SECRET = uuid.uuid4().hex
# By the real command, of each kind one; the others in this process, by the function that the command is.
BY_COMMAND = (
    "the guide's spelling",
    "unknown key",
    "nested layers",
    "no model",
    "a pipe",
    "broken YAML",
    "missing file",
)
SLOW_BY_COMMAND = ("a study of an unknown storage", "layers beyond memory", "a database that is down")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def check_refusal(case: str, folder: Path, before: dict[Path, bytes], status: object, out: str, err: str) -> None:
    assert status == 1
    for text in REFUSED[case][1]:
        assert text in err
    assert err.startswith("Error: ") and "Traceback" not in err and "HYDRA_FULL_ERROR" not in err
    assert out == ""
    assert contents(folder) == before


def words_of(case: str) -> list[str]:
    return ["--multirun" if word == "-m" else word for word in REFUSED[case][0]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with the files of `bad_inputs`, and this process as it was when a command has run in it."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "HYDRA_", "TRADINGBOT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # which the command sets; so it is put back
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    root, handlers = logging.getLogger(), list(logging.getLogger().handlers)
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    root.handlers[:] = handlers
    for number, handler in signals.items():
        signal.signal(number, handler)


def test_there_are_many_inputs() -> None:
    assert len(REFUSED) >= 240


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_a_message_and_leaves_nothing(
    case: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(here)
    monkeypatch.setattr(sys, "argv", ["train", *words_of(case)])
    status = run(words_of(case))
    check_refusal(case, here, before, status, *capsys.readouterr())


@pytest.mark.parametrize("case", [*BY_COMMAND, *(pytest.param(case, marks=in_ci) for case in SLOW_BY_COMMAND)])
def test_the_command_does_the_same(case: str, tmp_path: Path) -> None:
    lay_out(tmp_path)
    before = contents(tmp_path)
    done = train(tmp_path, *words_of(case), fresh=True)
    check_refusal(case, tmp_path, before, done.status, done.out, done.err)


@in_ci
def test_a_directory_with_spaces_and_other_letters_can_be_started_from(store_template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spaß und #"
    folder.mkdir()
    shutil.copy(store_template, folder / "mlflow.db")
    done = train(folder, "data=synthetic", "training=smoke")
    assert done.status == 0, done.err
    assert (folder / "mlruns").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["spaß und #"]


@pytest.mark.parametrize("name", ["quest?x", "pct%20x"])
def test_a_directory_that_an_sqlite_address_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    done = train(folder)
    assert done.status == 1
    assert name in done.err and "% or ?" in done.err
    assert [path.name for path in tmp_path.rglob("*")] == [name]


@in_ci
def test_a_kill_while_the_store_is_made_leaves_it_makeable(tmp_path: Path) -> None:
    making = subprocess.Popen([sys.executable, "-m", "tradingbot_exp.train"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".mlflow.db.new")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    making.kill()
    making.wait()
    assert not (tmp_path / "mlflow.db").exists() or (tmp_path / "mlflow.db").stat().st_size == 0
    done = train(tmp_path, "data=synthetic", "training=smoke")
    assert done.status == 0, done.err


def test_hydra_full_error_adds_the_traceback(tmp_path: Path) -> None:
    done = train(tmp_path, "training.epochs=0", env={"HYDRA_FULL_ERROR": "1"})
    assert done.status == 1
    assert "Traceback" in done.err and "Error: training.epochs must be" in done.err


@in_ci
def test_a_server_that_is_down_is_refused_without_its_password(tmp_path: Path, free_port: int) -> None:
    uri = f"http://me:{SECRET}@127.0.0.1:{free_port}"
    done = train(tmp_path, f"tracking.uri={uri}", env={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    assert done.status == 1
    assert "nothing listens there" in done.err and f"127.0.0.1:{free_port}" in done.err
    assert SECRET not in done.err + done.out
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_refused_before_training(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        give_up("mounting a small file system takes root's rights")
    try:
        done = train(small)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.status == 1
    assert "The disk is full" in done.err and str(small) in done.err
    assert left == []


def test_help_shows_the_keys_and_how_to_use_them(tmp_path: Path) -> None:
    done = train(tmp_path, "--help")
    assert done.status == 0
    for text in (
        "model.learning_rate=0.005",
        "data=csv",
        "--multirun",
        "hidden_layers",
        "cost_bps",
        "mlp",
        "mlflow ui",
    ):
        assert text in done.out
