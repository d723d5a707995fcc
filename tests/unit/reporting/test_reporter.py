"""Reports of what a real store holds: which run is meant, where the file goes, and what odd runs come to."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from tradingbot_exp import ExperimentReporter
from tradingbot_exp.cli.main import run as command
from tradingbot_exp.errors import ReportError, RunError
from tradingbot_exp.reporting.automatic import report_at_end

SCRIPT = "<script>alert(1)</script>"
HASH = "f" * 32


class Closed(NamedTuple):
    """What is left of a run when it has been closed, as far as its report is concerned."""

    uri: str
    run_id: str
    delivery: SimpleNamespace


@pytest.fixture
def client(workdir: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")


@pytest.fixture
def experiment(client: MlflowClient, workdir: Path) -> str:
    return str(client.create_experiment("here", (workdir / "mlruns").as_uri()))


@pytest.fixture
def reporter(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentReporter:
    monkeypatch.chdir(workdir)
    return ExperimentReporter()


def make_run(
    client: MlflowClient,
    experiment: str,
    name: str = "mlp-ibm",
    *,
    kind: str = "training",
    status: str = "FINISHED",
    epochs: int = 3,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
) -> str:
    named = {"mlflow.runName": name, **({"run.kind": kind} if kind else {}), **(tags or {})}
    run_id = str(client.create_run(experiment, 1000, named).info.run_id)
    losses = [Metric(loss, 1.0 / epoch, epoch, epoch) for epoch in range(1, epochs + 1) for loss in LOSSES]
    last = [Metric(key, value, 9, 0) for key, value in (metrics or {}).items()]
    params = [Param("training.epochs", "50"), Param("model.name", "mlp")] if kind else []
    client.log_batch(run_id, [*losses, *last], params)
    if status != "RUNNING":
        client.set_terminated(run_id, status, 3000)
    return run_id


LOSSES = ("train_loss", "val_loss")


def test_a_report_is_written_to_reports_and_kept_among_the_artifacts_of_its_run(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter, workdir: Path
) -> None:
    run_id = make_run(client, experiment, "a/b c")
    path = reporter.generate_training_report("latest")
    assert path == workdir / "reports" / f"a-b-c-{run_id[:8]}.html"
    kept = Path(client.download_artifacts(run_id, "report/training_report.html"))
    assert kept.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    elsewhere = reporter.generate_training_report(run_id[:10], "own/place.html")
    assert elsewhere == workdir / "own" / "place.html" and elsewhere.is_file()


def test_the_command_that_makes_a_report_again_can_be_pasted(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(workdir)
    closed = Closed(f"sqlite:///{workdir}/my runs/a.db", "0" * 32, SimpleNamespace(failure=None))
    assert report_at_end("training", closed) is None  # type: ignore[arg-type]
    (line,) = [record.getMessage() for record in caplog.records if "could not be made" in record.getMessage()]
    words = shlex.split(line.partition("To make it again: ")[2])
    assert words[-2:] == ["--tracking-uri", closed.uri]


def test_a_run_of_another_program_is_reported_on_and_left_as_it_is(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter
) -> None:
    run_id = make_run(client, experiment, "theirs", kind="", epochs=0, metrics={"accuracy": 0.9})
    text = reporter.generate_training_report(run_id).read_text(encoding="utf-8")
    assert "accuracy" in text and "0.9" in text
    ours = make_run(client, experiment, tags={"data.fingerprint": HASH}, metrics={"val_mse": 1.0})
    text = reporter.generate_model_comparison_report([ours, run_id]).read_text(encoding="utf-8")
    assert "No run can be compared with A bar by bar" in text and "accuracy" in text
    assert client.list_artifacts(run_id) == []


def test_a_run_that_is_going_on_and_one_that_failed_say_so(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter
) -> None:
    going = make_run(client, experiment, status="RUNNING", epochs=2)
    assert "still running" in reporter.generate_training_report(going).read_text(encoding="utf-8")
    failed = make_run(client, experiment, status="FAILED", tags={"error": "DivergedError: the loss is NaN"})
    text = reporter.generate_training_report(failed).read_text(encoding="utf-8")
    assert "failed in epoch 4" in text or "failed after epoch 3" in text or "3 of 50" in text
    assert "DivergedError: the loss is NaN" in text


def test_text_from_the_store_is_shown_and_never_run(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter
) -> None:
    tags = {"model.name": SCRIPT, "error": SCRIPT, "mlflow.note.content": SCRIPT, "data.name": SCRIPT}
    first = make_run(client, experiment, SCRIPT, status="FAILED", tags=tags, metrics={"val_mse": float("nan")})
    second = make_run(client, experiment, f"b{SCRIPT}", tags=tags, metrics={"val_mse": 1.0})
    for path in (
        reporter.generate_training_report(first),
        reporter.generate_model_comparison_report([first, second]),
    ):
        assert SCRIPT not in path.read_text(encoding="utf-8")


def test_runs_of_the_wrong_kind_are_refused_with_the_right_command(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter
) -> None:
    study = make_run(client, experiment, "hpo-x", kind="study")
    trial = make_run(client, experiment, "trial-0000", kind="trial", tags={"mlflow.parentRunId": study})
    training = make_run(client, experiment)
    with pytest.raises(RunError, match=f"is a study, not a training run. `report hpo {study[:12]}`"):
        reporter.generate_training_report(study)
    with pytest.raises(RunError, match=f"is a trial, not a study. The study that it belongs to is {study}"):
        reporter.generate_hpo_report(trial)
    with pytest.raises(RunError, match=f"`report training {training[:12]}` reports on it"):
        reporter.generate_hpo_report(training)
    with pytest.raises(RunError, match="is a study, not a training run"):
        reporter.generate_model_comparison_report([training, study])
    assert reporter.generate_training_report(trial).is_file()


def test_a_comparison_takes_two_to_twenty_different_runs(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter
) -> None:
    run_id = make_run(client, experiment)
    with pytest.raises(ReportError, match=r"a list of 2 to 20 runs; given: 1\."):
        reporter.generate_model_comparison_report([run_id])
    with pytest.raises(ReportError, match=r"a list of 2 to 20 runs; given: 21\."):
        reporter.generate_model_comparison_report([str(number) for number in range(21)])
    with pytest.raises(ReportError, match="takes a list of 2 to 20 runs; given: 'latest'"):
        reporter.generate_model_comparison_report("latest")
    with pytest.raises(ReportError, match=f"The run {run_id} is named twice"):
        reporter.generate_model_comparison_report([run_id, "latest"])


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter, workdir: Path
) -> None:
    run_id = make_run(client, experiment)
    (workdir / "file").write_text("mine")
    with pytest.raises(ReportError, match=r"cannot be written to .*file/x.html: .*Give another place with -o PATH"):
        reporter.generate_training_report(run_id, "file/x.html")
    with pytest.raises(ReportError, match=r"file: that file is there already, and is not a report of this package"):
        reporter.generate_training_report(run_id, "file")
    assert (workdir / "file").read_text() == "mine"
    (workdir / "page.html").write_text("")
    for _ in range(2):  # over an empty file, and over a report
        reporter.generate_training_report(run_id, "page.html")
    (workdir / "page.html").unlink()
    (workdir / "folder.html").mkdir()
    with pytest.raises(ReportError, match=r"folder.html: Is a directory"):
        reporter.generate_training_report(run_id, "folder.html")
    assert sorted(path.name for path in workdir.glob("*.html*")) == ["folder.html"]
    assert (workdir / "file").read_text() == "mine"


def test_a_page_without_the_mark_of_a_report_is_written_over_only_by_force(
    client: MlflowClient, experiment: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "training", make_run(client, experiment), "-o", str(workdir / "index.html")]
    words += ["--tracking-uri", f"sqlite:///{workdir / 'mlflow.db'}"]
    for content in (
        "<!doctype html><h1>my own page</h1>",
        "<!doctype html>\n<html lang='en'>\n<head>\n<title>A report of tradingbot_exp</title>",
        "<!DOCTYPE HTML>\n<!-- a report of mine -->",
        "\ufeff<!doctype html>\n<!-- A report of tradingbot_exp. -->\n",
        "date,close\n",
    ):
        (workdir / "index.html").write_text(content, encoding="utf-8")
        assert command(words) == 1
        assert "or --force" in capsys.readouterr().err
        assert (workdir / "index.html").read_text(encoding="utf-8") == content
    assert command([*words, "--force"]) == 0 and command(words) == 0
    assert (workdir / "index.html").stat().st_size > 10_000


def test_a_report_that_cannot_be_kept_with_its_run_is_written_all_the_same(
    client: MlflowClient,
    experiment: str,
    reporter: ExperimentReporter,
    workdir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_id = make_run(client, experiment)
    (workdir / "mlruns").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        assert reporter.generate_training_report(run_id).is_file()
    assert "not among the artifacts of its run" in caplog.text


def test_a_bare_directory_means_the_database_in_it_or_beside_it_or_an_old_file_store(
    client: MlflowClient, experiment: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = make_run(client, experiment)
    (workdir / "mlruns").mkdir(exist_ok=True)
    monkeypatch.chdir(workdir)
    for place in ("mlruns", workdir, "."):
        assert ExperimentReporter(place).generate_training_report(run_id[:8], "one.html").is_file()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    old = MlflowClient((workdir / "then" / "old").as_uri())
    run_id = make_run(old, str(old.create_experiment("then")))
    assert ExperimentReporter("then/old").generate_training_report(run_id, "two.html").is_file()


def test_a_study_without_a_finished_trial_and_a_study_of_one_have_reports(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter
) -> None:
    study = make_run(client, experiment, "hpo-s", kind="study", status="RUNNING", epochs=0)
    parent = {"mlflow.parentRunId": study, "trial.number": "0", "trial.state": "running"}
    trial = make_run(client, experiment, "trial-0000", kind="trial", status="RUNNING", epochs=1, tags=parent)
    text = reporter.generate_hpo_report(study).read_text(encoding="utf-8")
    assert "still running" in text
    client.log_batch(trial, tags=[RunTag("trial.state", "complete"), RunTag("trial.values", "[0.25]")])
    client.set_terminated(trial, "FINISHED")
    client.set_terminated(study, "FINISHED")
    text = reporter.generate_hpo_report("latest").read_text(encoding="utf-8")
    assert "0.25" in text and trial in text
    assert client.list_artifacts(study, "report")[0].path == "report/hpo_report.html"


@pytest.mark.parametrize("letter", ["n", "ü", "界"])
def test_long_and_odd_names_paths_and_texts_end_in_a_report_or_one_message(
    client: MlflowClient, experiment: str, reporter: ExperimentReporter, letter: str
) -> None:
    run_id = make_run(client, experiment, letter * 240, tags={"mlflow.note.content": "\u202eabc"}, epochs=0)
    client.log_text(run_id, '{"name": "\\ud800"}', "data/data_card.json")
    path = reporter.generate_training_report(run_id)
    assert path.is_file() and path.name.endswith(f"{letter}-{run_id[:8]}.html")
    assert 80 <= len(path.name.encode()) <= 100
    with pytest.raises(ReportError, match="null byte"):
        reporter.generate_training_report(run_id, "a\0b.html")
