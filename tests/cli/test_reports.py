"""Reports at the end of a run and by hand: what is printed, where they are, and what a person gets wrong."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Finished, in_ci, python, train

QUICK = ["training=smoke", "training.progress=off"]


def report(cwd: Path, *arguments: str) -> Finished:
    return python(cwd, "-m", "tradingbot_exp", "report", *arguments)


@pytest.fixture(scope="module")
def finished(default_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The default run in a folder of this module's own, whose artifacts others do not read."""
    folder = tmp_path_factory.mktemp("reports") / "work"
    shutil.copytree(default_run.cwd, folder)
    return Finished(folder, default_run.out, default_run.err, default_run.status)


def test_a_run_ends_with_a_report_that_its_summary_names(default_run: Finished) -> None:
    run = default_run.run
    path = default_run.cwd / "reports" / f"{run.info.run_name}-{run.info.run_id[:8]}.html"
    assert f"report     {path}" in default_run.out
    text = path.read_text(encoding="utf-8")
    assert (default_run.artifacts() / "report" / "training_report.html").read_text(encoding="utf-8") == text
    assert run.info.run_id in text and text.count('id="plotly-gzip-base64"') == 1


def test_a_report_is_made_by_hand_and_its_path_printed(finished: Finished) -> None:
    run_id = finished.run.info.run_id
    done = report(finished.cwd, "training", run_id[:9], "-o", "one.html", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out) == {"report": str(finished.cwd / "one.html")}
    assert run_id in (finished.cwd / "one.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["training", "0123abcd"], "Error: There is no run '0123abcd' in"),
        pytest.param(["hpo", "latest"], "Error: There is no study or sweep in", marks=in_ci),
        pytest.param(["compare", "latest"], "Error: A comparison takes a list of 2 to 20 runs; given: 1.", marks=in_ci),
    ],
)
def test_what_cannot_be_reported_on_is_one_message(finished: Finished, arguments: list[str], message: str) -> None:
    done = report(finished.cwd, *arguments)
    assert done.status == 1 and done.err.startswith(message) and done.err.count("\n") == 1, done.err


def test_where_there_is_no_store_none_is_made(tmp_path: Path) -> None:
    done = report(tmp_path, "training", "latest")
    assert done.status == 1 and "There is no tracking store at" in done.err
    assert list(tmp_path.iterdir()) == []


@in_ci
def test_a_report_that_fails_is_a_warning_and_can_be_made_again(workdir: Path) -> None:
    (workdir / "reports").write_text("in the way")
    done = train(workdir, *QUICK)
    run = done.run
    assert done.status == 0 and run.info.status == "FINISHED", done.err
    command = f"python -m tradingbot_exp report training {run.info.run_id}"
    (line,) = [line for line in done.err.splitlines() if command in line]
    assert "The report could not be made" in line and str(workdir / "reports") in line
    (workdir / "reports").unlink()
    again = python(workdir, *command.split()[1:])
    assert again.status == 0 and Path(again.out.strip()).is_file(), again.err


@in_ci
def test_a_plain_mlflow_ui_shows_a_run_and_reports_are_made_of_what_it_serves(
    finished: Finished, free_port: int, start_server: Callable[..., object]
) -> None:
    start_server(["mlflow", "ui", "--port", str(free_port), "--workers", "1"], finished.cwd, free_port)
    run, address = finished.run, f"http://127.0.0.1:{free_port}"
    run_id = run.info.run_id
    with urllib.request.urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id={run_id}", timeout=30) as answer:
        assert json.load(answer)["run"]["info"]["run_name"] == run.info.run_name
    page = f"{address}/get-artifact?path=plots/training_history.html&run_uuid={run_id}"
    with urllib.request.urlopen(page, timeout=30) as answer:
        assert b"DecompressionStream" in answer.read()
    figures = []
    for name, where in (("served", ["--tracking-uri", address]), ("local", [])):
        done = report(finished.cwd, "training", run_id, "-o", f"{name}.html", *where)
        assert done.status == 0, done.err
        figures.append((finished.cwd / f"{name}.html").read_text(encoding="utf-8").count("data-figure"))
    assert figures[0] == figures[1] > 5
