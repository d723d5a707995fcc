"""An error that this package did not raise on purpose still gives one line that says what to do, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import clean_environment, in_ci, train

from tradingbot_exp.cli.failure import in_one_line


def failure_of(action: object, *arguments: object, **options: object) -> str:
    assert callable(action)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any error is what is told
        action(*arguments, **options)
    assert isinstance(caught.value, Exception)
    return in_one_line(caught.value)


def test_a_folder_that_cannot_be_made_is_told_with_the_key_that_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").touch()
    told = failure_of(Path("outputs/now").mkdir, parents=True)
    assert told.startswith(f"the folder outputs/now cannot be made in {tmp_path}: Not a directory. ")
    assert "hydra.run.dir=FOLDER" in told and "hydra.sweep.dir=FOLDER" in told
    absolute = tmp_path / "outputs" / "now"
    assert failure_of(absolute.mkdir, parents=True) == f"Not a directory: {absolute}"


def test_other_errors_are_told_with_file_or_place() -> None:
    assert failure_of(Path("/nowhere").read_text) == "No such file or directory: /nowhere"
    assert failure_of(int, "x").startswith("ValueError: invalid literal for int() with base 10: 'x' (test_failure.py")


@in_ci
def test_a_run_whose_output_folder_cannot_be_made_says_how_to_move_it(workdir: Path) -> None:
    (workdir / "outputs").touch()
    done = train(workdir, "data=synthetic", "training=smoke")
    assert done.status == 1
    assert done.err.startswith("Error: the folder outputs/") and "hydra.run.dir=FOLDER" in done.err
    assert "Traceback" not in done.err


@in_ci
@pytest.mark.parametrize(
    ("closed", "status", "told"),
    [(True, 128 + signal.SIGPIPE, ""), (False, 1, "Error: OSError: [Errno 28] No space left on device")],
    ids=["whoever reads has had enough", "full disk"],
)
def test_a_command_whose_output_cannot_be_written_ends_without_a_traceback(
    closed: bool, status: int, told: str, workdir: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tradingbot_exp", "doctor"],
            cwd=workdir,
            env=clean_environment(),
            stdout=writing if closed else full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
        os.close(full)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(told) and "Traceback" not in done.stderr
