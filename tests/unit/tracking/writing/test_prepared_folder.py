"""A folder of records that somebody else prepared sends no file of the reader's, and goes to no store but his own."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tradingbot_exp.cli.main import run
from tradingbot_exp.tracking.writing.outbox.unsent import send_command

OWN_TEXT = "the reader's own"
ID = "deadbeef"


class Prepared:
    """A launch directory with an unsent run in it, and a file of the reader's beside it."""

    def __init__(self, folder: Path) -> None:
        self.here, self.secret = folder, folder.parent / f"{folder.name}-secret"
        self.secret.write_text(OWN_TEXT)
        self.store = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.unsent = folder / ".tradingbot" / "unsent" / ID
        (self.unsent / "files" / "a").mkdir(parents=True)
        (self.unsent / "files" / "a" / "f.txt").write_text("harmless")

    def write(self, *records: dict[str, Any], **header: Any) -> None:
        start = {"run_id": None, "uri": self.uri, "on_error": "raise", "experiment": "x", "name": "x", "start_time": 1}
        (self.unsent / "run.json").write_text(json.dumps({**start, "tags": {"tradingbot.local_id": ID}, **header}))
        (self.unsent / "records.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records))

    def link(self, name: str, target: Path | None = None) -> None:
        place = self.unsent / name
        if place.is_dir():
            place.rename(place.with_name(f"{name}-kept"))
        place.unlink(missing_ok=True)
        place.symlink_to(target or self.secret)


@pytest.fixture
def prepared(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.chdir(workdir)
    return Prepared(workdir)


def artifact(file: str, folder: str = "", kind: str = "artifact") -> dict[str, Any]:
    return {"kind": kind, "file": file, "folder": folder}


def refused(prepared: Prepared, capsys: pytest.CaptureFixture[str]) -> str:
    """Fix, and see that nothing of the reader's was sent or altered."""
    assert run(["doctor", "--fix"]) == 1
    assert prepared.secret.read_text() == OWN_TEXT
    sent = [file for file in (prepared.here / "mlruns").rglob("*") if file.is_file() and OWN_TEXT in file.read_text()]
    assert sent == []
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "record",
    [
        artifact("{secret}"),
        artifact("../../../../{name}"),
        artifact("files/../../../../../{name}"),
        artifact("files/a/link"),
        artifact("files/dangling"),
        artifact("files/a", kind="artifacts"),
        artifact("files/a/f.txt", folder="../../elsewhere"),
        artifact("files/a/f.txt", folder="/elsewhere"),
        artifact("run.json"),
    ],
    ids=lambda record: f"{record['file']} {record['folder']}",
)
def test_a_record_that_names_a_place_outside_is_not_sent(
    prepared: Prepared, record: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (prepared.unsent / "files" / "a" / "link").symlink_to(prepared.secret)
    (prepared.unsent / "files" / "dangling").symlink_to(prepared.here / "nowhere")
    file = record["file"].format(secret=prepared.secret, name=prepared.secret.name)
    prepared.write({**record, "file": file})
    assert "is not a record" in refused(prepared, capsys)


@pytest.mark.parametrize("name", ["run.json", "records.jsonl", "sent", "in-use.lock", "files"])
def test_a_link_in_the_place_of_a_journals_own_file_is_neither_read_nor_written(
    prepared: Prepared, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.write(artifact("files/a/f.txt"))
    elsewhere = prepared.here / "of the reader"
    elsewhere.write_bytes((prepared.unsent / name).read_bytes() if name.endswith(("json", "jsonl")) else b"")
    prepared.link(name, prepared.secret.parent if name == "files" else elsewhere)
    content = elsewhere.read_bytes()
    assert f"{name} is a link, which is not followed" in refused(prepared, capsys)
    assert elsewhere.read_bytes() == content
    prepared.store = MlflowClient(prepared.uri)
    assert [each.name for each in prepared.store.search_experiments()] == ["Default"]


def test_a_folder_that_is_a_link_is_not_sent(prepared: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    prepared.write(artifact("files/a/f.txt"))
    prepared.unsent.rename(prepared.here / "elsewhere")
    prepared.unsent.symlink_to(prepared.here / "elsewhere")
    assert "is a link" in refused(prepared, capsys)


@pytest.mark.parametrize("store", ["sqlite:///{here}/attacker.db", "http://127.0.0.1:9", "postgresql://***@db/x"])
def test_records_go_to_the_users_store_or_to_the_one_that_he_names(
    prepared: Prepared, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = store.format(here=prepared.here)
    prepared.write(artifact("files/a/f.txt"), uri=uri)
    assert f"are meant for {uri}, which is not the store of this command" in refused(prepared, capsys)
    assert not (prepared.here / "attacker.db").exists()
    assert run(["doctor", "--fix", "--tracking-uri", prepared.uri]) == 0
    (sent,) = prepared.store.search_runs([prepared.store.get_experiment_by_name("x").experiment_id])
    assert [each.path for each in prepared.store.list_artifacts(sent.info.run_id)] == ["f.txt"]


def test_an_odd_header_is_named(prepared: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    for odd in ({"folder": 5}, {"uri": None}, {"run_id": []}):
        prepared.write(artifact("files/a/f.txt"), **odd)
        assert "run.json cannot be read, and nothing in its folder is sent" in refused(prepared, capsys)


@pytest.mark.parametrize(
    ("spelled", "named"),
    [
        ("sqlite:///{here}/mlflow.db", ""),
        ("sqlite:///mlflow.db", ""),
        ("sqlite:///./mlflow.db", ""),
        ("sqlite:///other.db", " --tracking-uri sqlite:///other.db"),
        ("http://me:pw@127.0.0.1:9", " --tracking-uri 'http://***@127.0.0.1:9'"),
    ],
)
def test_the_command_that_sends_names_every_other_store(prepared: Prepared, spelled: str, named: str) -> None:
    found = send_command(spelled.format(here=prepared.here))
    assert found == f"python -m tradingbot_exp doctor --fix{named}" and shlex.split(found)


def test_an_address_spelled_otherwise_is_the_users_store_too(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.write(artifact("files/a/f.txt"), uri="sqlite:///mlflow.db")
    assert run(["doctor", "--fix"]) == 0, capsys.readouterr().err
    assert not prepared.unsent.exists()
