"""`verdict RUN` reads a study's verdict back, and is a gate for pipelines by its exit status and a JUnit file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import in_ci, make_run, train

from tradingbot_exp.cli.main import run

WORDS = {"word": "real", "inputs": "checked", "headline": "Real: it is.", "reasons": ["So.", "And so."], "count": 8}


@pytest.fixture
def client(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(workdir)
    made = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    made.create_experiment("e", (workdir / "mlruns" / "e").as_uri())
    return made


def make(
    client: MlflowClient, verdict: object = None, *, kind: str = "study", status: str = "FINISHED", **tags: str
) -> str:
    """A run, of a study with a verdict if one is given: an object, or the text of a damaged file."""
    run_id = make_run(client, "1", kind, status, mlflow__runName=f"the-{kind}", **tags)
    if verdict is not None:
        client.log_text(run_id, verdict if isinstance(verdict, str) else json.dumps(verdict), "study/verdict.json")
    return run_id


@pytest.mark.parametrize(
    ("word", "inputs", "options", "status"),
    [
        ("real", "checked", [], 0),
        ("real", "not checked", [], 3),
        ("real", "not checked", ["--allow-unchecked"], 0),
        ("real", None, [], 3),  # an earlier version says nothing of inputs
        ("real", None, ["--allow-unchecked"], 0),
        ("real", "leaks", ["--allow-unchecked"], 3),
        ("not shown", "checked", [], 3),
        ("cannot be told", "checked", ["--allow-unchecked"], 4),
    ],
)
def test_a_pipeline_that_asks_for_a_real_winner_gets_its_answer_as_exit_status_and_junit(
    client: MlflowClient,
    capsys: pytest.CaptureFixture[str],
    word: str,
    inputs: str | None,
    options: list[str],
    status: int,
) -> None:
    told = {name: value for name, value in (WORDS | {"word": word, "inputs": inputs}).items() if value is not None}
    run_id, inputs = make(client, told), inputs or "not checked"
    assert run(["verdict", run_id, "--junit", "plain.xml", *options]) == 0
    assert f"verdict  {word}\ninputs   {inputs}\n" in capsys.readouterr().out
    asked = ["verdict", run_id[:8], "--require", "real", "--json", "--junit", "out/junit.xml", *options]
    assert run(asked) == status
    told = json.loads(capsys.readouterr().out)
    assert (told["word"], told["inputs"], told["status"], told["count"]) == (word, inputs, status, 8)
    suite = ET.parse("out/junit.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "1",
        str(int(status == 3)),
        str(int(status == 4)),
    )
    (case,) = suite
    assert [part.tag for part in case] == [{0: "system-out", 3: "failure", 4: "error"}[status]]
    assert "Real: it is.\nSo.\nAnd so." in str(case[0].text)
    assert Path("plain.xml").read_bytes() == Path("out/junit.xml").read_bytes()  # with and without a gate
    assert run(asked) == status  # over its own file


def test_latest_is_the_latest_study_a_trial_stands_for_its_study_and_others_have_none(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make(client, WORDS)
    trial = make(client, kind="trial", mlflow__parentRunId=study)
    single = make(client, kind="training")
    assert run(["verdict", "--require", "real"]) == run(["verdict", trial, "--require", "real"]) == 0
    assert capsys.readouterr().out.count(study) == 2
    assert run(["verdict", single]) == 0 and run(["verdict", single, "--require", "real"]) == 4
    assert "it is a training run, which has no verdict" in capsys.readouterr().out
    for verdict in (None, WORDS):  # an earlier start may have left one
        for status, said in (
            ("RUNNING", "is still running"),
            ("KILLED", "is judged then"),
            ("FAILED", "is judged then"),
        ):
            assert run(["verdict", make(client, verdict, status=status), "--require", "real"]) == 4
            assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("{", "is damaged"),
        ("[]", "it should be a mapping, and is []"),
        (WORDS | {"word": "Real"}, "its word is 'Real'"),
        (
            WORDS | {"inputs": None},
            "its inputs are None; expected one of real, not shown, cannot be told, and of checked",
        ),
    ],
)
def test_a_damaged_verdict_is_an_error_and_never_passes(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], verdict: object, said: str
) -> None:
    assert run(["verdict", make(client, verdict), "--require", "real"]) == 1
    assert said in capsys.readouterr().err


def test_the_junit_file_is_never_written_over_something_else(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = make(client, WORDS)
    for text in ("date,close\n", "<?xml version='1.0' encoding='utf-8'?>\n<project/>"):
        Path("mine").write_text(text)
        assert run(["verdict", run_id, "--junit", "mine"]) == 1
        assert Path("mine").read_text() == text
    assert "--junit mine is there already, and holds no verdict" in capsys.readouterr().err
    for words in (["--force"], []):  # by force, and then over its own
        assert run(["verdict", run_id, "--junit", "mine", *words]) == 0
    assert "tradingbot_exp verdict" in Path("mine").read_text()
    assert run(["verdict", run_id, "--junit", "mine/junit.xml"]) == 1
    assert "cannot be written" in capsys.readouterr().err


@in_ci
def test_a_real_study_of_a_strong_signal_passes_the_gate(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workdir)
    overrides = ["--multirun", "data=synthetic", "data.synthetic.signal=0.5", "hpo.num_trials=8", "training.epochs=15"]
    done = train(
        workdir, *overrides, "training.progress=off", "tracking.report=false", "hpo.reseeds=0", "tracking.register=real"
    )
    assert done.status == 0, done.err
    assert run(["verdict", "--require", "real"]) == 0
    # The winner is the champion, once: whoever chooses another one has the last word.
    assert "registered as models:/real/1 (champion)" in done.out
    client = done.client
    assert str(client.get_model_version_by_alias("real", "champion").version) == "1"
    client.delete_registered_model_alias("real", "champion")
    assert (
        train(
            workdir,
            *overrides,
            "training.progress=off",
            "tracking.report=false",
            "hpo.reseeds=0",
            "tracking.register=real",
        ).status
        == 0
    )
    assert set(client.get_registered_model("real").aliases) == {"candidate"}
