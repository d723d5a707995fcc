"""The study's storage: a journal that any kill leaves readable, databases opened by many, clean refusals."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.hpo.journal import transaction
from tradingbot_exp.hpo.storage import JOURNAL_NAME, check_storage, create_or_load, open_storage

HOLD = """
import sys, time
from pathlib import Path
from tradingbot_exp.hpo.journal import RepairingLock
journal = Path(sys.argv[1])
lock = RepairingLock(journal)  # without a name it would be collected, and let go
lock.acquire()
with journal.open("ab") as file:
    file.write(b'{"op_code":4,"wor')
print("held", flush=True)
time.sleep(600)
"""
OPEN = """
import sys, time
from pathlib import Path
from tradingbot_exp.hpo.storage import create_or_load, open_storage
print("ready", flush=True)
sys.stdin.readline()
storage, _ = open_storage(sys.argv[1], Path.cwd())
print(create_or_load(storage, "shared", ["minimize"])[1], flush=True)
"""


def study_at(folder: Path) -> optuna.Study:
    storage, _ = open_storage(None, folder)
    study, _ = create_or_load(storage, "s", ["minimize"])
    return study


def one_trial(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0.0, 1.0))
    return trial


def test_a_torn_last_line_is_cut_off_and_the_study_goes_on(tmp_path: Path) -> None:
    original = study_at(tmp_path / "original")
    one_trial(original)
    one_trial(original)
    whole = (tmp_path / "original" / JOURNAL_NAME).read_bytes()
    kept = whole[: whole.rstrip(b"\n").rfind(b"\n") + 1]
    folder = tmp_path / "torn"
    folder.mkdir()
    journal = folder / JOURNAL_NAME
    for cut in range(len(kept), len(whole)):
        journal.write_bytes(whole[:cut])
        storage, _ = open_storage(None, folder)
        study = optuna.load_study(study_name="s", storage=storage)
        # Reading changes nothing: another process may just be writing that line.
        assert journal.read_bytes() == whole[:cut]
        # The last record says that the second trial has ended.
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]
        study.tell(1, 0.5)
        assert one_trial(study).number == 2
        text = journal.read_bytes()
        assert text.startswith(kept) and text.endswith(b"}\n")
        assert [trial.state.name for trial in study_at(folder).trials] == ["COMPLETE"] * 3


@pytest.mark.parametrize("cut", [1, 9, 20])
def test_a_journal_torn_in_its_first_line_begins_anew(tmp_path: Path, cut: int) -> None:
    one_trial(study_at(tmp_path / "original"))
    (tmp_path / JOURNAL_NAME).write_bytes((tmp_path / "original" / JOURNAL_NAME).read_bytes()[:cut])
    assert one_trial(study_at(tmp_path)).number == 0


def test_a_last_line_that_nobody_can_read_is_cut_off_and_one_before_others_is_named(tmp_path: Path) -> None:
    one_trial(study_at(tmp_path))
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":8,"x' + b"\0" * 300 + b"\n")
    assert one_trial(study_at(tmp_path)).number == 1
    grown = journal.read_bytes()
    assert grown.startswith(whole + b'{"op_code"') and b"\0" not in grown
    journal.write_bytes(whole + b'{"op_code":8,"x\n' + grown[len(whole) :])
    with pytest.raises(TrackingError, match=rf"hpo\.storage={journal} is damaged.*hpo\.storage=FILE"):
        study_at(tmp_path)


@pytest.mark.parametrize(
    "end",
    [
        b'{"op_code":8,"x\n{"op_code":8,"y\n',
        b"\0" * 50 + b"\n" + b"\0" * 50 + b"\n" + b"\0" * 50,
        b"5\n[]\nnull\n",
        b"\xff\xfe\n" * 200,
        b"\n\n\n",
    ],
    ids=["cut", "zeros", "JSON", "no text", "empty"],
)
def test_however_many_lines_at_the_end_are_damaged_the_study_goes_on(
    tmp_path: Path, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    one_trial(study_at(tmp_path))
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole + end)
    study = study_at(tmp_path)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
    assert one_trial(study).number == 1 and f"The last {len(end)} bytes" in caplog.text
    grown = journal.read_bytes()
    assert grown.startswith(whole + b'{"op_code"') and len(study_at(tmp_path).trials) == 2
    journal.write_bytes(whole + end.rstrip(b"\n") + b"\n" + grown[len(whole) :])
    if end.strip():
        with pytest.raises(TrackingError, match="is damaged"):
            study_at(tmp_path)


def test_a_long_torn_line_is_cut_off_whole(tmp_path: Path) -> None:
    one_trial(study_at(tmp_path))
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":8,"x":"' + b"y" * 200_000)
    assert one_trial(study_at(tmp_path)).number == 1
    assert journal.read_bytes().startswith(whole + b'{"op_code"') and b"yy" not in journal.read_bytes()


def test_a_lock_held_by_a_killed_process_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_at(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path / JOURNAL_NAME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits for the lock"))
    assert one_trial(study).number == 0
    assert [trial.state.name for trial in study_at(tmp_path).trials] == ["COMPLETE"]


def test_a_transaction_keeps_others_from_writing_until_it_ends(tmp_path: Path) -> None:
    first, second = study_at(tmp_path), study_at(tmp_path)
    with ThreadPoolExecutor(1) as pool, transaction(first._storage):
        numbers = [first.ask().number]
        waiting = pool.submit(second.ask)
        time.sleep(0.2)
        assert not waiting.done()
        numbers.append(first.ask().number)
    assert [*numbers, waiting.result().number] == [0, 1, 2]
    assert one_trial(first).number == 3


def test_a_write_that_fails_leaves_the_lock_to_others(tmp_path: Path) -> None:
    study = study_at(tmp_path)
    assert isinstance(study._storage, JournalStorage)
    journal = tmp_path / JOURNAL_NAME
    text = journal.read_bytes()
    journal.unlink()
    with pytest.raises(FileNotFoundError):
        study.set_user_attr("a", 1)
    journal.write_bytes(text)
    command = [sys.executable, "-c", HOLD, str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.kill()


@pytest.mark.parametrize("place", [None, "sqlite:///shared.db"])
def test_of_several_processes_that_open_a_new_storage_one_creates_the_study(tmp_path: Path, place: str | None) -> None:
    command = [sys.executable, "-c", OPEN, place or JOURNAL_NAME]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert sorted(out.strip() for out, _ in answers) == ["False", "False", "True"], answers


def test_relative_places_start_from_the_launch_directory(tmp_path: Path) -> None:
    _, database = open_storage("sqlite:///deep/study.db", tmp_path)
    _, journal = open_storage("deeper/study.journal", tmp_path)
    _, default = open_storage(None, tmp_path)
    assert database == f"sqlite:///{tmp_path}/deep/study.db" and (tmp_path / "deep/study.db").is_file()
    assert journal == f"{tmp_path}/deeper/study.journal"
    assert default == f"{tmp_path}/{JOURNAL_NAME}"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("postgresql+psycopg://me:open-sesame@127.0.0.1:1/study", "Connection refused"),
        ("postgresql+psycopg://me:open/sesame@127.0.0.1:1/study", ""),
        ("postgresql+psycopg://127.0.0.1:1/study?user=me&password=open-sesame", "Connection refused"),
        ("postgres://me:open-sesame@host/study", "sqlalchemy.dialects:postgres"),
        ("postgresql+nodriver://me:open-sesame@host/study", "nodriver"),
        ("mysql://me:open-sesame@host/study", "the Python package MySQLdb is not installed"),
        ("postgresql://me:open-sesame@host:port/study", "'port'"),
        ("HTTP://me:open-sesame@host", "HTTP"),
        ("folder", "not a regular file but a folder"),
        ("notes.txt", "not a journal"),
        ("study.db", "not a journal"),
        ("notes.txt/study.journal", "exists"),
        ("sqlite:///notes.txt/study.db", "exists"),
        ("sqlite:///notes.txt", "file is not a database"),
        ("sqlite:///mlflow.db", "the database is MLflow's"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_and_left_as_it_was(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    notes = "buy low, sell high\nand not the other way round, which is what most people do with their savings\n"
    (tmp_path / "notes.txt").write_text(notes)
    open_storage("sqlite:///study.db", tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(TrackingError, match=r"^hpo\.storage="):
        check_storage(place, tmp_path)
    with pytest.raises(TrackingError) as caught:
        open_storage(place, tmp_path)
    text = str(caught.value)
    assert text.startswith("hpo.storage=") and why in text
    assert "expected a file (a journal), sqlite:///FILE or postgresql://USER@HOST/NAME." in text
    assert "sesame" not in text and ".." not in text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    "place", [None, "new/study.journal", "sqlite:///new.db", "sqlite:///new/study.db", "study.db.journal"]
)
def test_a_place_that_can_be_used_is_looked_at_without_being_made(tmp_path: Path, place: str | None) -> None:
    check_storage(place, tmp_path)
    assert list(tmp_path.iterdir()) == []
    open_storage(place, tmp_path)
    check_storage(place, tmp_path)
